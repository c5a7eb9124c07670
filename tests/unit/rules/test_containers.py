"""Which container of a pod is profiled, and when that is a guess."""

from __future__ import annotations

import pytest

from samply_operator.model import names
from samply_operator.model.pipeline import Container
from samply_operator.rules.discovery import containers
from samply_operator.settings import Targets
from support.samples import make_pod


@pytest.mark.parametrize(
    ("present", "wanted", "configured", "annotation", "chosen", "is_guess"),
    [
        pytest.param("linkerd-proxy pipeline", None, "", None, "pipeline", False, id="by its name"),
        pytest.param("pipeline istio-proxy", None, "", "istio-proxy", "pipeline", False, id="name before annotation"),
        pytest.param("istio-proxy app", None, "", "app", "app", False, id="kubectl's default"),
        pytest.param("istio-proxy app", None, "", None, "app", False, id="the only one that was not injected"),
        pytest.param("istio-proxy app log", None, "", None, "app", True, id="two that were not injected"),
        pytest.param("app log", None, "", "gone", "app", True, id="an annotation that names none"),
        pytest.param("istio-proxy envoy", None, "", None, "istio-proxy", True, id="nothing but proxies"),
        pytest.param("envoy", None, "", None, "envoy", False, id="the only one"),
        pytest.param("app", None, "", None, "app", False, id="one"),
        pytest.param("pipeline app", "app", "pipeline", "pipeline", "app", False, id="wanted before all"),
        pytest.param("pipeline app", None, "app", "pipeline", "app", False, id="configured before its name"),
        pytest.param("pipeline app", "nope", "app", None, None, False, id="a wanted one is not replaced"),
        pytest.param("pipeline app", None, "nope", "app", None, False, id="a configured one is not replaced"),
        pytest.param("", None, "", None, None, False, id="no container yet"),
    ],
)
def test_the_container_to_profile_is(
    present: str, wanted: str | None, configured: str, annotation: str | None, chosen: str | None, is_guess: bool
) -> None:
    pod = make_pod(
        containers=tuple(Container(name) for name in present.split()),
        annotations={names.DEFAULT_CONTAINER: annotation} if annotation else {},
    )
    found = containers.choose(pod, wanted, Targets(container=configured))
    assert (found.container.name if found.container else None) == chosen
    assert bool(found.doubt) == is_guess


def test_a_guess_names_the_choice_the_others_and_the_cure() -> None:
    pod = make_pod(containers=(Container("app"), Container("log")))
    doubt = containers.choose(pod, None, Targets()).doubt
    assert "Container app was guessed" in doubt
    assert "log" in doubt
    assert names.DEFAULT_CONTAINER in doubt
