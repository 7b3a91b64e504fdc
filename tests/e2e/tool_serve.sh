#!/usr/bin/env bash
# ringline serve: addresses, modes, signals, and how it refuses.
. "$(dirname "$0")/lib_tool.sh"

# echo_through ADDR TEXT: what comes back for it, to the end of the stream
echo_through() {
	python3 - "$1" "$2" <<'END'
import socket, sys
addr, text = sys.argv[1], sys.argv[2].encode()
if addr.startswith("unix:"):
    s = socket.socket(socket.AF_UNIX)
    name = addr[5:]
    s.connect("\0" + name[1:] if name.startswith("@") else name)
else:
    host, port = addr.rsplit(":", 1)
    s = socket.create_connection((host.strip("[]"), int(port)))
s.settimeout(20)
s.sendall(text)
s.shutdown(socket.SHUT_WR)
got = b""
while True:
    part = s.recv(65536)
    if not part:
        break
    got += part
print(got.decode(), end="")
END
}

for mode in task request callback; do
	start 2 "$tool" serve echo --mode $mode --listen 127.0.0.1:0 \
		--listen "unix:$work/socket" --workers 2 --stats || continue
	is "$mode: tcp" "over tcp" "$(echo_through "${addr[0]}" "over tcp")"
	is "$mode: unix" "over unix" "$(echo_through "${addr[1]}" "over unix")"
	kill -USR1 "$pid"
	read -r -t 10 line <&3
	has "$mode: stats" "$line" '"workers":2'
	has "$mode: stats" "$line" '"accepts":2'
	has "$mode: stats" "$line" '"recv_bytes":17'
	stop $mode
	check "$mode: the socket's name is gone" test ! -e "$work/socket"
done

start 3 "$tool" serve echo --stats --listen 127.0.0.1:0 --listen "unix:@ringline-$$" \
	--listen "unix:$work/s" &&
	is abstract hello "$(echo_through "unix:@ringline-$$" hello)"
taken=${addr[0]}
one_line_usage "port in use" "$taken" "$tool" serve echo --listen "$taken"
one_line_usage "unix name in use" "$work/s" "$tool" serve echo --listen "unix:$work/s"
is "its owner still has the name" hello "$(echo_through "unix:$work/s" hello)"

# A client that stays and is silent: SIGTERM waits for it a while, a second one does not.
exec 5<>"/dev/tcp/127.0.0.1/${taken##*:}"
printf 'hold' >&5
read -r -t 10 -N 4 line <&5
is "before the signal" hold "$line"
kill -TERM "$pid"
read -r -t 10 line <&3 # the counters: the first signal has been taken
kill -TERM "$pid"
ended 5
is "two signals" 143 "$status"
exec 5<&-

start 1 "$tool" serve kv --listen 127.0.0.1:0 --workers 1 &&
	is kv $'+PONG\n+OK' "$(echo_through "${addr[0]}" $'PING\r\nQUIT\r\n' | tr -d '\r')"
stop kv

one_line_usage "bad address" nonsense "$tool" serve echo --listen nonsense
one_line_usage "bad port" 99999 "$tool" serve echo --listen 127.0.0.1:99999
one_line_usage "foreign address" 192.0.2.1 "$tool" serve echo --listen 192.0.2.1:0
one_line_usage "no directory" "$work/none/s" "$tool" serve echo --listen "unix:$work/none/s"
one_line_usage "bad mode" "task, request, callback" "$tool" serve echo --mode none
one_line_usage "bad workers" --workers "$tool" serve echo --workers 0
one_line_usage "bad option" --nothing "$tool" serve echo --nothing
one_line_usage "no value" --listen "$tool" serve echo --listen
one_line_usage "bad word" "echo, kv" "$tool" serve nothing
one_line_usage "no word" --help "$tool" serve
one_line_usage "bad command" nothing "$tool" nothing
for command in serve bench doctor demo epoll-echo; do
	run "$tool" $command --help
	is "$command --help: status" 0 "$status"
	has "$command --help" "$out" "example: ringline $command"
done
run "$tool" --version
has version "$out" "ringline "
done_testing
