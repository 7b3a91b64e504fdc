"""
Tasks of ringline in gdb, in a live process and in a core file:

    (gdb) source ringline-gdb.py
    (gdb) ringline tasks            every task of every worker
    (gdb) ringline bt 0.17          the call stack of task 17 of worker 0, also while it waits
    (gdb) ringline gcore FILE       generate-core-file, and the stacks of tasks in it

Needs debug information of the library (types and one thread-local variable), nothing of the program.
A task that waits is unwound from the registers its last switch left on its stack: nothing is changed
in the process, so a core file does as well. One that the kernel wrote is complete; gdb's own
generate-core-file gives up a mapping where it meets a page that cannot be read, such as the guard of
a stack: hence ringline gcore.
"""
import struct

import gdb
from gdb.unwinder import Unwinder

STATES = ["new", "ready", "running", "waits", "ended"]  # enum task_state
WAIT_K = 2

# What task_switch() leaves at the saved stack pointer, lowest address first, and what it takes off.
SAVED = {
    "i386:x86-64": (["r15", "r14", "r13", "r12", "rbx", "rbp", "rip"], "rsp", "rip"),
    "aarch64": (["x29", "x30"] + ["x%d" % i for i in range(19, 29)], "sp", "pc"),
}
RED_ZONE = 128 # what a function may use below the stack pointer
FRAME_WORDS = {"i386:x86-64": 7, "aarch64": 20}


def architecture():
    name = gdb.selected_frame().architecture().name()
    if name not in SAVED:
        raise gdb.GdbError("ringline: the switch of %s is not known here" % name)
    return name


def word_type():
    return gdb.lookup_type("unsigned long")


def word_at(address):
    pointer = gdb.Value(address).cast(word_type().pointer())
    return int(pointer.dereference())


def text(value):
    return value.string() if int(value) else None


def each_in(head, link, record):
    """The records of an intrusive list (base/list.h): head is the list, link the field in them."""
    offset = [f for f in record.fields() if f.name == link][0].bitpos // 8
    node, first = head["next"], int(head.address)
    while int(node) != first:
        yield gdb.Value(int(node) - offset).cast(record.pointer()).dereference()
        node = node["next"]


class Worker:
    """A worker as found through its thread: the thread must be selected to look at what runs."""

    def __init__(self, thread, context):
        self.thread = thread
        self.sched = context["sched"].dereference()
        self.index = int(self.sched["worker_index"])
        self.now_ns = int(context["loop"].dereference()["now_ns"])

    def tasks(self):
        record = self.sched["running"].type.target()
        return [Task(self, value) for value in each_in(self.sched["tasks"], "all", record)]


class Task:
    def __init__(self, worker, value):
        self.worker, self.value = worker, value
        self.state = STATES[int(value["state"])]

    def name(self):
        return "%d.%d" % (self.worker.index, int(self.value["slot"]))

    def title(self):
        v = self.value
        return "task %s %s (spawned %s:%d)" % (self.name(), text(v["name"]) or "without a name",
                                               text(v["file"]), int(v["line"]))

    def doing(self):
        if self.state != "waits":
            return self.state
        ns = self.worker.now_ns - int(self.value["parked_ns"])
        kernel = " (kernel)" if int(self.value["wait"]) == WAIT_K else ""
        return "waits in %s%s for %.3f s" % (text(self.value["waits_for"]), kernel, ns / 1e9)

    def scopes(self):
        """Its own, innermost first; those it inherits are shown at its parents."""
        found, scope = [], self.value["scope"]
        while int(scope):
            what = "shield" if scope["shield"] else "group" if scope["group"] else "scope"
            what += " %s:%d" % (text(scope["file"]) or "?", int(scope["line"]))
            left = int(scope["deadline_ns"]) - self.worker.now_ns
            endless = int(scope["deadline_ns"]) == 2 ** 63 - 1
            if bool(scope["fresh"]): # its clock starts at the next wait
                left, endless = int(scope["timeout_ns"]), int(scope["timeout_ns"]) == 2 ** 63 - 1
            if bool(scope["cancelled"]):
                what += " cancelled"
            elif not endless:
                what += " ends in %.3f s" % (left / 1e9) if left > 0 else " expired"
            found.append(what)
            scope = scope["outer"]
        return found

    def line(self):
        parts = [self.title() + ": " + self.doing()]
        if bool(self.value["cancelled"]):
            parts.append("cancelled")
        parts += self.scopes()
        if int(self.value["stack"]) and self.state != "running":
            stack = self.value["stack"]
            parts.append("stack %d of %d KiB" % (
                (int(stack["top"]) - int(self.value["sp"]) + 1023) >> 10,
                (int(stack["top"]) - int(stack["bottom"])) >> 10))
        return ", ".join(parts)

    def sp(self):
        """Where its stack ends now."""
        if self.state != "running":
            return int(self.value["sp"])
        before = gdb.selected_thread()
        self.worker.thread.switch()
        sp = int(gdb.newest_frame().read_register(SAVED[architecture()][1]))
        before.switch()
        return sp

    def registers(self):
        """What the registers will be when this task goes on. It does not run now."""
        arch = architecture()
        names, sp_name, pc_name = SAVED[arch]
        sp = int(self.value["sp"])
        saved = {name: word_at(sp + 8 * i) for i, name in enumerate(names)}
        if pc_name not in saved:
            saved[pc_name] = saved["x30"]
        saved[sp_name] = sp + 8 * FRAME_WORDS[arch]
        return saved, sp_name, pc_name


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class TaskUnwinder(Unwinder):
    """While a task is set, the caller of the thread's innermost frame is the task where it waits."""

    def __init__(self):
        super().__init__("ringline task")
        self.saved = None

    def show(self, task):
        self.saved, self.sp_name, self.pc_name = task.registers()
        frame = gdb.newest_frame()
        self.top = (int(frame.read_register(self.sp_name)), int(frame.read_register(self.pc_name)))
        gdb.invalidate_cached_frames()

    def hide(self):
        self.saved = None
        gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if self.saved is None:
            return None
        sp, pc = (pending.read_register(name) for name in (self.sp_name, self.pc_name))
        if (int(sp), int(pc)) != self.top:
            return None
        unwound = pending.create_unwind_info(FrameId(sp, pc))
        for name, value in self.saved.items():
            kind = pending.read_register(name).type
            unwound.add_saved_register(name, gdb.Value(value).cast(word_type()).cast(kind))
        return unwound


