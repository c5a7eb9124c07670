"""The HTTP service, found by its labels and reached through `kubectl port-forward`."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from samply_operator import json_errors
from samply_operator.errors import InvalidSpec, KubeForbidden, KubeNotFound, SamplyOperatorError
from samply_operator.model.check import Report
from samply_operator.plugin.kubectl import Kubectl
from samply_operator.profiles.output import display_names, whole_file

AUDIENCE = "samply-operator"
"""The chart's default of config.auth.kubernetes.audiences."""
CURES = {
    401: (
        "Pass a token: --service-account NAME (needs `create` on serviceaccounts/token), --token, or "
        "$SAMPLY_OPERATOR_TOKEN, for example from: kubectl create token NAME --audience samply-operator."
    ),
    403: "Its ServiceAccount, or key, needs more verbs on samplyprofiles: see docs/security.md.",
    404: "Or its ServiceAccount, or key, may not `get` samplyprofiles in that namespace.",
}
TIMEOUT_SECS = 60.0
VIEW_SECS = 180.0
"""The service lets a conversion wait for a minute, and work for 90 s."""
LABEL = "app.kubernetes.io/name=samply-operator"
BROKEN = f"Try again. If that fails too, see whether its pod runs: kubectl get pods --all-namespaces -l {LABEL}"
PIECE = 65536


