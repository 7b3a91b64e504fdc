#!/usr/bin/env bash
# Compare the echo server in its three modes with an epoll one and the least there is on io_uring:
# many short interleaved runs, see bench/ab.py --help. With a first word: what tasks cost (tasks), the
# memory of idle connections (idle), what a start costs (start). Builds nothing: ./dev bench does.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
build=${RINGLINE_BUILD:-build}
for program in "$build/bin/ringline" "$build/bench/raw_uring_echo"; do
	if [ ! -x "$program" ]; then
		echo "bench/run.sh: there is no $program; run ./dev build" >&2
		exit 2
	fi
done
what=ab
case ${1:-} in
tasks | idle | start)
	what=$1
	shift
	;;
esac
exec python3 "bench/$what.py" --build "$build" "$@"
