# What the scripts that run programs share. Source it with the build folder in $1.
set -u -o pipefail

build=${1:-${RINGLINE_BUILD:-build}}
tool=$build/bin/ringline
passed=0 failed=0 skipped=0
work=$(mktemp -d)
servers=()

finish() {
	for p in "${servers[@]-}"; do
		[ -n "$p" ] && kill -KILL "$p" 2>/dev/null
	done
	rm -rf "$work"
}
trap finish EXIT

# fail WHAT [TEXT]
fail() {
	failed=$((failed + 1))
	printf 'FAIL %s\n' "$1"
	[ $# -gt 1 ] && printf '%s\n' "$2" | sed 's/^/    /'
	return 0
}

# check WHAT COMMAND...: the command must succeed
check() {
	local what=$1
	shift
	if "$@"; then passed=$((passed + 1)); else fail "$what"; fi
}

# has WHAT TEXT PART: TEXT must contain PART
has() {
	case $2 in
	*"$3"*) passed=$((passed + 1)) ;;
	*) fail "$1: no '$3' in" "$2" ;;
	esac
}

# is WHAT WANT GOT
is() {
	if [ "$2" = "$3" ]; then passed=$((passed + 1)); else fail "$1: '$3', not '$2'"; fi
}

# start LISTENERS COMMAND...: sets pid, and addr to the addresses it says it listens on. Its output
# stays readable on descriptor 3.
start() {
	local count=$1 line
	shift
	rm -f "$work/out"
	mkfifo "$work/out"
	"$@" >"$work/out" 2>"$work/err" &
	pid=$!
	servers+=("$pid")
	exec 3<"$work/out"
	addr=()
	while [ ${#addr[@]} -lt "$count" ]; do
		line=
		read -r -t 20 line <&3
		case $line in
		"listening on "*) addr+=("${line#listening on }") ;;
		*)
			fail "$*: it did not say where it listens: '$line'" "$(cat "$work/err")"
			return 1
			;;
		esac
	done
	passed=$((passed + 1))
}

# ended SECONDS: wait for $pid; sets status
ended() {
	for _ in $(seq $(($1 * 50))); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.02
	done
	if kill -0 "$pid" 2>/dev/null; then
		fail "still running after $1 s" "$(cat "$work/err")"
		kill -KILL "$pid"
	fi
	wait "$pid"
	status=$?
	exec 3<&-
}

# stop WHAT: SIGTERM, and a drain that ends well
stop() {
	kill -TERM "$pid"
	ended 20
	is "$1: exit status after SIGTERM" 0 "$status"
	[ "$status" = 0 ] || cat "$work/err"
}

# run COMMAND...: sets out, err, status
run() {
	out=$(timeout 60 "$@" 2>"$work/run.err" </dev/null)
	status=$?
	err=$(cat "$work/run.err")
}

# one_line_usage WHAT PART COMMAND...: refused with status 2 and one line on stderr that has PART
one_line_usage() {
	local what=$1 part=$2
	shift 2
	run "$@"
	is "$what: status" 2 "$status"
	is "$what: lines on stderr" 1 "$(wc -l <"$work/run.err")"
	has "$what" "$err" "$part"
}

# json FIELD: of the object in $out
json() {
	python3 -c 'import json, sys
v = json.load(sys.stdin)
for key in sys.argv[1].split("/"):
    v = v[key]
print(v)' "$1" <<<"$out"
}

done_testing() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
	exit
}

if ! command -v python3 >/dev/null; then
	echo "SKIP: there is no python3"
	skipped=1
	done_testing
fi
