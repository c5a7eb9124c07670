"""The command line: the programs of the two containers, their probe, and commands for profile files."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from samply_operator import __version__, settings
from samply_operator.cli import limits
from samply_operator.controller import signals
from samply_operator.errors import InvalidParam, SamplyOperatorError

EXIT_FAILED = 1
EXIT_WRONG_USAGE = 2


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="samply-operator", description="CPU profiles of running Feldera pipelines in Kubernetes."
    )
    parser.add_argument("--version", action="version", version=f"samply-operator {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("operator", "watch the cluster and record (the container with the cluster permissions)"),
        ("api", "serve profiles over HTTP (the container with the port)"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--settings", metavar="FILE", help="settings file (default: $SAMPLY_OPERATOR_SETTINGS)")
        if name == "api":
            command.add_argument(
                "--tls", metavar="FOLDER", type=Path, help="serve HTTPS with tls.crt and tls.key of this folder"
            )
    doctor = commands.add_parser("doctor", help="check the installation, as JSON; exit 1 if a check failed")
    doctor.add_argument("--settings", metavar="FILE", help="settings file (default: $SAMPLY_OPERATOR_SETTINGS)")
    for name, text in (
        ("profile", "work on profile files"),
        ("key", "create API keys for the HTTP service"),
        ("store", "copy the history between a volume and a bucket"),
    ):
        commands.add_parser(name, help=text, add_help=False)
    beat = commands.add_parser("heartbeat", help="exit 0 if the operator's event loop is alive (a liveness probe)")
    beat.add_argument(
        "--max-age",
        type=limits.number(0, limits.MAX_SECS),
        default=60.0,
        metavar="SECS",
        help="oldest heartbeat (default: 60)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 success, 1 failure (reason on stderr), 2 wrong usage."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given[:1] == ["profile"]:
            from samply_operator.cli import profile_commands  # noqa: PLC0415 - the probe must start fast

            return profile_commands.main(given[1:])
        if given[:1] == ["key"]:
            from samply_operator.cli import key_commands  # noqa: PLC0415

            return key_commands.main(given[1:])
        if given[:1] == ["store"]:
            from samply_operator.cli import store_commands  # noqa: PLC0415

            return store_commands.main(given[1:])
        return _run(build_parser().parse_args(given))
    except SamplyOperatorError as error:
        print(f"samply-operator: {error}", file=sys.stderr)
        return EXIT_WRONG_USAGE if isinstance(error, InvalidParam) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_FAILED


def _run(options: argparse.Namespace) -> int:
    if options.command == "heartbeat":
        return _check_heartbeat(options.max_age)
    signals.exit_on_signals()
    from samply_operator import logs  # noqa: PLC0415

    config, identity = settings.load(options.settings), settings.load_identity()
    logs.configure(config.log_level)
    if options.command == "doctor":
        from samply_operator.cli import doctor_command  # noqa: PLC0415

        return doctor_command.run(config, identity)
    if options.command == "operator":
        from samply_operator.controller import main as operator_main  # noqa: PLC0415

        asyncio.run(operator_main.run(config, identity))
    else:
        from samply_operator.api import main as api_main  # noqa: PLC0415

        asyncio.run(api_main.run(config, identity, options.tls))
    return 0


def _check_heartbeat(max_age: float) -> int:
    path = Path(settings.load().paths.heartbeat)
    try:
        age = time.time() - path.stat().st_mtime
    except OSError as error:
        raise SamplyOperatorError(
            f"no heartbeat at {path}: {error.strerror}.", remedy="Run this in the operator's container; see its log."
        ) from error
    if age > max_age:
        raise SamplyOperatorError(
            f"the last heartbeat was {age:.0f} s ago.",
            remedy="The operator's event loop is blocked, or not started: see its log.",
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
