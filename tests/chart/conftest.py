"""What the chart renders with its default values, once for all tests."""

from __future__ import annotations

import pytest

from chart import helm


@pytest.fixture(scope="session")
def default_objects() -> list[helm.Object]:
    return helm.render()
