"""Identifies a file that is not a profile by its first bytes, and says what to do with it. Pure."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass

TAR_MAGIC_AT = 257
HEAD_BYTES = 4096
AGAIN = "Take it again, or copy it again from where it is whole."
VIEWER = "Open it at profiler.firefox.com, which saves it as a profile that can be read here."


@dataclass(frozen=True, slots=True)
class FileType:
    """`what` completes "FILE is …"; `remedy` says what to do with it."""

    what: str
    remedy: str


def _unpack(program: str) -> str:
    return f"Unpack it first: {program}."


MAGIC: tuple[tuple[bytes, FileType], ...] = (
    (b"\x28\xb5\x2f\xfd", FileType("packed with zstd", _unpack("zstd -d FILE"))),
    (b"\xfd7zXZ\x00", FileType("packed with xz", _unpack("xz -d FILE"))),
    (b"BZh", FileType("packed with bzip2", _unpack("bzip2 -d FILE"))),
    (b"\x04\x22\x4d\x18", FileType("packed with lz4", _unpack("lz4 -d FILE"))),
    (b"PK\x03\x04", FileType("a zip archive", _unpack("unzip FILE; it may hold a profile for each host"))),
    (b"7z\xbc\xaf\x27\x1c", FileType("a 7z archive", _unpack("7z x FILE"))),
    (
        b"PERFILE2",
        FileType("a recording of perf (perf.data)", "Import it: samply import FILE --save-only -o O.json.gz."),
    ),
    (b"SIMPLEPERF", FileType("a recording of simpleperf", VIEWER)),
    (b"FLR\x00", FileType("a recording of Java Flight Recorder", "Open it with JDK Mission Control.")),
    (b"\x7fELF", FileType("a program or library (ELF)", "Name the profile that was recorded of it.")),
    (b"# callgrind format", FileType("a profile of callgrind", "Open it with KCachegrind.")),
    (b"version https://git-lfs", FileType("a pointer of Git LFS, not the file", "Fetch the file: git lfs pull.")),
)

HTML = FileType(
    "a page (HTML), such as a login or an error that was saved in place of the profile",
    "Fetch it again with credentials and look at the status: curl --fail -H 'Authorization: Bearer …'.",
)
XML = FileType(
    "XML, such as a flame graph (SVG), which cannot be read back", "Name the profile from which it was made."
)
PPROF = FileType("a profile of pprof (protobuf)", "Open it with: go tool pprof FILE.")
FOLDED = FileType("folded stacks", "Open them with flamegraph.pl, inferno or speedscope, or name the profile itself.")
PERF_SCRIPT = FileType("text from perf script", VIEWER)
TAR = FileType("a tar archive", _unpack("tar -xf FILE"))
ZEROS = FileType("nothing but zero bytes", AGAIN)
EMPTY = FileType("empty", AGAIN)
SCALAR = FileType(
    "JSON, but a single value (null, a number, a text)", "Name the profile: an object with `meta` and more."
)
TEXT = FileType("text, but not JSON", "Name the profile: a file that ends in .json.gz or .json.")
BYTES = FileType("not JSON", AGAIN)

# Not compiled here, because a profile needs none: `re` compiles a text when it is first used.
_SCALAR = rb"(?:null|true|false|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\"[^\n]*\")\s*"
_FOLDED_LINE = rb"[^\n\x00]+ \d+(?:\.\d+)?\r?(?:\n|$)"
_PERF_LINE = rb"\S[^\n]*\s\d+\s[^\n]*\d+\.\d+:\s"
_CONTROL = rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]"


def recognize(head: bytes) -> FileType | None:
    """What the first bytes (up to HEAD_BYTES, unpacked) are; None for an object of JSON."""
    text = head.lstrip()
    if text.startswith(b"{"):
        return None
    for magic, found in MAGIC:
        if head.startswith(magic):
            return found
    if not head.strip(b"\x00"):
        return ZEROS if head else EMPTY
    if head[TAR_MAGIC_AT : TAR_MAGIC_AT + 5] == b"ustar":
        return TAR
    if _is_pprof(head):
        return PPROF
    if text.startswith(b"["):
        return _recognize_list(text)
    return _recognize_text(text)


def _is_pprof(head: bytes) -> bool:
    """Protobuf whose first field is a value type: field 1, its length, and a number as its own first field."""
    return len(head) > 3 and head[0] == 0x0A and head[1] < 0x20 and head[2] in (0x08, 0x10)


def _recognize_list(text: bytes) -> FileType:
    if b'"ph"' in text:
        return _CHROME
    return FileType("a list of JSON, not a profile", "Name the profile: an object with `meta`, `libs` and `threads`.")


def _recognize_text(text: bytes) -> FileType:
    if re.fullmatch(_SCALAR, text):
        return SCALAR
    lower = text[:512].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head")) or b"<html" in lower:
        return HTML
    if lower.startswith(b"<"):
        return XML
    if re.match(_FOLDED_LINE, text) and b";" in text.split(b"\n", 1)[0]:
        return FOLDED
    if re.match(_PERF_LINE, text):
        return PERF_SCRIPT
    return TEXT if _is_text(text) else BYTES


def _is_text(text: bytes) -> bool:
    try:
        codecs.utf_8_decode(text, "strict", False)  # a truncated end is not an error
    except UnicodeDecodeError:
        return False
    return re.search(_CONTROL, text) is None


_CHROME = FileType("a trace of Chrome (trace events)", "Open it at ui.perfetto.dev or profiler.firefox.com.")
_BY_KEYS: tuple[tuple[frozenset[str], FileType], ...] = (
    (frozenset({"traceEvents"}), _CHROME),
    (frozenset({"nodes", "startTime", "endTime"}), FileType("a CPU profile of V8 (.cpuprofile)", VIEWER)),
    (
        frozenset({"string_table", "data"}),
        FileType("samply's sidecar of symbols, not a profile", "Give it to `profile bake PROFILE --symbols FILE`."),
    ),
    (
        frozenset({"$schema", "profiles", "shared"}),
        FileType("a profile of speedscope", "Open it with speedscope, or name the profile from which it was made."),
    ),
    (frozenset({"dhatFileVersion"}), FileType("a profile of DHAT", VIEWER)),
    (frozenset({"all_threads", "threads"}), FileType("a summary (`profile top -o json`), not a profile", "")),
    (frozenset({"message", "error_code"}), FileType("an error that a server answered", "Look at its `message`.")),
    (
        frozenset({"apiVersion", "kind"}),
        FileType("an object of Kubernetes", "Fetch the profile itself: kubectl samply get NAME."),
    ),
)


def recognize_keys(keys: Iterable[str]) -> FileType | None:
    """Identifies a JSON object that is not a profile by its keys."""
    found = set(keys)
    for wanted, file_type in _BY_KEYS:
        if wanted <= found:
            return file_type
    return None
