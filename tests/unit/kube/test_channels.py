"""The exec sub-protocol: stdout is complete and the end is reported correctly, whatever the frames contain."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.kube import channels
from samply_operator.kube.channels import Broken, Demultiplexer, Exited

SUCCESS = b'{"metadata":{},"status":"Success"}'
pieces = st.lists(st.tuples(st.sampled_from([0, 1, 2, 4, 5, 255]), st.binary(max_size=50)), max_size=40)
keys = st.sampled_from(["status", "details", "causes", "reason", "message"])
status_like = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.just("ExitCode"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
)


def build_failure(code: object) -> bytes:
    cause = {"reason": "ExitCode", "message": code}
    return json.dumps({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [cause]}}).encode()


@given(pieces)
def test_stdout_is_the_sum_of_its_frames_whatever_comes_between(frames: list[tuple[int, bytes]]) -> None:
    demultiplexer = Demultiplexer()
    out = b"".join(bytes(demultiplexer.feed(bytes((channel,)) + payload)) for channel, payload in frames)
    assert out == b"".join(payload for channel, payload in frames if channel == channels.STDOUT)
    assert demultiplexer.outcome is None
    wanted = b"".join(payload for channel, payload in frames if channel == channels.STDERR)
    assert demultiplexer.stderr == wanted[-channels.STDERR_TAIL :]


@given(st.integers(min_value=0, max_value=255), st.data())
def test_a_status_in_pieces_is_read_as_one(code: int, data: st.DataObject) -> None:
    raw = build_failure(str(code)) if code else SUCCESS
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    demultiplexer = Demultiplexer()
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        demultiplexer.feed(b"\x03" + raw[start:end])
    assert demultiplexer.outcome == Exited(code)


@given(st.binary(max_size=200))
def test_any_bytes_on_the_status_channel_are_borne(raw: bytes) -> None:
    outcome = channels.parse_status(raw)
    assert outcome is None or isinstance(outcome, Exited | Broken)


@given(status_like)
def test_any_json_on_the_status_channel_is_borne(value: object) -> None:
    outcome = channels.parse_status(json.dumps(value).encode())
    assert isinstance(outcome, Exited | Broken)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (SUCCESS, Exited(0)),
        (build_failure("137"), Exited(137)),
        (build_failure("-1"), Broken("no message", "NonZeroExitCode")),
        (build_failure("x"), Broken("no message", "NonZeroExitCode")),
        (b'{"status":"Failure","reason":"InternalError","message":"no pod"}', Broken("no pod", "InternalError")),
        (b'{"status":"Failure","details":null}', Broken("no message", "")),
        (b"[]", Broken("unreadable status")),
        (b'{"status":"Succ', None),
        (b"", None),
    ],
)
def test_status_table(raw: bytes, wanted: channels.Outcome | None) -> None:
    assert channels.parse_status(raw) == wanted


def test_a_repeated_status_changes_nothing() -> None:
    demultiplexer = Demultiplexer()
    for raw in (build_failure("3"), SUCCESS):
        demultiplexer.feed(b"\x03" + raw)
    assert demultiplexer.outcome == Exited(3)


def test_a_status_without_end_is_given_up() -> None:
    demultiplexer = Demultiplexer()
    for _ in range(3):
        demultiplexer.feed(b"\x03{" + b" " * channels.STATUS_LIMIT)
    assert isinstance(demultiplexer.outcome, Broken)


def test_stderr_stays_bounded() -> None:
    demultiplexer = Demultiplexer()
    for number in range(100):
        demultiplexer.feed(b"\x02" + bytes([number]) * 32 * 1024)
    assert demultiplexer.stderr == bytes([99]) * channels.STDERR_TAIL


def test_the_half_close_names_stdin() -> None:
    assert channels.build_half_close() == b"\xff\x00"
    assert channels.build_stdin(b"x") == b"\x00x"
