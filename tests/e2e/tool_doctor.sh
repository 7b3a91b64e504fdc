#!/usr/bin/env bash
# ringline doctor says what is there and what is missing; ringline demo ends with its table and
# leaves nothing behind.
. "$(dirname "$0")/lib_tool.sh"

run "$tool" doctor
is "doctor: status" 0 "$status"
has doctor "$out" "Linux $(uname -r)"
has doctor "$out" "SINGLE_ISSUER"
has doctor "$out" "A runtime can start here."
run "$tool" doctor --json
is "doctor --json: status" 0 "$status"
is "doctor --json: ok" True "$(json ok)"
is "doctor --json: kernel" "$(uname -r)" "$(json kernel)"
is "doctor --json: feature" True "$(json 'features/provided buffer ring')"
check "doctor --json: workers" test "$(json memory/workers)" -ge 1

# Few open files: named, with what to do.
out=$(ulimit -n 64 && "$tool" doctor 2>&1)
has "few files" "$out" "problem     open files: at most 64"
has "few files" "$out" "ulimit"

# io_uring refused by a filter of system calls: the cause is named and the status says it.
cat >"$work/refused" <<'END'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
NR, ALLOW, EPERM = 425, 0x7fff0000, 0x00050001
code = b"".join(struct.pack("HBBI", *i) for i in (
    (0x20, 0, 0, 0),            # load the number of the system call
    (0x15, 0, 1, NR),           # io_uring_setup?
    (0x06, 0, 0, EPERM), (0x06, 0, 0, ALLOW)))
buf = ctypes.create_string_buffer(code, len(code))
prog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buf)))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, prog, 0, 0):
    sys.exit(99)
os.execv(sys.argv[1], sys.argv[1:])
END
refused=(python3 "$work/refused")
run "${refused[@]}" "$tool" doctor
if [ "$status" = 99 ]; then
	skipped=$((skipped + 1))
else
	is "refused: status" 1 "$status"
	has refused "$out" "io_uring_setup"
	has refused "$out" "seccomp"
	has refused "$out" "A runtime cannot start here."
	run "${refused[@]}" "$tool" doctor --json
	is "refused --json: ok" False "$(json ok)"
	one_line_usage "serve refused" seccomp "${refused[@]}" "$tool" serve echo --listen 127.0.0.1:0
fi
one_line_usage "bad option" --nothing "$tool" doctor --nothing

run "$tool" demo --seconds 2 --rounds 2 --connections 4
is "demo: status" 0 "$status"
for text in "ringline, task" "ringline, request" "ringline, callback" "epoll" "requests/s" \
	"CPU per request, epoll = 1" "System calls per request"; do
	has demo "$out" "$text"
done
is "demo: rows with figures" 4 "$(grep -cE '^(ringline, [a-z]+|epoll) +[1-9][0-9]+ ' <<<"$out")"

# Its servers go with it, however it ends.
"$tool" demo --seconds 30 >"$work/demo" 2>/dev/null &
pid=$!
servers+=("$pid")
for _ in $(seq 500); do
	[ "$(pgrep -c -P "$pid")" = 4 ] && break
	sleep 0.02
done
children=$(pgrep -P "$pid")
is "demo: servers" 4 "$(wc -w <<<"$children")"
kill -KILL "$pid"
wait "$pid" 2>/dev/null
left=4
for _ in $(seq 500); do
	left=0
	for child in $children; do
		kill -0 "$child" 2>/dev/null && left=$((left + 1))
	done
	[ $left = 0 ] && break
	sleep 0.02
done
is "demo: servers left behind" 0 $left
done_testing
