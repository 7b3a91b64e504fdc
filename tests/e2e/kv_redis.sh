#!/usr/bin/env bash
# The key-value server against Redis's own clients, in all three modes: redis-cli's replies word for
# word, redis-benchmark, malformed input on a raw socket, and a drain by SIGTERM.
# usage: kv_redis.sh [BUILD_DIR]   (or BUILD_DIR in the environment)
set -u -o pipefail

build=${1:-${BUILD_DIR:-build}}
server=$build/examples/kv-server
requests=${KV_REQUESTS:-20000}
passed=0 failed=0 skipped=0
pid= port= mode= work=

finish() {
	[ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
	[ -n "$work" ] && rm -rf "$work"
}
trap finish EXIT

pass() { passed=$((passed + 1)); }

# fail WHAT [TEXT]
fail() {
	failed=$((failed + 1))
	printf 'FAIL %s: %s\n' "$mode" "$1"
	[ $# -gt 1 ] && printf '%s\n' "$2" | sed 's/^/    /'
	return 0
}

done_testing() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
	exit
}

for tool in redis-cli redis-benchmark; do
	if ! command -v "$tool" >/dev/null; then
		echo "SKIP kv_redis: there is no $tool (Debian package redis-tools)"
		skipped=1
		done_testing
	fi
done
if [ ! -x "$server" ]; then
	fail "there is no $server"
	done_testing
fi
work=$(mktemp -d)

# Start the server and read its address from the first line it prints.
start() {
	local line=
	mkfifo "$work/out.$mode"
	"$server" --listen 127.0.0.1:0 --mode "$mode" >"$work/out.$mode" 2>"$work/err.$mode" &
	pid=$!
	exec 3<"$work/out.$mode"
	read -r -t 20 line <&3
	case $line in
	"listening on 127.0.0.1:"[0-9]*) port=${line##*:} && pass ;;
	*)
		fail "the server did not say where it listens: '$line'" "$(cat "$work/err.$mode")"
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
		pid=
		exec 3<&-
		return 1
		;;
	esac
}

# End the server while a client is connected and idle.
stop() {
	local status line=
	exec 5<>"/dev/tcp/127.0.0.1/$port"
	printf 'PING\r\n' >&5
	read -r -t 10 line <&5
	if [ "$line" = $'+PONG\r' ]; then pass; else fail "no answer before SIGTERM" "$line"; fi
	kill -TERM "$pid"
	for _ in $(seq 400); do # 20 s: a drain that hangs must not hang the tests
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	if kill -0 "$pid" 2>/dev/null; then
		fail "still running 20 s after SIGTERM" "$(cat "$work/err.$mode")"
		kill -KILL "$pid"
	fi
	wait "$pid"
	status=$?
	pid=
	exec 3<&- 5<&-
	if [ "$status" = 0 ]; then
		pass
	else
		fail "exit status $status after SIGTERM" "$(cat "$work/err.$mode")"
	fi
}

cli() { timeout 20 redis-cli --no-raw -p "$port" "$@" 2>&1; }

# expect WANT ARG...: what redis-cli prints for one command
expect() {
	local want=$1 got
	shift
	got=$(cli "$@")
	if [ "$got" = "$want" ]; then
		pass
	else
		fail "$*: wanted '$want', got" "$got"
	fi
}

commands() {
	expect PONG ping
	expect '"hello"' echo hello
	expect '(nil)' get key
	expect OK set key value
	expect '"value"' get key
	expect '(nil)' set key other nx
	expect OK set key other xx
	expect '"other"' get key
	expect OK set key value ex 100
	expect '(integer) 100' ttl key
	expect OK set key value px 100000
	expect '(integer) 100' ttl key
	expect '(integer) 1' expire key 50
	expect '(integer) 50' ttl key
	expect '(integer) -2' ttl nothing
	expect '(integer) 1' exists key nothing
	expect '(integer) 1' del key nothing
	expect '(integer) 1' incr n
	expect '(integer) 42' incrby n 41
	expect '(integer) 41' decr n
	expect OK mset a 1 b 2
	expect $'1) "1"\n2) (nil)\n3) "2"' mget a x b
	expect '(integer) 3' dbsize
	expect $'1) "save"\n2) ""' config get save
	expect '(integer) 26' command count
	expect OK select 0
	expect "(error) ERR wrong number of arguments for 'get' command" get
	expect "(error) ERR unknown command 'foo', with args beginning with: 'bar' " foo bar
	expect '(error) ERR syntax error' set a b foo
	expect "(error) ERR invalid expire time in 'set' command" set a b ex 0
	expect OK set s text
	expect '(error) ERR value is not an integer or out of range' incr s
	expect OK flushall
	expect '(integer) 0' dbsize
	expect OK quit
	case $(cli info) in
	*redis_version:*connected_clients:*role:master*) pass ;;
	*) fail "info" "$(cli info)" ;;
	esac
}

