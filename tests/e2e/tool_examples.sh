#!/usr/bin/env bash
# Every example, run and asked.
. "$(dirname "$0")/lib_tool.sh"
examples=$build/examples

# talk ADDR PYTHON: the code, with a connected socket s and recv(n) for exactly n bytes
talk() {
	timeout 60 python3 -c '
import socket, sys, time
host, port = sys.argv[1].rsplit(":", 1)
for attempt in range(200):
    try:
        s = socket.create_connection((host, int(port)))
        break
    except ConnectionRefusedError:
        time.sleep(0.05)
s.settimeout(20)
def recv(n):
    got = b""
    while len(got) < n:
        part = s.recv(n - len(got))
        if not part:
            break
        got += part
    return got
exec(sys.argv[2])' "$1" "$2"
}

free_port() {
	python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# echo says nothing: it is asked until it answers.
port=$(free_port)
"$examples/echo" "127.0.0.1:$port" 2>"$work/err" &
pid=$!
servers+=("$pid")
check "echo: a megabyte and its end" talk "127.0.0.1:$port" '
import threading
data = bytes(i * 7 % 251 for i in range(1 << 20))
threading.Thread(target=lambda: (s.sendall(data), s.shutdown(1))).start()
assert recv(len(data) + 1) == data'
echo_pid=$pid

run "$examples/client" "127.0.0.1:$port" "are you there"
is "client: answer" "are you there" "$out"
is "client: status" 0 "$status"
run "$examples/client" 127.0.0.1:1
is "client: nobody there" 1 "$status"
has "client: nobody there" "$err" "127.0.0.1:1"
# A listener that never answers: the deadline ends it.
python3 -c '
import socket, sys
l = socket.create_server(("127.0.0.1", 0))
print(l.getsockname()[1], flush=True)
sys.stdin.read()' > >(read -r p && echo "$p" >"$work/port") < <(sleep 20) &
mute=$!
servers+=("$mute")
for _ in $(seq 200); do [ -s "$work/port" ] && break || sleep 0.05; done
run "$examples/client" "127.0.0.1:$(cat "$work/port")"
is "client: deadline" 1 "$status"
has "client: deadline" "$err" "no answer"
kill "$mute"

if start 1 "$examples/proxy" 127.0.0.1:0 "127.0.0.1:$port"; then
	check "proxy: both ways, and the half-close" talk "${addr[0]}" '
import threading
data = bytes(i * 11 % 251 for i in range(1 << 20))
threading.Thread(target=lambda: (s.sendall(data), s.shutdown(1))).start()
assert recv(len(data) + 1) == data'
	stop proxy
fi
if start 1 "$examples/proxy" 127.0.0.1:0 127.0.0.1:1; then
	check "proxy: nobody behind it" talk "${addr[0]}" '
try:
    assert s.recv(1) == b"", "bytes out of nowhere"
    raise SystemExit("an orderly end")
except ConnectionResetError:
    pass'
	stop "proxy without upstream"
fi
# A silent backend, one that is not there, and the echo server.
python3 -c '
import socket, sys
l = socket.create_server(("127.0.0.1", 0))
print(l.getsockname()[1], flush=True)
sys.stdin.read()' > >(read -r p && echo "$p" >"$work/silent") < <(sleep 60) &
silent=$!
servers+=("$silent")
for _ in $(seq 200); do [ -s "$work/silent" ] && break || sleep 0.05; done
silent_addr=127.0.0.1:$(cat "$work/silent")
if start 1 "$examples/first" 127.0.0.1:0 "$silent_addr" 127.0.0.1:1 "127.0.0.1:$port"; then
	check "first: the only backend that answers" talk "${addr[0]}" '
for i in range(50):
    s.sendall(b"question %d\n" % i)
    assert recv(len(b"question %d\n" % i)) == b"question %d\n" % i'
	stop first
fi
if start 1 "$examples/first" 127.0.0.1:0 "$silent_addr" 127.0.0.1:1; then
	check "first: nobody answers in time" talk "${addr[0]}" '
s.sendall(b"question\n")
assert recv(7) == b"nobody\n"'
	stop "first without answers"
fi
one_line_usage "first: no backend" "usage: first" "$examples/first" 127.0.0.1:0
kill "$silent"

pid=$echo_pid
stop echo

if start 1 "$examples/parser" 127.0.0.1:0; then
	check "parser: any cut" talk "${addr[0]}" '
import struct
messages = [bytes([i]) * (i * 37 % 3000) for i in range(200)]
stream = b"".join(struct.pack(">I", len(m)) + m for m in messages)
at, step = 0, 1
while at < len(stream):
    s.sendall(stream[at:at + step])
    at += step
    step = step * 5 % 4099 + 1
assert recv(len(stream)) == stream'
	check "parser: a length too large" talk "${addr[0]}" '
s.sendall(b"\xff\xff\xff\xff")
try:
    assert s.recv(1) == b""
except ConnectionResetError:
    pass'
	stop parser
fi

if start 3 "$examples/modes" 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0; then
	for i in 0 1 2; do
		check "modes: listener $i" talk "${addr[$i]}" '
s.sendall(b"one\ntwo\nthr")
assert recv(8) == b"one\ntwo\n"
s.sendall(b"ee\n")
assert recv(6) == b"three\n"
for i in range(1000):
    s.sendall(b"line %d\n" % i)
    assert recv(len(b"line %d\n" % i)) == b"line %d\n" % i'
	done
	stop modes
fi

# Whoever gets a line of his own back has joined.
if start 1 "$examples/chat" 127.0.0.1:0; then
	check "chat: what one writes, all get" talk "${addr[0]}" '
others = [socket.create_connection((host, int(port))) for _ in range(5)]
members = [s] + others
def line(m):
    got = b""
    while not got.endswith(b"\n"):
        got += m.recv(1)
    return got
for i, m in enumerate(others):
    m.settimeout(20)
    m.sendall(b"joined %d\n" % i)
    while line(m) != b"joined %d\n" % i:
        pass
s.sendall(b"hello\n")
for m in members:
    while line(m) != b"hello\n":
        pass
others.pop().close()
s.sendall(b"still here\n")
for m in [s] + others:
    assert line(m) == b"still here\n"'
	stop chat
fi

# Its input stays open here, and the code that asks it writes there.
mkfifo "$work/in"
exec 4<>"$work/in"
# shellcheck disable=SC2016 # for the inner shell: what runs in the background has no other input
if start 1 bash -c 'exec "$0" 127.0.0.1:0 <"$1"' "$examples/foreign_loop" "$work/in"; then
	check "foreign loop: echo, and what its own input says" talk "${addr[0]}" '
import threading
data = bytes(i * 13 % 251 for i in range(1 << 20))
threading.Thread(target=lambda: s.sendall(data)).start()
assert recv(len(data)) == data
other = socket.create_connection((host, int(port)))
other.settimeout(20)
other.sendall(b"x")
assert other.recv(1) == b"x"
open("'"$work/in"'", "w").write("from the loop\n")
assert recv(14) == b"from the loop\n"
assert other.recv(14, socket.MSG_WAITALL) == b"from the loop\n"'
	read -r -t 20 line <&3
	has "foreign loop: its own timer" "$line" " clients"
	stop "foreign loop"
fi
exec 4>&-

# Two libraries in one thread, under load at the same time.
if [ ! -x "$build/tests/programs/uv_loop" ]; then
	echo "SKIP uv loop: it is not built, libuv1-dev was missing"
	skipped=$((skipped + 1))
elif start 2 "$build/tests/programs/uv_loop"; then
	check "uv loop: both echo" talk "${addr[0]}" '
import threading
other = socket.create_connection(("127.0.0.1", int("'"${addr[1]}"'".split(":")[1])))
other.settimeout(20)
data = bytes(i * 17 % 251 for i in range(1 << 20))
def pump(m):
    threading.Thread(target=lambda: m.sendall(data)).start()
    got = b""
    while len(got) < len(data):
        got += m.recv(1 << 16)
    same.append(got == data)
same = []
pumps = [threading.Thread(target=pump, args=(m,)) for m in (s, other)]
for p in pumps: p.start()
for p in pumps: p.join()
assert same == [True, True]
s.close()
other.close()'
	kill -TERM "$pid"
	read -r -t 20 line <&3
	is "uv loop: its last word" "ringline 1048576, libuv 1048576, ticks, one thread" "$line"
	ended 20
	is "uv loop: status" 0 "$status"
fi

# A block for every tick, whole and in its place; what was given away comes back, every time.
if start 1 "$build/tests/programs/foreign_thread" 127.0.0.1:0; then
	check "foreign thread: blocks arrive whole" talk "${addr[0]}" '
import struct
last = -1
for i in range(20):
    tick, = struct.unpack("<i", recv(4))
    assert tick > last
    last = tick
    assert recv(65536) == bytes((tick + k) & 255 for k in range(256)) * 256'
	kill -TERM "$pid"
	read -r -t 20 line <&3
	is "foreign thread: everything given away was released" "blobs left: 0" "$line"
	ended 20
	is "foreign thread: status" 0 "$status"
fi

# feed ends with its input, and when it is asked to while there is still input or might be. All clients
# have then got the same: whole lines, none of them missing.
feeding() {
	timeout 120 python3 -c '
import signal, socket, subprocess, sys, threading, time
program, how = sys.argv[1:]
feed = subprocess.Popen([program, "127.0.0.1:0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
class Client(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.s = socket.create_connection(("127.0.0.1", port))
        self.got = b""
    def joins(self):  # what is said until it has come once
        self.s.settimeout(0.05)
        while True:
            say(b"who\n")
            try:
                return self.s.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                pass
    def run(self):
        self.s.settimeout(30)
        while part := self.s.recv(65536):
            self.got += part
def say(data):
    try:
        feed.stdin.write(data)
        feed.stdin.flush()
    except BrokenPipeError:
        pass
def line(i):
    return b"line %d\n" % i
def flood():
    for i in range(1 << 30):
        say(line(i))
        if feed.poll() is not None:
            return
try:
    port = int(feed.stdout.readline().rsplit(b":", 1)[1])
    clients = [Client() for _ in range(0 if how == "nobody" else 3)]
    for c in clients:
        c.joins()
    say(b"begin\n" if clients else b"")
    for c in clients:
        c.start()
    text = b"".join(map(line, range(20000))) + b"x" * 5000 + b"\nno end"
    if how == "input":
        say(text)
        feed.stdin.close()
    else:
        if how == "flood":
            threading.Thread(target=flood, daemon=True).start()
        while any(len(c.got) < (100000 if how == "flood" else 6) for c in clients):
            time.sleep(0.01)
        feed.send_signal(signal.SIGTERM)
    assert feed.wait(30) == 0
    for c in clients:
        c.join()
        got = c.got.split(b"begin\n")[1]
        assert clients[0].got.endswith(got), "not all have got the same"
        if how == "input":
            assert got == text, len(got)
        else:
            said = b"".join(map(line, range(got.count(b"\n") + 1)))
            assert said.startswith(got), got[-100:]
finally:
    feed.kill()
    feed.wait()' "$examples/feed" "$1"
}
for how in input flood silence nobody; do check "feed: $how" feeding $how; done

# SIGTERM while a request is being served: it is answered, then all ends.
if start 1 "$examples/shutdown" 127.0.0.1:0; then
	check "shutdown: the request under way is answered" talk "${addr[0]}" "
import os
s.sendall(b'first\\n')
assert recv(6) == b'first\\n'
s.sendall(b'last\\n')
time.sleep(0.05)
os.kill($pid, 15)
assert recv(6) == b'last\\n'"
	read -r -t 10 line <&3
	is "shutdown: its last word" "drained, 2 answered" "$line"
	ended 20
	is "shutdown: status" 0 "$status"
fi

# The child tells its number, what the supervisor says of it comes after that.
supervise() {
	rm -f "$work/said"
	mkfifo "$work/said"
	"$examples/supervisor" "$@" >"$work/said" 2>"$work/err" &
	pid=$!
	servers+=("$pid")
	exec 3<"$work/said"
}
# said WHAT PATTERN: the next line matches; line is it
said() {
	line=
	read -r -t 20 line <&3
	if [[ $line =~ ^$2$ ]]; then passed=$((passed + 1)); else fail "$1: '$line', not '$2'"; fi
}
# $work/runs counts the starts, and keeps the children's numbers.
: >"$work/runs"
# shellcheck disable=SC2016 # for the child's shell
supervise 1 sh -c 'echo $$ >>"$0"; case $(wc -l <"$0") in 1) exit 7 ;; 2) kill -USR1 $$ ;; esac
	sleep 1000 & echo child $$ runs with $!; wait' "$work/runs"
said "supervisor: first" "[0-9]+: started"
said "supervisor: exit status" "[0-9]+: exited with 7, to be started again"
said "supervisor: second" "[0-9]+: started"
said "supervisor: signal" "[0-9]+: ended by signal 10 .*, to be started again"
# two writers: the supervisor and the third child
said "supervisor: third" "([0-9]+: started|child .*)"
said "supervisor: third" "([0-9]+: started|child .*)"
kill -TERM "$pid"
said "supervisor: the end" "[0-9]+: ended by signal 15 .*, for good"
ended 20
is "supervisor: status" 0 "$status"
is "supervisor: three starts" 3 "$(wc -l <"$work/runs")"
supervise 3 sh -c 'trap "" TERM; echo deaf; while :; do sleep 0.05; done'
for _ in 1 2 3 4 5 6; do said "supervisor: three" "([0-9]+: started|deaf)"; done
kill -TERM "$pid"
for _ in 1 2 3; do said "supervisor: deaf ones" "[0-9]+: ended by signal 9 .*, for good"; done
ended 20
is "supervisor: status with deaf ones" 0 "$status"
run "$examples/supervisor" 2 /nowhere/program
is "supervisor: no program" 1 "$status"
has "supervisor: no program" "$err" "/nowhere/program"
one_line_usage "supervisor: nothing to run" "usage: supervisor" "$examples/supervisor" 3
done_testing
