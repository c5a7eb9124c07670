"""The objects and the output of the kubectl plugin."""

from __future__ import annotations

import pytest

from samply_operator.model.profile import Spec
from samply_operator.plugin import main, objects

RAW = {
    "metadata": {"name": "profile-1-0", "creationTimestamp": "2026-01-31T09:30:00Z"},
    "spec": {"pipeline": "orders\x1b[2J", "ordinal": 1},
    "status": {
        "phase": "Recording",
        "startedAt": "2026-01-31T09:30:00.000Z",
        "endsAt": "2026-01-31T09:30:30.000Z",
        "message": "samply records.",
    },
}
DONE = {
    **RAW,
    "status": {
        "phase": "Succeeded",
        "conditions": [{"type": "Finished", "status": "True"}, {"type": "Succeeded", "status": "True"}],
        "profile": {"id": "u", "samples": 1451, "coverage": 1.008, "sizeBytes": 12140},
    },
}
START = 1769851800.0


def test_all_objects_of_one_call_carry_its_request() -> None:
    """So that they can be found together."""
    one, two = (objects.build_body(Spec("p", ordinal=n), "aaaa-bbbb") for n in (0, 1))
    assert one["metadata"]["labels"] == two["metadata"]["labels"]
    assert one["metadata"]["name"] != two["metadata"]["name"]
    assert one["spec"] == {"pipeline": "p", "ordinal": 0}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        pytest.param(START, "[..............................]   30 s left", id="begin"),
        pytest.param(START + 15, "[###############...............]   15 s left", id="half"),
        pytest.param(START + 99, "[##############################]    0 s left", id="over"),
    ],
)
def test_the_bar_follows_the_clock(now: float, said: str) -> None:
    """The end of sampling is known to the second."""
    assert objects.render_progress(RAW, now).endswith(said)


def test_what_waits_says_what_it_waits_for() -> None:
    """A progress bar would be misleading."""
    raw = {**RAW, "status": {"phase": "Pending", "message": "8 recordings run, which is the limit."}}
    assert objects.render_progress(raw, START) == "profile-1-0  pending  8 recordings run, which is the limit."


def test_the_table_summarizes_a_profile_in_one_line() -> None:
    """Terminal control codes in hostile names are removed."""
    head, line = objects.render_table([objects.parse(DONE)]).splitlines()
    assert head.split()[:4] == ["NAME", "PIPELINE", "ORDINAL", "PHASE"]
    assert line.split() == [
        "profile-1-0",
        "orders[2J",
        "1",
        "Succeeded",
        "1451",
        "101%",
        "12",
        "KB",
        "2026-01-31T09:30:00Z",
    ]


@pytest.mark.parametrize(("size", "text"), [(None, ""), (999, "999 B"), (12140, "12 KB"), (5_400_000, "5 MB")])
def test_sizes_are_short(size: int | None, text: str) -> None:
    """Bytes are for programs."""
    assert objects.render_size(size) == text


def test_findings_come_with_their_cures() -> None:
    """That is what a preflight is for."""
    finding = {"severity": "warn", "message": "A CPU limit.", "remedy": "Use Ephemeral."}
    raw = {**RAW, "status": {"preflight": {"verdict": "GoWithWarning", "findings": [finding]}}}
    assert objects.render_findings(raw).splitlines() == [
        "verdict: GoWithWarning",
        "  warn: A CPU limit.",
        "    cure: Use Ephemeral.",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["record"], "pipeline"),
        (["record", "orders", "--duration", "0"], "'0' is 0 s, out of range. Use whole seconds"),
        (["record", "orders", "--duration", "61m"], "'61m' is 3660 s, out of range. Use whole seconds"),
        (["record", "orders", "--duration", "soon"], "'soon' is not a duration. Use whole seconds"),
        (["record", "orders", "--rate", "0"], "expected a whole number"),
        (["record", "orders", "--rate", "10001"], "expected a whole number"),
        (["record", "orders", "--ordinal", "²"], "expected a whole number"),
        (["record", "orders", "--ordinal", "9" * 5000], "expected a whole number"),
        (["preflight", "orders", "--ordinal", "-1"], "expected a whole number"),
        (["get", "orders", "--ordinal", "2147483648"], "expected a whole number"),
        (["top", "orders", "--limit", "0"], "expected a whole number"),
        (["diff", "orders", "--ordinal", "٣"], "expected a whole number"),
        (["export", "orders", "--limit", "201"], "expected a whole number"),
    ],
    ids=lambda each: " ".join(each)[:40] if isinstance(each, list) else "",
)
def test_wrong_usage_ends_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As everywhere."""
    with pytest.raises(SystemExit) as ended:
        main.main([*arguments, "--namespace", "feldera"])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