# One interactive session: commands from its standard input, one connection.
interactive() {
	local got
	got=$(printf 'set k "a b"\nget k\nincr i\nincr i\n' | cli)
	if [ "$got" = $'OK\n"a b"\n(integer) 1\n(integer) 2' ]; then
		pass
	else
		fail "session" "$got"
	fi
}

# A key that dies: waits for it, at most 20 s.
expiry() {
	local left
	expect OK set brief v px 50
	for _ in $(seq 400); do
		left=$(cli exists brief)
		[ "$left" = '(integer) 0' ] && break
	done
	if [ "$left" = '(integer) 0' ]; then pass; else fail "a key outlived its time"; fi
}

# A value far beyond every buffer on the way, there and back.
big_value() {
	head -c 9000000 /dev/urandom | base64 -w0 >"$work/big"
	expect OK -x set big <"$work/big"
	if timeout 20 redis-cli -p "$port" get big | tr -d '\n' | cmp -s - "$work/big"; then
		pass
	else
		fail "a value of 12 MB did not come back as it went"
	fi
	expect '(integer) 1' del big
}

# raw TEXT WANT: send TEXT (printf escapes), read until the server closes
raw() {
	local got status
	got=$(
		exec 4<>"/dev/tcp/127.0.0.1/$port" || exit 1
		printf -- "$1" >&4
		timeout 10 cat <&4
	)
	status=$?
	if [ "$status" != 0 ]; then
		fail "raw $1: the server did not close (status $status)" "$got"
	elif [ "$got" != "$(printf -- "$2")" ]; then
		fail "raw $1: wanted '$2', got" "$got"
	else
		pass
	fi
}

malformed() {
	local error='-ERR Protocol error:'
	raw '*x\r\n' "$error invalid multibulk length\r\n"
	raw '*1048577\r\n' "$error invalid multibulk length\r\n"
	raw '*1\r\n$-1\r\n' "$error invalid bulk length\r\n"
	raw '*1\r\n$536870913\r\n' "$error invalid bulk length\r\n"
	raw '*1\r\nPING\r\n' "$error expected '\$', got 'P'\r\n"
	raw 'set k "v\r\n' "$error unbalanced quotes in request\r\n"
	raw 'PING\r\n*1\r\n$4\r\nPING\r\n*x\r\nPING\r\n' \
		"+PONG\r\n+PONG\r\n$error invalid multibulk length\r\n"
	raw 'ECHO last\r\nQUIT\r\n' '$4\r\nlast\r\n+OK\r\n'
	expect PONG ping # the others are served on
}

# bench PIPELINE
bench() {
	local got status test
	got=$(timeout 120 redis-benchmark -p "$port" -t set,get,incr,mset -n "$requests" -P "$1" \
		-r 1000 -q 2>&1 | tr '\r' '\n')
	status=$?
	for test in 'SET' 'GET' 'INCR' 'MSET (10 keys)'; do
		if grep -qF "$test: " <<<"$got" &&
			grep -F "$test: " <<<"$got" | tail -n 1 | grep -q '[1-9][0-9.]* requests per second'; then
			pass
		else
			fail "redis-benchmark -P $1 printed no rate for $test" "$(tail -n 5 <<<"$got")"
		fi
	done
	if [ "$status" = 0 ] && ! grep -qiE 'error|warn|could not' <<<"$got"; then
		pass
	else
		fail "redis-benchmark -P $1 (status $status)" "$(grep -iE 'error|warn|could' <<<"$got")"
	fi
	grep 'requests per second' <<<"$got" | sed "s/^/# $mode -P $1: /"
}

usage_errors() {
	local got status args
	mode=usage
	for args in '--mode nothing' '--workers 0' '--workers x' '--nothing' 'word' \
		'--listen nonsense'; do
		# shellcheck disable=SC2086
		got=$(timeout 10 "$server" $args 2>&1 </dev/null)
		status=$?
		if [ "$status" = 2 ] && [ -n "$got" ]; then
			pass
		else
			fail "kv-server $args: status $status" "$got"
		fi
	done
	if timeout 10 "$server" --help | grep -q '^example: '; then pass; else fail "--help"; fi
}

for mode in task request callback; do
	start || continue
	commands
	interactive
	expiry
	big_value
	malformed
	bench 1
	bench 16
	stop
done
usage_errors
done_testing
