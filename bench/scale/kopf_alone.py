"""kopf by itself, with the operator's selector and handlers that do nothing: what watching costs at least.

Watches SamplyProfiles, pods and StatefulSets of the namespaces that are given as arguments, by $KUBECONFIG.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import kopf

SELECTOR = "app.kubernetes.io/name=feldera-pipeline"


def build_registry() -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    async def see(**_: Any) -> None:
        pass

    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**kwargs)

    kopf.on.login(id="login", registry=registry)(login)
    for group, version, plural in (
        ("samply.feldera.com", "v1alpha1", "samplyprofiles"),
        ("", "v1", "pods"),
        ("apps", "v1", "statefulsets"),
    ):
        kopf.on.event(group, version, plural, id=plural, registry=registry)(see)
    return registry


def build_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 270
    settings.watching.client_timeout = 300
    settings.watching.label_selectors["pods"] = SELECTOR
    return settings


if __name__ == "__main__":
    asyncio.run(
        kopf.operator(
            registry=build_registry(),
            settings=build_settings(),
            namespaces=sys.argv[1:],
            standalone=True,
            identity="kopf-alone",  # type: ignore[arg-type]
        )
    )
