"""How a program's section headers are parsed: text from an untrusted pod."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.model.container import Sections
from samply_operator.rules.recording import preflight_output

NAMES = b"\0.debug_line\0.debug_line_str\0.debug_info\0.symtab\0.eh_frame_hdr\0.text\0"
PROGBITS, NOBITS = 1, 8
PACKED = 0x800


def head(name: str, kind: int = PROGBITS) -> int:
    """The first eight bytes of a section's header."""
    return NAMES.index(f"\0{name}\0".encode()) + 1 | kind << 32


def read(text: str, program: str = "7 p") -> Sections | None:
    """Of a process that executes a file `p` of 7 bytes."""
    found = preflight_output.parse_facts(f"program={program} {text}\nprocess=1 0 S 1 1 1 7 p p")
    return found.processes[0].sections


def show(*sections: tuple[int, int, int, int]) -> str:
    return " ".join([NAMES.hex(), *(str(number) for section in sections for number in section)])


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        pytest.param([(head(".text"), 6, 5000, 0)], Sections(), id="none that matters"),
        pytest.param([(head(".debug_line"), 0, 5000, 0)], Sections(lines=5000, debug=5000), id="line tables"),
        pytest.param([(head(".debug_line_str"), 0, 5000, 0)], Sections(debug=5000), id="names of files"),
        pytest.param([(head(".symtab"), 0, 5000, 0)], Sections(symbols=5000), id="symbols"),
        pytest.param([(head(".eh_frame_hdr"), 2, 5000, 0)], Sections(unwind=5000), id="functions"),
        pytest.param(
            [(head(".debug_line"), PACKED, 5000, 90_000), (head(".debug_info"), 0, 6000, 0)],
            Sections(lines=90_000, debug=96_000, packed=90_000),
            id="compressed",
        ),
        pytest.param(
            [(head(".debug_info"), PACKED, 5000, 3)],
            Sections(debug=5000, packed=5000),
            id="no smaller than in the file",
        ),
        pytest.param([(head(".debug_info", NOBITS), 0, 5000, 0)], Sections(), id="not in the file (a file of its own)"),
        pytest.param([(len(NAMES) + 9, 0, 5000, 0)], Sections(), id="a name beyond the names"),
    ],
)
def test_sections_are_read_as(sections: list[tuple[int, int, int, int]], expected: Sections) -> None:
    """By their names; the others don't matter to samply's memory."""
    assert read(show(*sections)) == expected


@pytest.mark.parametrize(
    ("text", "program"),
    [
        pytest.param("", "7 p", id="nothing"),
        pytest.param(NAMES.hex(), "7 p", id="names alone"),
        pytest.param(f"{NAMES.hex()} 1 2 3", "7 p", id="half a section"),
        pytest.param(f"{NAMES.hex()} 1 2 3 4 5", "7 p", id="one and a bit"),
        pytest.param(f"{NAMES.hex()} 1 2 -3 4", "7 p", id="a negative size"),
        pytest.param(f"{NAMES.hex()} 1 2 {'9' * 400} 4", "7 p", id="an endless size"),
        pytest.param(f"{NAMES.hex()} 1 2 \u0663 4", "7 p", id="digits of another script"),
        pytest.param("0g0g 1 2 3 4", "7 p", id="names that are no hex"),
        pytest.param("000 1 2 3 4", "7 p", id="half a byte"),
        pytest.param(show((head(".symtab"), 0, 5000, 0)), "8 p", id="another size"),
        pytest.param(show((head(".symtab"), 0, 5000, 0)), "7 q", id="another program"),
    ],
)
def test_what_makes_no_sense_is_not_known(text: str, program: str) -> None:
    """Then the size of the file counts."""
    assert read(text, program) is None


def test_all_processes_of_a_program_share_what_was_read_once() -> None:
    """And many programs end somewhere."""
    lines = [
        f"program={i} p {show((head('.symtab'), 0, 5000 + i, 0))}\nprocess={i + 1} 0 S 1 1 1 {i} p p" for i in range(30)
    ]
    found = preflight_output.parse_facts("\n".join([*lines, "process=99 0 S 1 1 1 3 p p"])).processes
    assert found[3].sections == found[-1].sections == Sections(symbols=5003)
    assert [process.sections is not None for process in found[:30]] == [True] * 20 + [False] * 10


@given(st.lists(st.integers(min_value=0, max_value=10**19 - 1), max_size=12), st.binary(min_size=1, max_size=64))
def test_any_numbers_are_read(numbers: list[int], names: bytes) -> None:
    """No exception, whatever a program says of itself."""
    read(" ".join([names.hex(), *(str(number) for number in numbers)]))
