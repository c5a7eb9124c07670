"""Damage that leaves the form of a file alone: `check` reports it, and no output shows a number that cannot be true."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from samply_operator import json_errors
from samply_operator.profiles.worker import jobs
from support import marker_maker, profile_maker
from support.cli_files import Files
from support.marker_maker import evaluate
from support.profile_maker import Document, Sample

Damage = Callable[[Document], None]


def build() -> Document:
    """A main thread with 5 samples, and a worker with 10, on which two operators were evaluated."""
    document = profile_maker.build([[Sample(("main",))] * 5, [Sample(("main", "work"))] * 10])
    marker_maker.add(document, 1, [evaluate(1, 8, "Map nn1"), evaluate(8, 11, "Join nn2")])
    return document


def put(column: str, value: Any, *, thread: int = 1, table: str = "samples", row: int = 3) -> Damage:
    def damage(document: Document) -> None:
        document["threads"][thread][table][column][row] = value

    return damage


def shift(column: str, by: float, *, table: str = "markers") -> Damage:
    def damage(document: Document) -> None:
        values = document["threads"][1][table][column]
        values[:] = [value + by for value in values]

    return damage


def both(*parts: Damage) -> Damage:
    def damage(document: Document) -> None:
        for part in parts:
            part(document)

    return damage


def reword(document: Document) -> None:
    strings = document["threads"][1]["stringArray"]
    strings[:] = [text.replace("real time", "wall time") for text in strings]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (put("timeDeltas", -50.0), "samples.timeDeltas: sample 3 is 50 ms before the one before it"),
        (put("timeDeltas", 1e14), "the last sample is 1,157,407 days after the first one"),
        (put("timeDeltas", 1e300), "samples.timeDeltas: a number is too large (1e+300)"),
        (put("threadCPUDelta", 5_000_000), "samples.threadCPUDelta: one thread has 5.0 s of CPU time, though"),
        (put("threadCPUDelta", 1e300), "samples.threadCPUDelta: a number is too large"),
        (put("weight", 1_000_000), "samples.weight: 1,000,009 samples every 1 ms do not fit into 0.009 s"),
        (put("weight", 1e17), "samples.weight: the sum is 1e+17"),
        (put("weight", 1e300), "samples.weight: a number is too large"),
        (put("startTime", "x", table="markers", row=0), "markers.startTime: there is text instead of a number"),
        (put("category", 99, table="markers", row=0), "markers.category: an index is outside"),
        *(
            (put("data", {"type": "FelderaMarker", "name": name}, table="markers", row=0), f"markers.data: {why}")
            for name, why in ((-1, "an index is outside"), (10**30, "the text of a marker is no index"))
        ),
        (both(shift("startTime", 1e6), shift("endTime", 1e6)), "of another clock, so no sample belongs to an operator"),
        (shift("endTime", -1e6), "2 end before they begin. The file was damaged"),
        (shift("endTime", 1e300), "2 have no start or no end"),
        (reword, "the text of 2 has another form. The engine may be newer"),
    ],
)
def test_what_cannot_be_true_is_reported(damage: Damage, why: str, files: Files) -> None:
    document = build()
    damage(document)
    path = files.save(document)
    assert why in files.run("check", path, status=1)
    assert files.ask("check", path, status=1)[0]["good"] is False


def test_a_good_file_says_what_markers_it_has(files: Files) -> None:
    path = files.save(build())
    assert "good\n" in files.run("check", path)
    assert "2 evaluations of 2 operators in 1 thread\n" in files.run("check", path)
    facts = files.ask("check", path)[0]["markers"]
    assert (facts["evaluations"], facts["first_ms"], facts["last_ms"]) == (2, 1, 11)
    assert files.ask("check", files.make("plain", {"a": 3}))[0]["markers"] is None


def repeat(document: Document) -> None:
    markers = document["threads"][1]["markers"]
    for name, column in markers.items():
        markers[name] = 2 * column


def copy_to_main(document: Document) -> None:
    main, worker = document["threads"]
    count = len(main["stringArray"])
    markers = copy.deepcopy(worker["markers"])
    markers["name"] = [name + count for name in markers["name"]]
    for data in markers["data"]:
        data["name"] += count
    main["stringArray"] += worker["stringArray"]
    main["markers"] = markers


@pytest.mark.parametrize("damage", [repeat, copy_to_main, both(copy_to_main, repeat)])
def test_repeated_markers_count_once(damage: Damage, files: Files) -> None:
    """They stay on the thread that has more samples; the other one's samples belong to no operator."""
    document = build()
    damage(document)
    path = files.save(document)
    found = files.ask("top", path, "--by", "operator")
    shown = {
        each["name"]: (each["evaluations"], each["marker_cpu_ms"], each["self_weight"]) for each in found["labels"]
    }
    assert shown == {"Map nn1": (1, 7, 7), "Join nn2": (1, 3, 3), "thread thread-*": (None, None, 5)}
    repeated = found["markers"]["repeated"]
    assert f"left out: {repeated} that are repeated" in files.run("check", path)


def test_two_threads_may_do_the_same_at_the_same_time(files: Files) -> None:
    """Less than half of what each did."""
    document = profile_maker.build([[Sample(("main",))] * 20, [Sample(("main",))] * 20])
    for thread in (0, 1):
        both_do = [evaluate(1, 2, "Map nn1"), evaluate(2, 3, "Map nn2")]
        own = [evaluate(4 + 4 * row + thread, 5 + 4 * row + thread, "Map nn3") for row in range(3)]
        marker_maker.add(document, thread, [*both_do, *own])
    found = files.ask("top", files.save(document), "--by", "operator")
    assert (found["markers"]["evaluations"], found["markers"]["repeated"]) == (10, 0)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("column", ["weight", "threadCPUDelta", "timeDeltas"])
def test_what_is_no_number_is_named(word: str, column: str, files: Files) -> None:
    document = build()
    document["threads"][0]["samples"][column][2] = float(word)
    path = files.save(document)
    for command in (["check", path], ["top", path], *(["convert", path, "--format", kind] for kind in jobs.FORMATS)):
        said = files.run(*command, status=1) + files.err
        assert f"is not JSON: {word} at byte" in said
        assert "put null there" in said


@pytest.mark.parametrize(
    ("error", "what"),
    [
        ("Expected `int`, got `str` - at `$.a[0].pid`", "there is text instead of a whole number, at a[0].pid"),
        ("Expected `int | float`, got `null` - at `$[0]`", "there is null instead of a number, at [0]"),
        ("Expected `float | null`, got `array`", "there is a list instead of a number"),
        ("Expected `str | int`, got `object`", "there is an object instead of text or a whole number"),
        ("Object missing required field `length` - at `$.a`", "length is missing, at a"),
        ("Expected `str` of length <= 100 - at `$.name`", "its length is not <= 100, at name"),
        ("Expected `str` matching regex '^a$' - at `$.id`", "the text has another form, at id"),
        ("Input data was truncated", "it ends too early"),
        ("JSON is malformed: invalid character (byte 5)", "invalid character (byte 5)"),
    ],
)  # fmt: skip
def test_what_the_decoder_says_in_plain_words(error: str, what: str) -> None:
    assert json_errors.describe(ValueError(error)) == what
