#!/bin/sh
# Runs in the guest: the tool on that kernel. doctor says that a runtime can start; echo in the three
# modes and kv answer a checked load without an error and drain on SIGTERM.
cd "$(dirname "$0")" || exit 1
passed=0 failed=0

# check WHAT STATUS: a line and the count
check() {
	if [ "$2" = 0 ]; then
		echo "ok   $1"
		passed=$((passed + 1))
	else
		echo "FAIL $1"
		failed=$((failed + 1))
	fi
}

# serve ARGS...: in the background; its address in $addr, its process in $pid
serve() {
	rm -f /tmp/serve
	./ringline serve "$@" --listen 127.0.0.1:0 >/tmp/serve 2>&1 &
	pid=$!
	addr=
	while [ -z "$addr" ] && kill -0 $pid 2>/dev/null; do
		addr=$(sed -n 's/^listening on //p' /tmp/serve)
		sleep 0.05
	done
}

./ringline doctor
check doctor $?
for mode in task request callback; do
	for kind in echo kv; do
		serve $kind --mode $mode
		./ringline bench $kind --connect "$addr" --connections 20 --seconds 1 --json >/tmp/bench 2>/tmp/progress
		check "$kind $mode: the load ends well" $?
		grep -q '"errors": *0[,}]' /tmp/bench
		check "$kind $mode: without an error" $?
		kill -TERM $pid
		wait $pid
		check "$kind $mode: drains" $?
		cat /tmp/bench
	done
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
