#!/usr/bin/env bash
# The pages of docs/guide: every command they show ("$ ..." in a sh block) is run, in a copy of what
# it needs, and must print what stands below it. Numbers may be others; "..." stands for anything.
. "$(dirname "$0")/lib_tool.sh"
source=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$build" && pwd)

cp -r "$source/include" "$source/examples" "$work"
ln -s "$build" "$work/build"
# A library built with a sanitizer wants it in the program, too.
flags=
for kind in address thread; do
	nm -u "$build/libringline-sim.a" 2>/dev/null | grep -c "__${kind:0:1}san_init" >/dev/null &&
		flags=-fsanitize=$kind
done
nm -u "$build/libringline-sim.a" 2>/dev/null | grep -c __ubsan >/dev/null && flags="$flags -fsanitize=undefined"
mkdir "$work/bin"
printf '#!/bin/sh\nexec %s %s "$@"\n' "$(command -v "${CC:-cc}")" "$flags" >"$work/bin/cc"
chmod +x "$work/bin/cc"

cat >"$work/run.py" <<'PY'
import re
import subprocess
import sys


def commands(page):
    """[(command, what it prints)] of every sh block that shows commands."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.S | re.M):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def pattern(output):
    """A regular expression of what a page shows."""
    lines = []
    for line in output.splitlines():
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
            continue
        text = re.sub(r"(?<= hash )[0-9a-f]{16}", "HASH", line)
        text = re.sub("[0-9]+", "[0-9]+", re.escape(text).replace(r"\.\.\.", ".*"))
        lines.append(text.replace("HASH", "[0-9a-f]{16}") + r"\n")
    return "".join(lines)


page, folder, path = sys.argv[1:]
passed = failed = 0
for command, output in commands(open(page).read()):
    r = subprocess.run(["bash", "-c", command], cwd=folder, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, env={"PATH": path + "/bin:/usr/bin:/bin"})
    if re.fullmatch(pattern(output), r.stdout):
        passed += 1
        continue
    failed += 1
    print("FAIL %s: %s\n%s\n  not:\n%s" % (page, command, r.stdout[-3000:], output))
print("pages:", passed, failed)
PY

for page in "$source"/docs/guide/*.md; do
	grep -q '^\$ ' "$page" || continue
	python3 "$work/run.py" "$page" "$work" "$work" >"$work/log" 2>&1
	read -r _ p f < <(tail -1 "$work/log")
	sed '$d' "$work/log"
	passed=$((passed + ${p:-0}))
	failed=$((failed + ${f:-1}))
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
