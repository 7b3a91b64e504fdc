#!/usr/bin/env python3
"""
What tasks cost: bench/tasks of the library and, where Go is installed, the same in Go. Several
rounds, the two in turn; the median of the rounds in nanoseconds.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def build_go(folder):
    """The command of the Go program, or None with the reason on stderr."""
    if not shutil.which("go"):
        print("bench/tasks.py: Go is not installed: without it", file=sys.stderr)
        return None
    program = os.path.join(folder, "tasks-go")
    build = subprocess.run(["go", "build", "-o", program, os.path.join(HERE, "peers", "tasks.go")],
                           env=dict(os.environ, GOFLAGS="-mod=mod", GO111MODULE="off",
                                    GOCACHE=os.path.join(folder, "cache")),
                           capture_output=True, text=True)
    if build.returncode != 0:
        print("bench/tasks.py: Go does not build its program: %s" % build.stderr, file=sys.stderr)
        return None
    return [program]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="build folder (build)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=31, help="short runs of a round (31)")
    parser.add_argument("--json", help="write the medians to this file")
    options = parser.parse_args()
    cpu = str(sorted(os.sched_getaffinity(0))[0])
    with tempfile.TemporaryDirectory() as folder:
        # posts come from a second thread, which needs a processor of its own: not bound
        commands = {"ringline": [os.path.join(options.build, "bench", "tasks"), "--json"]}
        go = build_go(folder)
        if go:
            commands["go"] = ["taskset", "-c", cpu] + go
        rounds = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                run = subprocess.run(command + [str(options.runs)], stdout=subprocess.PIPE,
                                     text=True)
                if run.returncode != 0:
                    raise SystemExit("%s failed" % name)
                rounds[name].append(json.loads(run.stdout))
    medians = {name: {key: statistics.median(r[key] for r in results) for key in results[0]}
               for name, results in rounds.items()}
    print("%-32s %s" % ("ns, median of %d rounds" % options.rounds,
                        " ".join("%10s" % name for name in medians)))
    for key in medians["ringline"]:
        print("%-32s %s" % (key, " ".join(
            "%10s" % ("%.1f" % values[key] if key in values else "-")
            for values in medians.values())))
    if options.json:
        with open(options.json, "w") as f:
            json.dump(medians, f, indent=1)


if __name__ == "__main__":
    main()