@dataclass(frozen=True, slots=True)
class Place:
    """The selected Service."""

    namespace: str
    name: str
    port: int
    is_tls: bool = False
    selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of its pods."""


def find_service(kubectl: Kubectl, namespace: str, wanted: str | None) -> Place:
    """`wanted` is NAMESPACE/NAME; else the one in this namespace, else the only one in the cluster."""
    if wanted:
        where, _, name = wanted.rpartition("/")
        return _place(kubectl.get("--namespace", where or namespace, "service", name))
    found = kubectl.get("--namespace", namespace, "service", "-l", LABEL)["items"]
    if not found:
        with contextlib.suppress(KubeForbidden):
            found = kubectl.get("--all-namespaces", "service", "-l", LABEL)["items"]
    if len(found) != 1:
        listed = ", ".join(f"{s['metadata']['namespace']}/{s['metadata']['name']}" for s in found) or "none"
        raise KubeNotFound(
            f"Which samply-operator? Found: {listed}.", remedy="Choose one with --service NAMESPACE/NAME."
        )
    return _place(found[0])


def _place(service: dict[str, Any]) -> Place:
    ports = service["spec"]["ports"]
    chosen = next((p for p in ports if p.get("name") in {"http", "https"}), ports[0])
    is_tls = chosen.get("appProtocol") == "https"
    about = service["metadata"]
    return Place(about["namespace"], about["name"], int(chosen["port"]), is_tls, service["spec"].get("selector") or {})


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """A connection to the Service."""

    port: int
    token: str
    is_tls: bool = False

    def list_ordinals(self, pipeline: str, namespace: str) -> list[int]:
        """Ordinals of a pipeline that are running or expected."""
        answer = self._read("/v0/pipelines")
        with understood():
            return [
                ordinal["ordinal"]
                for found in json.loads(answer)["pipelines"]
                if (found["name"], found["namespace"]) == (pipeline, namespace)
                for ordinal in found["ordinals"]
            ]

    def examine(self) -> Report:
        """The installation's checks that the caller may see."""
        answer = self._read("/v0/doctor")
        with understood():
            return msgspec.json.decode(answer, type=Report)

    def read_view(self, path: str, query: Mapping[str, str]) -> bytes:
        """Something that the service computes for the request."""
        return self._read(f"{path}?{urlencode(query)}", VIEW_SECS)

    def save_view(self, path: str, query: Mapping[str, str], out: Path) -> int:
        """The same into a file; returns its size."""
        return self._save(f"{path}?{urlencode(query)}", out, VIEW_SECS)

    def _read(self, path: str, timeout_secs: float = TIMEOUT_SECS) -> bytes:
        return b"".join(self._stream(path, timeout_secs))

    def _stream(self, path: str, timeout_secs: float) -> Iterator[bytes]:
        """Raises SamplyOperatorError if the answer is a refusal, or does not come whole."""
        with contextlib.closing(self._connect(timeout_secs)) as connection:
            try:
                connection.request("GET", path, headers=self._headers())
                response = connection.getresponse()
                if response.status != 200:
                    raise _build_refusal(response.status, response.read(PIECE))
                size = 0
                while piece := response.read(PIECE):
                    size += len(piece)
                    yield piece
                if response.length:
                    raise http.client.HTTPException(f"{response.length} bytes are missing after {size}")
            except (OSError, http.client.HTTPException) as error:
                raise SamplyOperatorError(
                    f"The connection to the service broke: {display_names.clean(str(error))}.", remedy=BROKEN
                ) from error

    def _connect(self, timeout_secs: float) -> http.client.HTTPConnection:
        """The certificate is not valid for 127.0.0.1; `kubectl port-forward` goes through the API server, which
        guarantees that the peer is the pod."""
        if not self.is_tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_secs)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_secs, context=context)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def fetch(self, pipeline: str, profile_id: str, out: Path) -> int:
        """Save one stored profile; returns its size."""
        return self._save(f"/v0/pipelines/{quote(pipeline, safe='')}/samply_profiles/{profile_id}/profile", out)

    def fetch_operators(self, pipeline: str, profile_id: str, out: Path) -> None:
        """Save Feldera's names of the operators. A service that refuses them has none: an earlier release."""
        path = f"/v0/pipelines/{quote(pipeline, safe='')}/samply_profiles/{profile_id}/operators"
        try:
            out.write_bytes(self._read(path))
        except SamplyOperatorError as error:
            if "status" not in error.details:
                raise

    def export(self, pipeline: str, namespace: str, limit: int, out: Path) -> int:
        """Save the support bundle; returns its size."""
        query = urlencode({"namespace": namespace, "limit": limit})
        return self._save(f"/v0/pipelines/{quote(pipeline, safe='')}/export?{query}", out)

    def _save(self, path: str, out: Path, timeout_secs: float = TIMEOUT_SECS) -> int:
        return whole_file.write(self._stream(path, timeout_secs), out)


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """Raises SamplyOperatorError for an answer of another form, such as the page of a proxy."""
    try:
        yield
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
        what = "it has another form" if isinstance(error, KeyError | TypeError) else json_errors.describe(error)
        raise SamplyOperatorError(
            f"The service's answer is not understood: {what}.",
            remedy="Check that --service is the samply-operator's, and that both have the same version.",
        ) from error


def _build_refusal(status: int, body: bytes) -> SamplyOperatorError:
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = ""
    return SamplyOperatorError(
        f"The service answered {status}. {message}".strip(), remedy=CURES.get(status, ""), details={"status": status}
    )


def parse_token(text: str) -> str:
    """As typed or pasted. Raises InvalidSpec, which does not show it."""
    token = text.strip()
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise InvalidSpec(
            "The token has a character that no token has, such as a blank, a line break or a typographic quote.",
            remedy="Copy it again, without quotes around it.",
        )
    return token


def make_token(kubectl: Kubectl, namespace: str, account: str, audience: str) -> str:
    """A short-lived token, as from `kubectl create token`. Raises KubeError."""
    return kubectl.run("--namespace", namespace, "create", "token", account, "--audience", audience).strip()


@contextlib.contextmanager
def open_client(kubectl: Kubectl, namespace: str, wanted: str | None, token: str) -> Iterator[ServiceClient]:
    place = find_service(kubectl, namespace, wanted)
    with kubectl.forward(place.namespace, place.name, place.port) as port:
        yield ServiceClient(port, token, place.is_tls)
