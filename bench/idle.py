#!/usr/bin/env python3
"""
Memory of idle connections: the resident memory of an echo server, divided by its connections, as
they stand idle before any traffic, right after each was served once, and when the time after which
the stacks of parked tasks are given back has passed.
"""
import argparse
import json
import os
import resource
import select
import socket
import subprocess
import sys
import time

TRIM_SECONDS = 6.5  # stack_trim_idle is 5 s; the bar allows 1 s more, the rest is for slow machines


def resident(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        for line in f:
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1]) * 1024
    raise SystemExit("no memory figures for process %d" % pid)


def start(tool, mode):
    command = [tool, "serve", "echo", "--listen", "127.0.0.1:0", "--workers", "1", "--mode", mode]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if not select.select([server.stdout], [], [], 20)[0]:
        raise SystemExit("the server said nothing for 20 s")
    line = server.stdout.readline()
    if not line.startswith("listening on "):
        raise SystemExit("the server did not start: %r" % line)
    host, port = line.split()[-1].rsplit(":", 1)
    return server, (host, int(port))


def echo(peers, size):
    message = b"x" * size
    for peer in peers:
        peer.sendall(message)
    for peer in peers:
        left = size
        while left:
            got = peer.recv(left)
            if not got:
                raise SystemExit("the server closed a connection")
            left -= len(got)


def measure(tool, mode, connections, size):
    server, address = start(tool, mode)
    peers = []
    try:
        # What the first ones cost is the server's, not a connection's.
        warm = [socket.create_connection(address) for _ in range(64)]
        for _ in range(20):
            echo(warm, size)
        base = resident(server.pid)
        peers = [socket.create_connection(address) for _ in range(connections)]
        time.sleep(0.5)  # accepted, not only queued
        fresh = resident(server.pid)
        echo(peers, size)
        used = resident(server.pid)
        time.sleep(TRIM_SECONDS)
        trimmed = resident(server.pid)
    finally:
        server.terminate()
        for peer in peers:
            peer.close()
        server.wait()
    return {"mode": mode, "before": (fresh - base) / connections,
            "after": (used - base) / connections, "trimmed": (trimmed - base) / connections}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="build folder (build)")
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--size", type=int, default=1024, help="bytes of the one message (1024)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    connections = min(options.connections, limit - 200)
    tool = os.path.join(options.build, "bin", "ringline")
    rows = [measure(tool, mode, connections, options.size)
            for mode in ("callback", "request", "task")]
    if options.json:
        json.dump({"connections": connections, "size": options.size, "rows": rows}, sys.stdout)
        return
    print("%d idle connections, bytes of the server's own memory each" % connections)
    print("%-10s %14s %14s %22s" % ("", "before traffic", "after traffic",
                                    "%.1f s after traffic" % TRIM_SECONDS))
    for row in rows:
        print("%-10s %14.0f %14.0f %22.0f" % (row["mode"], row["before"], row["after"],
                                              row["trimmed"]))


if __name__ == "__main__":
    main()
