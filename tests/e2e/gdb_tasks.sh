#!/usr/bin/env bash
# The gdb script: tasks listed, and unwound while they wait, while they run, and in core files.
. "$(dirname "$0")/lib_tool.sh"
program=$build/tests/programs/stacks
script=${RINGLINE_SOURCE:-$(dirname "$0")/../..}/tools/gdb/ringline-gdb.py

skip() {
	echo "SKIP: $1"
	skipped=$((skipped + 1))
}

if ! command -v gdb >/dev/null; then
	skip "there is no gdb"
	done_testing
fi
if nm "$program" | grep -cE '__(asan|tsan)_init' >/dev/null; then
	skip "under a sanitizer its own threads and signals are in the way"
	done_testing
fi

# debug COMMAND...: gdb in batch mode on the program; sets out
debug() {
	local args=()
	for command; do args+=(-ex "$command"); done
	out=$(cd "$work" && timeout 120 gdb -nx -batch -ex 'set debuginfod enabled off' \
		-ex 'set width 0' -ex "source $script" "${args[@]}" "${gdb_args[@]}" 2>&1 </dev/null)
}

# functions TASK: the call stack that was printed for it, names only, in one line
functions() {
	awk -v task="task $1 " 'index($0, task) == 1 && $0 !~ /, child of/ { show = 1; next }
		!/^#/ { show = 0 }
		show { sub(/^.* in /, ""); sub(/ \(.*/, ""); print }' <<<"$out" | tr '\n' ' '
}

# ends_in WHAT TASK FUNCTIONS
ends_in() {
	local got
	got=$(functions "$2")
	case $got in
	*"$3 ") passed=$((passed + 1)) ;;
	*) fail "$1: task $2: '$got', not '... $3'" "$out" ;;
	esac
}

sleeper="innermost middle outermost waiting_task task_main task_switch_entry"

# stopped WHAT: at the breakpoint in running_here(), in a process or a core file
stopped() {
	has "$1: tasks" "$out" "worker 0 (thread"
	has "$1: tasks" "$out" ": 4 tasks"
	has "$1: tasks" "$out" "worker 1 (thread"
	has "$1: tasks" "$out" "task 0.1 sleeper (spawned"
	has "$1: tasks" "$out" "stacks.c:"
	has "$1: tasks" "$out" "): waits in rln_sleep for "
	has "$1: tasks" "$out" "task 0.2 runner (spawned"
	has "$1: tasks" "$out" "): running"
	has "$1: unborn" "$out" "<unborn_task>"
	ends_in "$1" 0.0 "main_task main_task task_main task_switch_entry"
	ends_in "$1" 0.1 "$sleeper"
	ends_in "$1" 1.0 "$sleeper"
	has "$1: arguments" "$out" "in outermost (level=7)"
	has "$1: arguments" "$out" "in outermost (level=9)"
	is "$1: the running task" \
		"running_here running_outer running_task task_main task_switch_entry " \
		"$(functions 0.2)"
	has "$1: no such task" "$out" "no task 7.7"
}

looks=("ringline tasks" "ringline bt 0.0" "ringline bt 0.1" "ringline bt 1.0" "ringline bt 0.2"
	"ringline bt 0.3")

gdb_args=("$program")
debug "break running_here" run "${looks[@]}" "ringline gcore $work/saved.core" "ringline bt 7.7" kill
case $out in
*"ptrace"*"not permitted"*)
	skip "processes may not be traced here (ptrace)"
	done_testing
	;;
esac
stopped "live"
has "gcore" "$out" "with the stacks of 5 tasks"
gdb_args=("$program" "$work/saved.core")
debug "${looks[@]}" "ringline bt 7.7"
stopped "saved core"

# A process where nobody runs: every worker is in the kernel, waiting.
mkfifo "$work/out"
(
	ulimit -c unlimited
	cd "$work" || exit
	exec "$program"
) >"$work/out" 2>"$work/err" &
pid=$!
servers+=("$pid")
exec 3<"$work/out"
read -r -t 20 line <&3
is "stacks: ready" "all wait" "$line"
gdb_args=(-p "$pid")
debug "${looks[@]:0:4}" detach
ends_in "attached" 0.0 "main_task main_task task_main task_switch_entry"
ends_in "attached" 0.1 "$sleeper"
ends_in "attached" 1.0 "$sleeper"
check "attached: the process goes on" kill -0 "$pid"
kill -ABRT "$pid"
ended 20
is "stacks: status" 134 "$status"
core=$(find "$work" -maxdepth 1 \( -name "core" -o -name "core.$pid" \))
if [ -n "$core" ]; then
	gdb_args=("$program" "$core")
	debug "${looks[@]:0:4}"
	ends_in "kernel's core" 0.0 "main_task main_task task_main task_switch_entry"
	ends_in "kernel's core" 0.1 "$sleeper"
	ends_in "kernel's core" 1.0 "$sleeper"
else
	skip "a kernel's core file: kernel.core_pattern is '$(cat /proc/sys/kernel/core_pattern)'"
fi

gdb_args=("$program")
debug "ringline tasks"
has "no process" "$out" "there is no process"
done_testing
