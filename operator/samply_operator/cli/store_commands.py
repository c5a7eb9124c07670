"""`samply-operator store copy`: copies the history between a volume and a bucket, while the service runs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from samply_operator import json_errors, settings
from samply_operator.errors import InvalidParam
from samply_operator.settings import Bucket, Settings
from samply_operator.store import moving
from samply_operator.store.bucket.connection import Connection
from samply_operator.store.bucket.objects import Objects
from samply_operator.store.volume import Volume

DESCRIPTION = """\
Copy all stored profiles, with their facts and pins, from a volume to a bucket or back. What the target has already is
left as it is, so that a copy that was interrupted goes on when it is run again; files that the bucket lost are copied
again, profiles that were removed there are not. Files are compared by SHA-256 after they were copied. The source is
only read; both may be in use."""
EXAMPLE = """\
examples:
  samply-operator store copy --from /data --to s3://profiles/team-a/prod-1
  samply-operator store copy --from s3://profiles/team-a/prod-1 --to /data --endpoint https://s3.example.com

The last part of a URL is config.storage.bucket.cluster. Credentials come from the folder --credentials, where each file
is named for an option of the provider, else from the environment (AWS_ACCESS_KEY_ID, …), else from the machine.
"""
REPORT_SECS = 2.0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="samply-operator store", description="Stored profiles as a whole.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    copy = commands.add_parser(
        "copy",
        help="copy them to another place",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    copy.add_argument(
        "--from", dest="source", required=True, metavar="PLACE", help="a folder, or a URL with the cluster"
    )
    copy.add_argument("--to", dest="target", required=True, metavar="PLACE", help="the other kind of place")
    copy.add_argument("--endpoint", metavar="URL", help="endpoint of the provider (default: the settings')")
    copy.add_argument("--region", metavar="NAME", help="region of the bucket (default: the settings')")
    copy.add_argument("--credentials", metavar="FOLDER", type=Path, help="(default: where the chart mounts them)")
    copy.add_argument("--settings", metavar="FILE", help="settings file (default: $SAMPLY_OPERATOR_SETTINGS)")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Exit status 0: the target has everything; 1: some are missing, each reported on stderr. Raises InvalidParam for
    wrong usage, SamplyOperatorError."""
    options = build_parser().parse_args(arguments)
    way = _build_way(options, settings.load(options.settings))
    progress = moving.copy(way, _ProgressReporter().report)
    _print_progress(progress)
    for profile_id, why in progress.failed.items():
        print(f"{profile_id}: {why}", file=sys.stderr)
    return 1 if progress.failed else 0


def _build_way(options: argparse.Namespace, config: Settings) -> moving.Way:
    is_url = ["://" in place for place in (options.source, options.target)]
    if is_url == [False, True]:
        return moving.Upload(_open_volume(options.source), _open_bucket(options.target, options, config))
    if is_url == [True, False]:
        return moving.Download(_open_bucket(options.source, options, config), Volume(options.target))
    raise InvalidParam("One of --from and --to must be a folder, the other one a URL such as s3://NAME/PREFIX/CLUSTER.")


def _open_volume(folder: str) -> Volume:
    if not (Path(folder) / "profiles").is_dir():
        raise InvalidParam(f"--from {folder}: it has no folder profiles, so it is not the volume of an operator.")
    return Volume(folder)


def _open_bucket(url: str, options: argparse.Namespace, config: Settings) -> Objects:
    base, _, cluster = url.rstrip("/").rpartition("/")
    if base.endswith(":/") or not base:
        raise InvalidParam(f"{url}: the last part is the cluster's folder, such as s3://profiles/prod-1.")
    if options.credentials and not options.credentials.is_dir():
        raise InvalidParam(f"--credentials {options.credentials}: there is no such folder.", remedy="Name another one.")
    given = {name: value for name in ("endpoint", "region") if (value := getattr(options, name))}
    known = msgspec.to_builtins(config.storage.bucket) | {"readClusters": []}
    try:  # validated like the settings
        bucket = msgspec.convert(known | {"url": base, "cluster": cluster} | given, Bucket)
    except msgspec.ValidationError as error:
        what, place = json_errors.split(error)
        raise InvalidParam(
            f"--{place} {given[place]}: {what}." if place in given else f"{url}: {what}.",
            remedy="A URL is s3://NAME/PREFIX/CLUSTER, likewise gs:// or az://, an endpoint https://s3.example.com.",
        ) from error
    folder = Path(config.paths.storage)
    authorities = Path(config.paths.authorities)
    connection = Connection(bucket, cluster, folder, authorities=authorities, credentials=options.credentials)
    connection()
    return Objects(connection)


class _ProgressReporter:
    """Periodic progress."""

    def __init__(self) -> None:
        self._reported_at = time.monotonic()

    def report(self, progress: moving.Progress) -> None:
        if time.monotonic() - self._reported_at > REPORT_SECS:
            self._reported_at = time.monotonic()
            _print_progress(progress)


def _print_progress(progress: moving.Progress) -> None:
    print(
        f"{progress.done} of {progress.wanted}: {progress.copied} copied ({progress.copied_bytes / 1e6:.1f} MB), "
        f"{progress.present} were there, {progress.gone} gone, {len(progress.failed)} failed",
        file=sys.stderr,
    )
