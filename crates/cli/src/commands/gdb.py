# What gdb needs to see through libhotpatch: from a trampoline, a gate or a hook to the program's own code. It reads
# tables that the library keeps anyway, so the program pays nothing, and a core dump is as good as a live process.
#
# hotpatch gdb ARGS... starts gdb with this; hotpatch gdb --script prints it, for ~/.gdbinit.

import bisect
import os
import struct

import gdb
from gdb.FrameDecorator import FrameDecorator
from gdb.unwinder import Unwinder, register_unwinder

# As crates/runtime/src/debug.rs writes them.
WORDS = """area_next area_start area_end area_origin area_went area_count area_code area_undo area_undos undo_size
    block_bit other_bit ahead_bit ahead switched ret called_switched after_ret next
    gate_count gate_size entered entered_ret rax rbx rbp r12 r13 r14 r15 rsp
    region own_rsp record_rsp record_next record_mark birth_next""".split()
MARK = 0x6863_7461_7074_6F68
REGISTERS = """rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags
    cs ss ds es fs gs fs_base gs_base""".split()


def mappings():
    """(start, end, offset, path) of what is mapped from files, of a process or of a core."""
    try:
        text = gdb.execute("info proc mappings", to_string=True)
    except gdb.error:
        return []
    found = []
    for line in text.splitlines():
        words = line.split(None, 4)
        if len(words) == 5 and words[0].startswith("0x") and "/" in words[4]:
            path = words[4][words[4].index("/"):]
            found.append((int(words[0], 16), int(words[1], 16), int(words[3], 16), path))
    return found


def loaded():
    """(address, path) of ELF files that are loaded: what follows their beginning follows it in memory too."""
    there = mappings()
    begins = {(start, path) for start, _, _, path in there}
    for start, end, offset, path in there:
        if offset == 0 and (end, path) in begins:
            yield start, path


def symbols(path, wanted):
    """The addresses that an ELF file's symbol table gives for these names."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return {}
    if data[:6] != b"\x7fELF\x02\x01":
        return {}
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + n * size) for n in range(count)]
    found = {}
    for section in sections:
        if section[1] not in (2, 11):  # SHT_SYMTAB, SHT_DYNSYM
            continue
        names = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 24):
            name, _, _, index, value, _ = struct.unpack_from("<IBBHQQ", data, at)
            for word in wanted:
                if index and data[names + name:names + name + len(word) + 1] == word + b"\0":
                    found[word] = value
    return found


class Area:
    """The trampolines of one image."""

    def __init__(self, view, at):
        self.next = view.word(at + view.area_next)
        self.start = view.word(at + view.area_start)
        self.end = view.word(at + view.area_end)
        self.origin = view.word(at + view.area_origin)
        went = view.word(at + view.area_went)
        count = view.word(at + view.area_count)
        words = struct.unpack("<%dI" % (2 * count), view.read(went, 8 * count))
        self.marks = [word >> 28 for word in words[::2]]
        self.offsets = [word & 0x1FFF_FFFF for word in words[::2]]
        self.originals = words[1::2]
        code = view.word(at + view.area_code)
        undos = view.word(at + view.area_undos)
        undo = view.read(view.word(at + view.area_undo), undos * view.undo_size)
        self.changed = {code + struct.unpack_from("<I", undo, n * view.undo_size)[0] for n in range(undos)}

    def find(self, pc):
        """(mark, where the copy begins, the original) of the instruction whose copy `pc` is in."""
        index = bisect.bisect_right(self.offsets, pc - self.start) - 1
        if index < 0:
            return None
        return self.marks[index], self.start + self.offsets[index], self.origin + self.originals[index]


class View:
    """The library in one process, as it is while that process stands still."""

    def __init__(self, inferior):
        self.inferior = inferior
        self.areas, self.gates, self.own = [], [], None
        for start, path in loaded():
            if os.path.basename(path).startswith("libhotpatch"):
                at = symbols(path, [b"hotpatch_debug", b"_end"])
                if b"hotpatch_debug" in at:
                    self.begin(start, at)
                    return

    def begin(self, base, at):
        self.own = (base, base + at.get(b"_end", 0))
        layout = base + at[b"hotpatch_debug"]
        version, count, areas, gates = struct.unpack("<IIQQ", self.read(layout, 24))
        if version != 1 or count != len(WORDS):
            return
        words = struct.unpack("<%dI" % count, self.read(layout + 24, 4 * count))
        for name, value in zip(WORDS, words):
            setattr(self, name, value)
        starts = (gates + n * self.gate_size for n in range(self.gate_count))
        self.gates = [struct.unpack("<7Q", self.read(start, 56)) for start in starts]
        area = self.word(areas)
        while area:
            self.areas.append(Area(self, area))
            area = self.areas[-1].next

    def read(self, at, length):
        return bytes(self.inferior.read_memory(at, length))

    def word(self, at):
        return struct.unpack("<Q", self.read(at, 8))[0]

    def area(self, pc):
        return next((area for area in self.areas if area.start <= pc < area.end), None)

    def behind_stones(self, pc):
        """The area that a stone at `pc` leads to, and where; nothing if the program itself goes this way."""
        for area in self.areas:
            at = pc
            while at in area.changed:
                code = self.read(at, 5)
                if code[0] == 0xEB:
                    at += 2 + struct.unpack_from("<b", code, 1)[0]
                elif code[0] == 0xE9:
                    at += 5 + struct.unpack_from("<i", code, 1)[0]
                else:
                    break
            if at != pc and area.start <= at < area.end:
                found = area.find(at)
                return (area, at) if found and found[2] != pc else None
        return None

    def original(self, pc):
        """The instruction of the program that `pc` in a trampoline stands for."""
        area = self.area(pc)
        found = area.find(pc) if area else None
        return found[2] if found else None


views = {}


def view():
    inferior = gdb.selected_inferior()
    if inferior.num not in views:
        try:
            views[inferior.num] = View(inferior)
        except (gdb.error, struct.error, IndexError):
            return None
    return views[inferior.num]


def forget(_):
    views.clear()


for event in ("cont", "exited", "new_objfile", "clear_objfiles"):
    getattr(gdb.events, event).connect(forget)


class Id:
    def __init__(self, sp, pc):
        self.sp, self.pc = gdb.Value(sp), gdb.Value(pc)


class Program(Unwinder):
    """Leads from code of the library's own to the instruction of the program that it stands for."""

    def __init__(self):
        super().__init__("hotpatch")

    def __call__(self, frame):
        seen = view()
        if not seen or not seen.areas:
            return None
        mask = (1 << 64) - 1
        try:
            now = {name: int(frame.read_register(name)) & mask for name in REGISTERS}
            back = self.program(seen, now, frame.architecture())
        except (gdb.error, gdb.MemoryError, struct.error, ValueError):
            return None
        if not back:
            return None
        info = frame.create_unwind_info(Id(back["rsp"], back.pop("id")))
        for name in REGISTERS:
            value = frame.read_register(name)
            if back[name] != now[name]:
                value = gdb.Value(back[name]).cast(value.type)
            info.add_saved_register(name, value)
        return info

    def program(self, seen, now, architecture):
        pc, top = now["rip"], now["gs_base"]
        back = dict(now)
        area = seen.area(pc)
        stone = None if area else seen.behind_stones(pc)
        if stone:
            area, pc = stone
            found = area.find(pc)
            start = found[1]
        elif area:
            found = area.find(pc)
            if not found:
                return None
            mark, start, _ = found
            inside = pc - start
            if mark & seen.ahead_bit:
                inside -= seen.ahead
            if top - seen.region < now["rsp"] <= top:
                if mark & seen.other_bit:
                    back["rsp"] = seen.word(top + seen.own_rsp)
                elif inside in (seen.ret, seen.after_ret):
                    back["rsp"] = seen.word(top - seen.entered + seen.rsp)
                else:
                    back["rsp"] = now["r11"]
        else:
            gate = next((gate for gate in seen.gates if gate[0] <= pc < gate[6]), None)
            if gate:
                entered = top - seen.entered
                pc = seen.word(entered + seen.entered_ret)
                if now["rsp"] <= entered:
                    for name in ("rax", "rbx", "rbp", "r12", "r13", "r14", "r15", "rsp"):
                        back[name] = seen.word(entered + getattr(seen, name))
                else:
                    back["rsp"] = now["r11"]
            if seen.own and seen.own[0] <= pc < seen.own[1]:
                pc = self.behind(seen, back, now)
            area = seen.area(pc) if pc else None
            if not area:
                return None
            found = area.find(pc)
            if not found:
                return None
            mark, start, _ = found
        back["id"] = start
        back["rip"] = self.goes_on(seen, area, found, pc, architecture)
        return back

    def behind(self, seen, back, now):
        """Where a call goes on that the library executes itself: it has a record on the stack, or a child's block."""
        record = back["rsp"]
        try:
            if seen.word(record + seen.record_mark) == MARK:
                back["rsp"] = seen.word(record + seen.record_rsp)
                return seen.word(record + seen.record_next)
        except gdb.MemoryError:
            pass
        return seen.word(now["r9"] + seen.birth_next) if now["r9"] else None

    def goes_on(self, seen, area, found, pc, architecture):
        """Where the program goes on: a breakpoint may stand there. Between the two its stack pointer must not change,
        else it is the place right behind the instruction."""
        mark, start, original = found
        if mark & seen.block_bit:
            pc = start + (seen.ahead if mark & seen.ahead_bit else 0) + seen.next
        if not mark & seen.other_bit:
            for step in architecture.disassemble(pc, count=24):
                words = step["asm"].split()
                if words[0] == "jmp" and words[1].startswith("0x"):
                    to = int(words[1], 16)
                    if not area.start <= to < area.end:
                        return to
                    break
                if any(word in step["asm"] for word in ("push", "pop", "sp", "leave", "ret", "call", "(bad)")):
                    break
        return original + 2


class Named(FrameDecorator):
    """A frame in a trampoline, by the function that it belongs to."""

    def function(self):
        name = super().function()
        frame = self.inferior_frame()
        seen = view()
        if frame.name() is None and seen:
            original = seen.original(frame.pc())
            if original:
                text = gdb.execute("info symbol %#x" % original, to_string=True).split()
                return "[hotpatch: %s]" % (text[0] if text and text[0] != "No" else "%#x" % original)
        return name


class Names:
    def __init__(self):
        self.name, self.priority, self.enabled = "hotpatch", 100, True
        gdb.frame_filters[self.name] = self

    def filter(self, frames):
        return (Named(frame) for frame in frames)


class Symbols(gdb.Command):
    """Read the symbols of libhotpatch and of its hooks, where gdb's own list of libraries does not have them."""

    def __init__(self):
        super().__init__("hotpatch-symbols", gdb.COMMAND_FILES)

    def invoke(self, _argument, _from_tty):
        known = {objfile.filename for objfile in gdb.objfiles()}
        for start, path in loaded():
            if path in known:
                continue
            known.add(path)
            if os.path.basename(path).startswith("libhotpatch") or symbols(path, [b"hotpatch_hook"]):
                gdb.execute("add-symbol-file '%s' -o %#x" % (path, start), to_string=True)
        views.clear()
        gdb.invalidate_cached_frames()


Symbols()
Names()
register_unwinder(None, Program(), replace=True)
