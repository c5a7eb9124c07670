"""Reads Prometheus' text format."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from prometheus_client.parser import text_string_to_metric_families


def strip_comments(text: bytes) -> bytes:
    """Without what describes the metrics, which is most of a text with few series."""
    return b"\n".join(line for line in text.splitlines() if line and not line.startswith(b"#"))


def sum_series(text: bytes, names: Collection[str], labels: Mapping[str, str]) -> dict[str, float]:
    """For each of these names that the text has, the sum of its series with these labels. What cannot be read is as if
    it were not there."""
    lines = [
        line for line in text.decode(errors="replace").split("\n") if line.partition("{")[0].partition(" ")[0] in names
    ]
    sums: dict[str, float] = {}
    for line in lines:
        try:
            samples = [sample for family in text_string_to_metric_families(line + "\n") for sample in family.samples]
        except ValueError:
            continue
        for sample in samples:
            if labels.items() <= sample.labels.items():
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums
