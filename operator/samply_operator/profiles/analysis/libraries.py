"""Distinct names for libraries: by path and build id, not by base name alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from samply_operator.profiles.format.profile import Lib

NO_LIB = "(no library)"
BUILD_DIGITS = 8
"""Digits of a build id that are shown."""
MANY = 3
SHARED = re.compile(r"\.so(\.|$)")
NO_PROGRAM = ("[", "vmlinux", "perf-")
"""Beginnings of names of what is no file, the kernel, and compiled at run time."""


def find_build(lib: Lib) -> str:
    """The identity of a build: the debug id, or the code id; empty if the file has neither."""
    return (lib.debug_id.strip("0") and lib.debug_id) or lib.code_id or ""


def label(libs: Sequence[Lib]) -> list[str]:
    """A name for each, and another one for each that is another: the base name, and behind it the path, or the build
    id where the paths are the same. The last entry is for functions without a library.
    """
    identities = [(lib.name, lib.path, find_build(lib)) for lib in libs]
    by_name: dict[str, set[tuple[str, str, str]]] = {}
    for identity in identities:
        by_name.setdefault(identity[0], set()).add(identity)
    return [*(_label(identity, by_name[identity[0]]) for identity in identities), NO_LIB]


def _label(identity: tuple[str, str, str], namesakes: set[tuple[str, str, str]]) -> str:
    name, path, build = identity
    if len(namesakes) == 1:
        return name
    is_path_enough = sum(other[1] == path for other in namesakes) == 1
    return f"{name} ({path if is_path_enough else f'{path}, build {shorten(build)}'})"


def find_program(libs: Sequence[Lib], samples: Mapping[str, int]) -> str:
    """The build of the executable, by `samples` of the names from `label`: of several, such as a shell that started the
    program, the one that worked most. Empty: unknown."""
    found = [
        (-samples.get(name, 0), number, find_build(lib))
        for number, (name, lib) in enumerate(zip(label(libs), libs, strict=False))
        if not (SHARED.search(lib.name) or lib.name.startswith(NO_PROGRAM))
    ]
    return min(found)[2] if found else ""


def shorten(build: str) -> str:
    return build[:BUILD_DIGITS].lower() or "unknown"


@dataclass(frozen=True, slots=True)
class Builds:
    """By label, the build ids of the libraries of one profile."""

    by_label: dict[str, str]


def gather(libs: Sequence[Lib]) -> Builds:
    return Builds({name: find_build(lib) for name, lib in zip(label(libs), libs, strict=False)})


def describe_differences(profiles: Iterable[Builds]) -> tuple[str, ...]:
    """A sentence on the libraries of which the profiles have different builds; empty without such libraries."""
    seen: dict[str, set[str]] = {}
    for profile in profiles:
        for name, build in profile.by_label.items():
            if build:
                seen.setdefault(name, set()).add(build)
    different = [f"{name} ({', '.join(sorted(map(shorten, ids)))})" for name, ids in seen.items() if len(ids) > 1]
    if not different:
        return ()
    more = f" and {len(different) - MANY} more" if len(different) > MANY else ""
    return (
        f"Different builds of {', '.join(different[:MANY])}{more}: their functions are matched by name; those without "
        "a name are kept apart, for an address means nothing in another build.",
    )
