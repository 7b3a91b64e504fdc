#!/usr/bin/env bash
# ringline bench: that it counts right, that it notices wrong answers, and that a server that stalls
# shows in its latency.
. "$(dirname "$0")/lib_tool.sh"

# quick ARG...: a short run; its JSON in out
quick() {
	run "$tool" bench "$@" --seconds 0.3 --json
}

for what in echo kv; do
	start 1 "$tool" serve $what --listen 127.0.0.1:0 --workers 1 || continue
	for args in "--connections 4" "--connections 3 --pipeline 16" \
		"--connections 2 --size 200000 --pipeline 2" "--connections 5 --rate 500"; do
		# shellcheck disable=SC2086
		quick $what --connect "${addr[0]}" $args
		is "$what $args: status" 0 "$status"
		is "$what $args: errors" 0 "$(json errors)"
		check "$what $args: requests" test "$(json requests)" -gt 0
		check "$what $args: quantiles rise" python3 -c '
import json, sys
v = json.loads(sys.argv[1])["latency_us"]
q = [v["p50"], v["p90"], v["p99"], v["p99.9"], v["max"]]
sys.exit(not (q == sorted(q) and q[0] > 0))' "$out"
	done
	is "$what: rate" 500 "$(json rate | cut -d. -f1)"
	check "$what: a rate is measured" test "$(json requests_per_second | cut -d. -f1)" -gt 0
	stop "serve $what"
done

# server PYTHON: a server whose handler of one connection is the given code with a socket s
server() {
	start 1 python3 -u -c '
import socket, sys, threading, time, signal
signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
l = socket.create_server(("127.0.0.1", 0))
print("listening on 127.0.0.1:%d" % l.getsockname()[1])
def serve(s):
    try:
        handle(s)
    except OSError:
        pass
    s.close()
exec(sys.argv[1])
while True:
    threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()
' "$1"
}

# One byte in 5,000 comes back wrong.
server '
def handle(s):
    n = 0
    while True:
        b = bytearray(s.recv(65536))
        if not b:
            return
        if n // 5000 != (n + len(b)) // 5000:
            b[0] ^= 1
        n += len(b)
        s.sendall(b)'
quick echo --connect "${addr[0]}" --connections 2
is "wrong byte: status" 1 "$status"
check "wrong byte: errors" test "$(json errors)" -gt 0
has "wrong byte" "$(json error)" "not what was asked for"
stop "wrong byte"

# The bytes of another position.
server '
def handle(s):
    first = s.recv(64)
    s.sendall(first)
    while s.recv(65536):
        s.sendall(first)'
quick echo --connect "${addr[0]}" --connections 1
is "old bytes: status" 1 "$status"
stop "old bytes"

# A server that answers the first request and is silent then, with errors, or not at all.
server '
def handle(s):
    s.sendall(s.recv(65536))
    time.sleep(60)'
quick echo --connect "${addr[0]}" --connections 1 --timeout 0.2
is "silent: status" 1 "$status"
has silent "$(json error)" "no answer"
stop silent
server '
def handle(s):
    s.recv(65536)
    s.sendall(b"-ERR not today\r\n")
    time.sleep(60)'
quick kv --connect "${addr[0]}" --connections 1
is "kv error: status" 1 "$status"
has "kv error" "$(json error)" "-ERR not today"
stop "kv error"
server '
def handle(s):
    s.recv(65536)'
quick echo --connect "${addr[0]}" --connections 1
is "closing: status" 1 "$status"
has closing "$(json error)" "closed"
stop closing

# It sleeps 300 ms once, in the measured time. At 200 requests a second 60 fall due meanwhile, and
# every one of them has waited: a tenth of all requests took longer than 50 ms. A closed loop would
# count one.
server '
def handle(s):
    t = time.monotonic()
    while True:
        b = s.recv(65536)
        if not b:
            return
        if t and time.monotonic() - t > 0.6:
            t = 0
            time.sleep(0.3)
        s.sendall(b)'
run "$tool" bench echo --connect "${addr[0]}" --connections 1 --rate 200 --seconds 1.5 --json
check "stall: p90 shows it" test "$(json latency_us/p90 | cut -d. -f1)" -gt 50000
check "stall: max shows it" test "$(json latency_us/max | cut -d. -f1)" -ge 250000
check "stall: all are counted" test "$(json latency_us/count)" -ge 290
stop stall

run "$tool" bench echo --connect 127.0.0.1:1 --seconds 0.1
is "refused: status" 1 "$status"
is "refused: lines" 1 "$(wc -l <"$work/run.err")"
has refused "$err" "127.0.0.1:1"
# The comparison, as short as it can be.
RINGLINE_BUILD=$(realpath "$build") run bash "$(dirname "$0")/../../bench/run.sh" --rounds 1 \
	--seconds 0.3 --quiet 100 --connections 5
is "bench/run.sh: status" 0 "$status"
is "bench/run.sh: rows" 5 "$(grep -cE '^(raw|epoll|callback|request|task) +[0-9]+ +[0-9]+ ' <<<"$out" || true)"
has bench/run.sh "$out" " of raw ["

one_line_usage "no address" --connect "$tool" bench echo
one_line_usage "bad address" nonsense "$tool" bench echo --connect nonsense
one_line_usage "bad size" --size "$tool" bench echo --connect 127.0.0.1:1 --size 1x
one_line_usage "bad rate" --rate "$tool" bench echo --connect 127.0.0.1:1 --rate -1
one_line_usage "bad word" "echo, kv" "$tool" bench nothing
done_testing
