#!/usr/bin/env bash
# Checks the models of this folder exhaustively with spin: as the code is, and with each mistake that
# a model names (BROKEN=1, 2, ...), which must be found. Ends with "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

for tool in spin gcc; do
	if ! command -v $tool >/dev/null; then
		echo "skip model: $tool is not installed"
		echo "0 passed, 0 failed, 1 skipped"
		exit 77
	fi
done

here=$PWD
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0

# errors MODEL BROKEN: prints how many errors an exhaustive search finds, or nothing if it did not end
errors() {
	(cd "$dir" && cp "$here/$1.pml" . && spin -DBROKEN="$2" -a "$1.pml" &&
		gcc -O1 -w -DSAFETY -DNOCLAIM -DMEMLIM=1024 -o pan pan.c && ./pan -m200000) >"$dir/log" 2>&1 || true
	grep -q 'max search depth too small\|out of memory' "$dir/log" && return 0
	sed -n 's/.*errors: \([0-9]*\)$/\1/p' "$dir/log"
}

for model in *.pml; do
	name=${model%.pml}
	last=$(grep -o 'BROKEN[:=]* *=* *[0-9]*' "$model" | grep -o '[0-9]*$' | sort -n | tail -n 1)
	for ((broken = 0; broken <= last; broken++)); do
		got=$(errors "$name" $broken)
		states=$(sed -n 's/ *\([0-9]*\) states, stored.*/\1/p' "$dir/log")
		if { [ $broken = 0 ] && [ "$got" = 0 ]; } ||
			{ [ $broken != 0 ] && [ -n "$got" ] && [ "$got" != 0 ]; }; then
			passed=$((passed + 1))
			echo "ok   $name BROKEN=$broken: ${got} errors, ${states:-?} states"
		else
			failed=$((failed + 1))
			echo "FAIL $name BROKEN=$broken: errors: '$got'"
			sed 's/^/    /' "$dir/log"
		fi
	done
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
