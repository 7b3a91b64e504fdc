#!/usr/bin/env python3
"""
Compare echo servers under the same load by many short runs, interleaved: the order is shuffled anew
in every round, the figure is the median of the ratios within a round, and its interval comes from
resampling the rounds (bootstrap). A round in which other processes used the CPUs is repeated.

One server thread on one CPU, the load on another; both are left alone by the scheduler. CPU and
system calls are the server's own, divided by every request it answered, warm-up included.
"""
import argparse
import glob
import json
import os
import random
import resource
import select
import signal
import statistics
import subprocess
import sys
import time

SEED = 20240601  # of the order and the resampling: the same figures give the same interval
RESAMPLES = 4000
PATIENCE = 20  # seconds for a server to say something


class Server:
    def __init__(self, name, command, cpu):
        self.name = name
        self.process = subprocess.Popen(["taskset", "-c", str(cpu)] + command,
                                        stdout=subprocess.PIPE, text=True)
        line = self.line()
        if not line.startswith("listening on "):
            raise SystemExit("%s did not start: %r" % (name, line))
        self.address = line[len("listening on "):].strip()

    def line(self):
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise SystemExit("%s: nothing said for %d s" % (self.name, PATIENCE))
        return self.process.stdout.readline()

    def cpu_ns(self):
        total = 0
        for path in glob.glob("/proc/%d/task/*/schedstat" % self.process.pid):
            with open(path) as f:
                total += int(f.read().split()[0])
        return total

    def syscalls(self):
        self.process.send_signal(signal.SIGUSR1)
        return json.loads(self.line())["syscalls"]

    def memory_kib(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def busy_seconds():
    """Of all CPUs since boot; waiting for disks is not busy."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(server, options):
    """One short run against one server."""
    command = ["taskset", "-c", str(options.load_cpu), options.tool, "bench", "echo", "--json",
               "--connect", server.address, "--workers", "1",
               "--connections", str(options.connections), "--size", str(options.size),
               "--pipeline", str(options.pipeline), "--seconds", str(options.seconds)]
    calls, cpu = server.syscalls(), server.cpu_ns()
    busy, ours, began = busy_seconds(), children_seconds(), time.monotonic()
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    foreign = busy_seconds() - busy - (children_seconds() - ours)
    foreign = (foreign - (server.cpu_ns() - cpu) / 1e9) / (time.monotonic() - began)
    if run.returncode != 0:
        raise SystemExit("%s: the load failed: %s" % (server.name, run.stdout))
    result = json.loads(run.stdout)
    requests = max(1, result["requests_total"])  # none: others had the CPUs all the time
    return {"cpu_us": (server.cpu_ns() - cpu) / 1e3 / requests,
            "syscalls": None if calls is None else (server.syscalls() - calls) / requests,
            "rate": result["requests_per_second"],
            "p50_us": result["latency_us"]["p50"], "p99_us": result["latency_us"]["p99"],
            "foreign": max(0.0, foreign), "rss_kib": server.memory_kib()}


def run_rounds(servers, options):
    rng, rounds, repeated = random.Random(SEED), [], 0
    while len(rounds) < options.rounds:
        order = list(servers)
        rng.shuffle(order)
        cells = {server.name: measure(server, options) for server in order}
        foreign = max(cell["foreign"] for cell in cells.values())
        if foreign > options.quiet and repeated < options.rounds:
            repeated += 1
            continue
        rounds.append(cells)
        if sys.stderr.isatty():
            print("\rround %d of %d" % (len(rounds), options.rounds), end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return rounds, repeated


def ratio(rounds, name, base, field):
    """Median of the ratios within a round, and its 95 % interval."""
    rng = random.Random(SEED)
    values = [r[name][field] / r[base][field] for r in rounds]
    medians = sorted(statistics.median(rng.choices(values, k=len(values)))
                     for _ in range(RESAMPLES))
    return (statistics.median(values), medians[int(RESAMPLES * 0.025)],
            medians[int(RESAMPLES * 0.975) - 1])


def report(rounds, repeated, names, options):
    def middle(name, field):
        values = [r[name][field] for r in rounds]
        return None if None in values else statistics.median(values)

    def calls(name):
        value = middle(name, "syscalls")
        return "-" if value is None else "%.3f" % value

    print("echo, %d bytes x %d connections, pipeline %d; %d rounds of %.1f s a server, %d more "
          "repeated for foreign load" % (options.size, options.connections, options.pipeline,
                                         len(rounds), options.seconds, repeated))
    print("CPUs used by other processes: median %.2f, at most %.2f\n" % (
        statistics.median(max(c["foreign"] for c in r.values()) for r in rounds),
        max(max(c["foreign"] for c in r.values()) for r in rounds)))
    row = "%-10s %11s %9s %9s %10s %10s %9s"
    print(row % ("medians", "requests/s", "p50 us", "p99 us", "CPU us/req", "calls/req",
                 "RSS MiB"))
    for name in names:
        print(row % (name, "%.0f" % middle(name, "rate"), "%.0f" % middle(name, "p50_us"),
                     "%.0f" % middle(name, "p99_us"), "%.2f" % middle(name, "cpu_us"),
                     calls(name),
                     "%.1f" % (middle(name, "rss_kib") / 1024)))
    ratios = {}
    print("\nserver CPU per request, median of pair ratios [95 % interval]")
    for name in names:
        cells = []
        for base in ("raw", "epoll", name + "-old"):
            if name != base and base in names:
                value = ratios["%s/%s" % (name, base)] = ratio(rounds, name, base, "cpu_us")
                cells.append("%.3f of %s [%.3f, %.3f]" % (value[0], base, value[1], value[2]))
        print("%-10s %s" % (name, "   ".join(cells)))
    return ratios


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="build folder (build)")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one run (0.5)")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--pipeline", type=int, default=1)
    parser.add_argument("--quiet", type=float, default=0.2,
                        help="foreign CPU above which a round is repeated, in CPUs (0.2)")
    parser.add_argument("--modes", default="callback,request,task", help="which of ringline's; embed: callback mode in an epoll loop")
    parser.add_argument("--against", metavar="BUILD", help="compare with this build's servers too")
    parser.add_argument("--peers", action="store_true",
                        help="also the servers of bench/peers that were built (libuv, libevent)")
    parser.add_argument("--json", help="write every run to this file")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be above zero")
    options.tool = os.path.join(options.build, "bin", "ringline")
    return options


def ringline_server(build, mode):
    if mode == "embed":
        return [os.path.join(build, "bench", "embed_echo")]
    return [os.path.join(build, "bin", "ringline"), "serve", "echo", "--listen", "127.0.0.1:0",
            "--workers", "1", "--stats", "--mode", mode]


def main():
    options = parse_options()
    cpus = sorted(os.sched_getaffinity(0))
    server_cpu, options.load_cpu = cpus[0], cpus[-1]
    if len(cpus) == 1:
        print("only one CPU: server and load share it; the ratios hold, the latencies do not")
    commands = {"raw": [os.path.join(options.build, "bench", "raw_uring_echo")],
                "epoll": [options.tool, "epoll-echo", "--listen", "127.0.0.1:0"]}
    for mode in options.modes.split(","):
        commands[mode] = ringline_server(options.build, mode)
        if options.against: # the same server of another build, say of the commit before
            commands[mode + "-old"] = ringline_server(options.against, mode)
    if options.peers:
        for name in ("libuv", "libevent"):
            peer = os.path.join(options.build, "bench", "peers", name + "_echo")
            if os.path.exists(peer):
                commands[name] = [peer]
            else:
                print("without %s: it is not installed, or %s is not built" % (name, peer))
    servers = []
    try:
        for name, command in commands.items():
            servers.append(Server(name, command, server_cpu))
        rounds, repeated = run_rounds(servers, options)
    finally:
        for server in servers:
            server.stop()
    ratios = report(rounds, repeated, list(commands), options)
    if options.json:
        with open(options.json, "w") as f:
            json.dump({"options": vars(options), "kernel": os.uname().release, "rounds": rounds,
                       "ratios": ratios}, f, indent=1)


if __name__ == "__main__":
    main()
