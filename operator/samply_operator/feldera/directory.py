"""What Feldera calls its pipelines, in all tenants that there is a key of. Reads the mounted Secret, keeps nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from samply_operator import errors
from samply_operator.feldera.answers import PipelineInfo
from samply_operator.feldera.client import FelderaClient, Login, PipelineList
from samply_operator.settings import Feldera, Settings

MAX_KEYS = 100
MAX_KEY_BYTES = 8000
NO_SECRET = "no key"  # noqa: S105 - a word for a message
"""What stands for the entry where no Secret is configured: Feldera is asked without a key."""


@dataclass(frozen=True, slots=True)
class Directory:
    """`pairs` are ids with their names, of all tenants: two tenants may have the same name. `faults` by entry of the
    Secret: that tenant did not answer. `skipped`, likewise: some of its pipelines cannot be read."""

    pairs: tuple[tuple[str, str], ...] = ()
    faults: Mapping[str, errors.FelderaError] = field(default_factory=dict)
    skipped: Mapping[str, errors.FelderaError] = field(default_factory=dict)


def read_logins(feldera: Feldera, folder: Path) -> dict[str, Login]:
    """By entry of the Secret that is mounted there. Raises FelderaUnauthenticated where it is missing or empty."""
    if not feldera.secret_name:
        return {NO_SECRET: Login()}
    paths = [path for path in sorted(folder.glob("[!.]*")) if path.is_file()] if folder.is_dir() else []
    found = {path.name: _read_key(path) for path in paths[:MAX_KEYS]}
    logins = {name: Login(key) for name, key in found.items() if key}
    if not logins:
        raise errors.FelderaUnauthenticated(
            f"Secret {feldera.secret_name} has no entry with a key of Feldera's.",
            remedy="Make an API key with the role read in Feldera, then: kubectl create secret generic "
            f"{feldera.secret_name} --from-literal=TENANT=apikey:…",
        )
    return logins


def _read_key(path: Path) -> str:
    with path.open("rb") as file:
        key = file.read(MAX_KEY_BYTES).decode(errors="replace").strip()
    return key if key.isascii() and key.isprintable() and " " not in key else ""


async def fetch(client: FelderaClient, logins: Mapping[str, Login]) -> Directory:
    """Ask for all of them at once; what one of them does not answer leaves the others alone."""
    answers = dict(zip(logins, await asyncio.gather(*(_list(client, login) for login in logins.values())), strict=True))
    lists = {name: answer for name, answer in answers.items() if isinstance(answer, PipelineList)}
    return Directory(
        pairs=tuple((each.id, each.name) for answer in lists.values() for each in answer.pipelines),
        faults={name: answer for name, answer in answers.items() if isinstance(answer, errors.FelderaError)},
        skipped={name: answer.skipped for name, answer in lists.items() if answer.skipped},
    )


async def _list(client: FelderaClient, login: Login) -> PipelineList | errors.FelderaError:
    try:
        return await client.list_pipelines(login)
    except errors.FelderaError as error:
        return error


async def find(client: FelderaClient, settings: Settings, pipeline_id: str) -> tuple[PipelineInfo, Login]:
    """The pipeline with this id, and the first login that sees it. All are asked at once: a tenant that hangs must not
    use up the time of the others. Raises FelderaError: the first fault where not all logins were answered, else
    FelderaNotFound."""
    logins = await asyncio.to_thread(read_logins, settings.feldera, Path(settings.paths.feldera_keys))
    asked = {login: asyncio.create_task(_list(client, login)) for login in dict.fromkeys(logins.values())}
    fault: errors.FelderaError | None = None
    try:
        for login, answer in asked.items():
            known = await answer
            if isinstance(known, errors.FelderaError):
                fault = fault or known
                continue
            fault = fault or known.skipped
            found = next((info for info in known.pipelines if info.id == pipeline_id), None)
            if found is not None:
                return found, login
    finally:
        for answer in asked.values():
            answer.cancel()
    raise fault or errors.FelderaNotFound(
        f"Feldera has no pipeline with the id {pipeline_id} that a key of config.feldera.secretName may see.",
        remedy="Add a key of the pipeline's tenant to that Secret.",
    )


async def locate(
    client: FelderaClient, settings: Settings
) -> tuple[Mapping[str, tuple[str, Login]], errors.FelderaError | None]:
    """The name of each pipeline, and a login that sees it, by its id; and the first fault, if there was one. Raises
    FelderaUnauthenticated where there is no key."""
    logins = await asyncio.to_thread(read_logins, settings.feldera, Path(settings.paths.feldera_keys))
    answers = await asyncio.gather(*(_list(client, login) for login in logins.values()))
    found: dict[str, tuple[str, Login]] = {}
    fault: errors.FelderaError | None = None
    for login, answer in zip(logins.values(), answers, strict=True):
        if isinstance(answer, errors.FelderaError):
            fault = fault or answer
        else:
            found |= {info.id: (info.name, login) for info in answer.pipelines}
    return found, fault


async def look_up(client: FelderaClient, settings: Settings) -> Directory:
    """With the keys as they are now. Raises FelderaUnauthenticated where there is none."""
    logins = await asyncio.to_thread(read_logins, settings.feldera, Path(settings.paths.feldera_keys))
    return await fetch(client, logins)
