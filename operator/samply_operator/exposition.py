"""Reads Prometheus' text format."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from prometheus_client.parser import text_string_to_metric_families


def sum_series(text: str, names: Collection[str], labels: Mapping[str, str]) -> dict[str, float]:
    """For each of these names that the text has, the sum of its series with these labels. What cannot be read is as if
    it were not there."""
    lines = [line for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] in names]
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
