"""What preflight.sh reads from a program's section headers, in each shell: from files made by hand, and a real one."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from samply_operator.model.container import Sections
from samply_operator.recorder.pod import script_calls
from samply_operator.rules.recording import preflight_estimates, preflight_output
from support import needs, shells

COMPRESSED = 0x800
HUGE = (1 << 64) - 1
Section = tuple[str, int, int, int, int]
"""Name, type, flags, size, size before compression."""
DEBUG: Sequence[Section] = (
    (".text", 1, 6, 90_000, 0),
    (".eh_frame_hdr", 1, 2, 8_000, 0),
    (".bss", 8, 3, 1 << 40, 0),
    (".debug_info", 1, 0, 50_000, 0),
    (".debug_line", 1, 0, 20_000, 0),
    (".debug_line_str", 1, 0, 5_000, 0),
    (".debug_abbrev", 1, 0, 300, 0),
    (".symtab", 2, 0, 24_000, 0),
)
PACKED: Sequence[Section] = (
    (".debug_info", 1, COMPRESSED, 9_000, 50_000),
    (".debug_line", 1, COMPRESSED, 6_000, 20_000),
    (".debug_str", 1, COMPRESSED | 0x30, 5_000, 40_000),
)


def build_elf(path: Path, sections: Sequence[Section], head: bytes = b"\x7fELF\x02\x01\x01", repeat: int = 1) -> None:
    """Headers as they would be; of the contents only what is read: what a compressed section begins with."""
    names = b"\0" + b"".join(f"{name}\0".encode() for name, *_ in sections) + b".shstrtab\0"
    data, table = bytearray(64), bytearray(64)
    for name, kind, flags, size, inner in sections:
        offset = len(data)
        data += struct.pack("<IIQQ", 1, 0, inner, 1)
        at = names.index(f"\0{name}\0".encode()) + 1
        table += struct.pack("<IIQQQQIIQQ", at, kind, flags, 0, offset, size, 0, 0, 1, 0) * repeat
    at = names.index(b"\0.shstrtab\0") + 1
    table += struct.pack("<IIQQQQIIQQ", at, 3, 0, 0, len(data), len(names), 0, 0, 1, 0)
    data += names + bytes(-len(names) % 8)
    count = len(table) // 64
    data[:64] = struct.pack("<16sHHIQQQIHHHHHH", head, 2, 62, 1, 0, 0, len(data), 0, 64, 56, 0, 64, count, count - 1)
    path.write_bytes(data + table)


def read(folder: Path, shell: str, program: Path, tools: str | None = None) -> Sections | None:
    """By the very functions of the script, in that shell; `tools`: all that is on the PATH."""
    script = script_calls.read_script("preflight.sh")
    functions = script[script.index("words() {") : script.index("\nown=")]
    path = shells.make_path(folder / "bin", shell)
    done = subprocess.run(
        ("sh", "-c", f'set -u\n{functions}\necho "program=7 p $(sections "$1")"', "sh", str(program)),
        executable=f"{folder}/bin/sh",
        env={"PATH": path if tools is None else tools},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    found = preflight_output.parse_facts(f"{done.stdout}process=1 0 S 1 1 1 7 p p\n")
    return found.processes[0].sections


@pytest.mark.parametrize("shell", shells.find_shells())
@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        pytest.param(DEBUG, Sections(20_000, 75_000, 0, 24_000, 8_000), id="debug data"),
        pytest.param(PACKED, Sections(20_000, 110_000, 110_000), id="compressed"),
        pytest.param(DEBUG[:1], Sections(), id="stripped"),
    ],
)
def test_sections_are_read(shell: str, sections: Sequence[Section], expected: Sections, tmp_path: Path) -> None:
    """Those that are compressed as they are before it; small ones are passed over."""
    build_elf(tmp_path / "program", sections)
    assert read(tmp_path, shell, tmp_path / "program") == expected


@pytest.mark.parametrize("shell", shells.find_shells())
def test_invalid_programs_have_no_sections(shell: str, tmp_path: Path) -> None:
    """Without an error message, whatever the file is."""
    program = tmp_path / "program"
    build_elf(program, DEBUG, head=b"\x7fELF\x01\x01\x01")
    whole = program.read_bytes()
    odd = [whole, b"", b"#!/bin/sh\n", b"\xff" * 4096]
    build_elf(program, DEBUG)
    good = program.read_bytes()
    odd += [good[:70], good[:-64], good[:40] + b"\xff" * 8 + good[48:], good[:62] + b"\xff\xff" + good[64:]]
    build_elf(program, [(name, kind, HUGE, HUGE, HUGE) for name, kind, *_ in DEBUG])
    odd.append(program.read_bytes())
    build_elf(program, DEBUG, repeat=20)
    odd.append(program.read_bytes())
    for i, data in enumerate(odd):
        program.write_bytes(data)
        assert read(tmp_path / str(i), shell, program) is None, f"file {i}"


def test_without_od_nothing_is_known(tmp_path: Path) -> None:
    """An image without it is no reason to fail."""
    build_elf(tmp_path / "program", DEBUG)
    assert read(tmp_path, "dash", tmp_path / "program", tools="/nonexistent") is None


@pytest.mark.parametrize("shell", shells.find_shells())
def test_a_program_that_runs_is_measured(shell: str, tmp_path: Path) -> None:
    """By the whole script: the more debug data it has, the more memory samply needs."""
    needs.need("gcc")
    functions = "".join(f"int f{i}(int a) {{ return a * {i}; }}\n" for i in range(2000))
    (tmp_path / "p.c").write_text(f"#include <unistd.h>\n{functions}int main(void) {{ sleep(60); return 0; }}\n")
    programs = {"plain": ["-g"], "packed": ["-g", "-gz"], "bare": ["-s"]}
    found: dict[str, Sections] = {}
    estimates: dict[str, int] = {}
    path = shells.make_path(tmp_path / "bin", shell)
    for name, flags in programs.items():
        subprocess.run(["gcc", "-O0", *flags, "-o", tmp_path / name, tmp_path / "p.c"], check=True)
        target = subprocess.Popen([tmp_path / name])
        try:
            script = script_calls.read_script("preflight.sh").replace("/proc/[0-9]*", f"/proc/{target.pid}")
            done = subprocess.run(
                ("sh", "-c", script, "samply-operator", "self", ""),
                executable=f"{tmp_path}/bin/sh",
                env={"PATH": path},
                capture_output=True,
                text=True,
                check=True,
            )
        finally:
            target.kill()
            target.wait()
        (process,) = preflight_output.parse_facts(done.stdout).processes
        assert process.binary_bytes == (tmp_path / name).stat().st_size
        assert process.sections is not None
        found[name], estimates[name] = process.sections, preflight_estimates.estimate_symbols(process)
    assert 0 < found["plain"].lines < found["plain"].debug
    assert (found["plain"].packed, found["plain"].symbols > 24 * 2000) == (0, True)
    assert 0 < found["packed"].packed <= found["packed"].debug
    assert (found["bare"].debug, found["bare"].symbols, found["bare"].unwind) == (0, 0, found["plain"].unwind)
    assert estimates["bare"] < min(estimates["plain"], estimates["packed"])
