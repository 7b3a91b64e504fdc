#!/usr/bin/env bash
# Compare the echo server in its three modes with an epoll one and the least there is on io_uring:
# many short interleaved runs, see bench/ab.py --help. `run.sh tasks`: what tasks cost, bench/tasks.py.
# Builds nothing: ./dev bench does that before.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
build=${RINGLINE_BUILD:-build}
for program in "$build/bin/ringline" "$build/bench/raw_uring_echo"; do
	if [ ! -x "$program" ]; then
		echo "bench/run.sh: there is no $program; run ./dev build" >&2
		exit 2
	fi
done
if [ "${1:-}" = tasks ]; then
	shift
	exec python3 bench/tasks.py --build "$build" "$@"
fi
exec python3 bench/ab.py --build "$build" "$@"
