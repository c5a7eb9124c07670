"""The operator's rights in one namespace, revoked and restored while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cluster.release import Install
from support import kubectl

VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")


@dataclass(frozen=True)
class Rights:
    """Roles and RoleBindings of a release in one of the namespaces that it watches."""

    namespace: str
    items: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, install: Install, namespace: str) -> Rights:
        found = kubectl.get("-n", namespace, "role,rolebinding", "-l", f"app.kubernetes.io/instance={install.release}")
        assert {item["kind"] for item in found["items"]} == {"Role", "RoleBinding"}
        return cls(namespace, tuple(_strip(item) for item in found["items"]))

    def take(self) -> None:
        """Delete the bindings: from now on not even lists are allowed there."""
        names = [item["metadata"]["name"] for item in self.items if item["kind"] == "RoleBinding"]
        kubectl.succeed("-n", self.namespace, "delete", "rolebinding", *names)

    def give_back(self) -> None:
        """All of them, also in a namespace that was made anew."""
        body = {"apiVersion": "v1", "kind": "List", "items": list(self.items)}
        kubectl.succeed("-n", self.namespace, "apply", "-f", "-", body=body)


def _strip(item: dict[str, Any]) -> dict[str, Any]:
    meta = {key: value for key, value in item["metadata"].items() if key not in VOLATILE}
    return item | {"metadata": meta}
