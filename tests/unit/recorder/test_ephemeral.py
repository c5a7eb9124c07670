"""Whether an ephemeral container shares a memory limit with the pod that it is added to."""

from __future__ import annotations

from typing import Any

import pytest

from samply_operator.recorder import ephemeral

LIMITED: dict[str, Any] = {"resources": {"limits": {"memory": "32Mi"}}}
FREE: dict[str, Any] = {"resources": {"limits": {"cpu": "1"}}}


@pytest.mark.parametrize(
    ("spec", "is_limited"),
    [
        pytest.param({"containers": [LIMITED]}, True, id="one, limited"),
        pytest.param({"containers": [LIMITED, FREE]}, False, id="one of two has no limit"),
        pytest.param({"containers": [{}]}, False, id="nothing said"),
        pytest.param({"containers": [LIMITED], "initContainers": [FREE]}, True, id="one that has ended counts not"),
        pytest.param(
            {"containers": [LIMITED], "initContainers": [FREE | {"restartPolicy": "Always"}]},
            False,
            id="a sidecar without a limit",
        ),
        pytest.param({}, False, id="no containers"),
    ],
)
def test_a_pod_is_limited_where_all_its_containers_are(spec: dict[str, Any], is_limited: bool) -> None:
    """As the kubelet does it: the pod's cgroup has a limit only then."""
    assert ephemeral.is_memory_limited({"spec": spec}) is is_limited
