"""`samply-operator key new`: creates an API key and prints it, with the command that adds its hash to the Secret."""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from samply_operator.cli import limits
from samply_operator.errors import InvalidParam
from samply_operator.rules.access import credentials
from samply_operator.settings import ApiKeys

DESCRIPTION = """\
Create an API key for the HTTP service. It is shown only once; its hash is stored in a Secret that the operator reads
every 2 s. This command changes nothing: run the command that it prints."""
EXAMPLE = """\
example:
  samply-operator key new ci --verbs get,create --namespaces team-a --days 90
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="samply-operator key", description="API keys of the HTTP service.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    new = commands.add_parser(
        "new",
        help="make a key",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new.add_argument("name", help="name of the caller in logs and objects: lower-case letters, digits, dashes")
    new.add_argument("--verbs", default="get", metavar="V,V", help="any of get, create, delete (default: get)")
    new.add_argument("--namespaces", required=True, metavar="N,N", help="namespaces of pipelines; '*' means all")
    new.add_argument(
        "--days", type=limits.whole(1, 3650), metavar="N", help="expires after this many days (default: never)"
    )
    new.add_argument("--secret", default=ApiKeys().secret_name, help="name of the Secret (default: %(default)s)")
    new.add_argument("-n", "--namespace", metavar="NS", help="namespace of the release (default: your context's)")
    new.add_argument("-o", "--output", choices=("text", "json"), default="text")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = build_parser().parse_args(arguments)
    verbs, namespaces = options.verbs.split(","), options.namespaces.split(",")
    expires = _build_expiry(options.days)
    key = credentials.build_key(options.name, secrets.token_bytes(credentials.RANDOM_BYTES))
    entry = credentials.build_entry(key, verbs, namespaces, expires)
    _check(options.name, entry)
    secret = build_secret(options.secret, options.namespace, options.name, entry)
    if options.output == "json":
        print(json.dumps({"key": key, "secret": secret}))
    else:
        print(render(options.name, key, secret, verbs, namespaces, expires))
    return 0


def _build_expiry(days: int | None) -> str | None:
    if days is None:
        return None
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check(name: str, entry: bytes) -> None:
    """Validated as by the operator. Raises InvalidParam."""
    parsed = credentials.parse_keys({name: entry})
    faults = [
        *parsed.faults,
        *("--verbs lacks get, without which no namespace is visible" for key in parsed.keys if "get" not in key.verbs),
    ]
    if faults:
        remedy = (
            "Use a name of lower-case letters, digits and dashes, --verbs of get, create, delete, and --namespaces by "
            "name, or '*'."
        )
        raise InvalidParam(f"{faults[0]}.", remedy=remedy)


def build_secret(secret: str, namespace: str | None, name: str, entry: bytes) -> dict[str, object]:
    """One entry of the Secret, for a server-side apply that keeps the other entries."""
    metadata = {"name": secret, **({"namespace": namespace} if namespace else {})}
    data = {name: base64.b64encode(entry).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def render(
    name: str,
    key: str,
    secret: dict[str, object],
    verbs: Sequence[str],
    namespaces: Sequence[str],
    expires: str | None,
) -> str:
    body = msgspec.json.encode(secret).decode()
    until = f", until {expires}" if expires else ""
    where = "all namespaces" if credentials.EVERYWHERE in namespaces else ", ".join(namespaces)
    return (
        f"API key {name}: {', '.join(verbs)} in {where}{until}. It is shown this once:\n\n  {key}\n\n"
        "Put its hash into the Secret, which is made if it isn't there (config.auth.apiKeys.enabled must be true):\n\n"
        f"  echo {shlex.quote(body)} | kubectl apply --server-side --field-manager samply-key-{name} -f -"
    )