unwinder = TaskUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


def workers():
    """One for each thread that is in a worker; leaves the selected thread as it is."""
    before, found, troubles = gdb.selected_thread(), [], []
    if before is None:
        raise gdb.GdbError("ringline: there is no process")
    try:
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda t: t.num):
            thread.switch()
            try:
                context = gdb.parse_and_eval("ctx_current_")
                if int(context):
                    found.append(Worker(thread, context.dereference()))
            except gdb.error as e:
                troubles.append("thread %d: %s" % (thread.num, e))
    finally:
        before.switch()
    if not found:
        raise gdb.GdbError("ringline: no thread is in a worker"
                           + ("; " + troubles[0] if troubles else ""))
    return sorted(found, key=lambda w: w.index)


def arguments(frame):
    try:
        block = frame.block()
    except RuntimeError:
        return ""
    while block and not block.function:
        block = block.superblock
    shown = []
    for symbol in block or []:
        if symbol.is_argument:
            try:
                shown.append("%s=%s" % (symbol.name, frame.read_var(symbol)))
            except (gdb.error, ValueError):
                shown.append("%s=?" % symbol.name)
    return ", ".join(shown)


def print_frames(frame):
    level = 0
    while frame is not None and frame.is_valid():
        where = frame.find_sal()
        place = " at %s:%d" % (where.symtab.filename, where.line) if where.symtab else ""
        print("#%-3d 0x%016x in %s (%s)%s" % (level, frame.pc(), frame.name() or "??",
                                             arguments(frame), place))
        frame, level = frame.older(), level + 1


def print_waiting(task):
    saved, _, pc_name = task.registers()
    begun = saved[pc_name] != int(gdb.parse_and_eval("(long)&task_switch_entry"))
    if not begun:
        print("has not begun: %s" % task.value["fn"])
        return
    unwinder.show(task)
    try:
        print_frames(gdb.newest_frame().older())
    finally:
        unwinder.hide()


class RinglineCommand(gdb.Command):
    """Look at the tasks of ringline: ringline tasks, ringline bt WORKER.TASK"""

    def __init__(self):
        super().__init__("ringline", gdb.COMMAND_STACK, prefix=True)


class TasksCommand(gdb.Command):
    """List the tasks of all workers: ringline tasks"""

    def __init__(self):
        super().__init__("ringline tasks", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for worker in workers():
            tasks = worker.tasks()
            print("worker %d (thread %d): %d tasks" % (worker.index, worker.thread.num, len(tasks)))
            for task in tasks:
                print(task.line())


class BacktraceCommand(gdb.Command):
    """The call stack of a task, as ringline tasks names it: ringline bt WORKER.TASK"""

    def __init__(self):
        super().__init__("ringline bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        name = argument.strip()
        for task in [task for worker in workers() for task in worker.tasks()]:
            if task.name() != name:
                continue
            print(task.line())
            if task.state == "ended":
                raise gdb.GdbError("ringline: task %s has ended" % name)
            before = gdb.selected_thread()
            task.worker.thread.switch()
            try:
                if task.state == "running":
                    print_frames(gdb.newest_frame())
                else:
                    print_waiting(task)
            finally:
                before.switch()
            return
        raise gdb.GdbError("ringline: no task %s; see: ringline tasks" % (name or "was named"))


def loaded_parts(f):
    """(address, bytes, offset in the file) of each part of memory in a core file."""
    f.seek(0)
    header = struct.unpack("<16sHHIQQQIHHHHHH", f.read(64))
    at, size, count = header[5], header[9], header[10]
    for i in range(count):
        f.seek(at + i * size)
        kind, _, offset, address, _, in_file, _, _ = struct.unpack("<IIQQQQQQ", f.read(56))
        if kind == 1:
            yield address, in_file, offset


class CoreCommand(gdb.Command):
    """Save a core file with the stacks of all tasks: ringline gcore FILE"""

    def __init__(self):
        super().__init__("ringline gcore", gdb.COMMAND_STACK, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, from_tty):
        path = argument.strip()
        if not path:
            raise gdb.GdbError("ringline: which file?")
        gdb.execute("generate-core-file " + path, to_string=True)
        inferior, count = gdb.selected_inferior(), 0
        with open(path, "r+b") as f:
            parts = list(loaded_parts(f))
            for task in [task for worker in workers() for task in worker.tasks()]:
                if not int(task.value["stack"]):
                    continue
                top, begin = int(task.value["stack"]["top"]), task.sp() - RED_ZONE
                for address, size, offset in parts:
                    if address <= begin < top <= address + size:
                        f.seek(offset + begin - address)
                        f.write(inferior.read_memory(begin, top - begin).tobytes())
                        count += 1
        print("saved %s, with the stacks of %d tasks" % (path, count))


RinglineCommand()
CoreCommand()
TasksCommand()
BacktraceCommand()
