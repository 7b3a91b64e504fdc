#!/usr/bin/env python3
"""
What a start costs: from the process's beginning to "listening on", and the memory the server then
has, with one worker and with two, so that the difference is one more default worker.
"""
import argparse
import os
import statistics
import subprocess
import time


def resident_kib(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Rss:"))


def start(command):
    began = time.monotonic()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    took = time.monotonic() - began
    if not line.startswith("listening on "):
        raise SystemExit("the server did not start: %r" % line)
    memory = resident_kib(server.pid)
    server.terminate()
    server.wait()
    return took * 1e3, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="build folder (build)")
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    tool = os.path.join(options.build, "bin", "ringline")
    serve = [tool, "serve", "echo", "--listen", "127.0.0.1:0", "--workers"]
    runs = {workers: [start(serve + [str(workers)]) for _ in range(options.runs)]
            for workers in (1, 2)}
    for workers, results in runs.items():
        times, memory = zip(*results)
        print("%d worker%s: %.1f ms to listening (median of %d, %.1f to %.1f), %d KiB resident" % (
            workers, "s" if workers > 1 else "", statistics.median(times), options.runs,
            min(times), max(times), statistics.median(memory)))


if __name__ == "__main__":
    main()
