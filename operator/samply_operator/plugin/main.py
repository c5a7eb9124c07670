"""The plugin's commands. Exit status: 0 success, 1 failure (reason and remedy on stderr), 2 wrong usage."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from samply_operator import __version__
from samply_operator.api import params
from samply_operator.cli import limits, profile_commands
from samply_operator.errors import InvalidParam, InvalidSpec, SamplyOperatorError
from samply_operator.model.attachment import KINDS
from samply_operator.model.check import Report
from samply_operator.model.profile import Spec
from samply_operator.plugin import completion, console, doctor, moments, objects, service, viewer
from samply_operator.plugin.kubectl import Kubectl
from samply_operator.profiles.attribution import naming
from samply_operator.profiles.attribution.labels import BYS
from samply_operator.rules import times
from samply_operator.settings import DURATION_SECS, MAX_RATE_HZ

POLL_SECS = 0.5
SIDES = ("before", "after")
ORDINAL = limits.whole(0, params.MAX_ORDINAL)
EXAMPLES = """\
examples:
  kubectl samply record orders                       30 s of ordinal 0, with progress
  kubectl samply record orders --ordinal all --duration 2m
  kubectl samply preflight orders                    check without recording
  kubectl samply list
  kubectl samply top orders                          the hottest functions of the newest profile
  kubectl samply top orders --since 1h               of all profiles of the last hour together
  kubectl samply get orders -O orders.json.gz        save it
  kubectl samply diff profile-1b2c… profile-9f8e…    what changed between two profiles
  kubectl samply diff orders --before-since 25h --before-until 24h --after-since 1h
  kubectl samply flamegraph orders --since 1h        save a flame graph (SVG)
  kubectl samply open orders                         open it in Firefox Profiler
  kubectl samply console --service-account reader    the web console, until Ctrl-C
  kubectl samply export orders                       a support bundle in one zip
  kubectl samply doctor                              check the installation
  source <(kubectl samply completion bash)
"""


def build_commands() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and that of each command."""
    parser = argparse.ArgumentParser(
        prog="kubectl samply",
        description="CPU profiles of Feldera pipelines.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kubectl samply {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    record = _add(commands, "record", "take a profile and wait for it")
    _add_request(record)
    record.add_argument(
        "--duration",
        type=_parse_duration,
        default=f"{DURATION_SECS}s",
        metavar="TIME",
        help="such as 30s, 2m or 1m30s (default: %(default)s)",
    )
    record.add_argument("--rate", type=limits.whole(1, MAX_RATE_HZ), metavar="HZ", help="samples per second and thread")
    record.add_argument(
        "--attach",
        action="append",
        choices=KINDS,
        metavar="KIND",
        help=f"what to ask Feldera for meanwhile, once for each: {', '.join(KINDS)}",
    )
    record.add_argument("--no-wait", action="store_true", help="say the names and end")
    _add_request(_add(commands, "preflight", "would a recording work? records nothing"))
    listing = _add(commands, "list", "profiles of a namespace")
    listing.add_argument("pipeline", nargs="?", help="only this pipeline's")
    get = _add(commands, "get", "save a profile")
    _add_which(get)
    get.add_argument("-O", "--out", type=Path, metavar="FILE", help="where to (default: NAME.json.gz)")
    top = _add(commands, "top", "the hottest functions")
    _add_which(top)
    top.add_argument("--limit", type=limits.whole(1), default=20, metavar="N")
    top.add_argument("--per-thread", action="store_true", help="the threads as well")
    _add_by(top)
    _add_times(top)
    diff = _add(commands, "diff", "what changed between two profiles, or two ranges of time")
    diff.add_argument("before", help="name of a SamplyProfile, or a pipeline (its newest)")
    diff.add_argument("after", nargs="?", help="likewise; of ranges of time only the pipeline is needed")
    diff.add_argument("--ordinal", type=ORDINAL, default=None, metavar="N", help="of a range of time (default: all)")
    _add_by(diff)
    for side in SIDES:
        _add_times(diff, f"{side}-")
    graph = _add(commands, "flamegraph", "save a flame graph (SVG)")
    _add_which(graph)
    graph.add_argument("-O", "--out", type=Path, metavar="FILE", help="where to (default: NAME.svg)")
    graph.add_argument("--by", choices=BYS, default="function", help="how samples are grouped (default: function)")
    _add_times(graph)
    opening = _add(commands, "open", "open it in Firefox Profiler, served from this machine")
    _add_which(opening)
    opening.add_argument("--no-browser", action="store_true", help="print the link only")
    export = _add(commands, "export", "a support bundle of a pipeline in one zip")
    export.add_argument("pipeline")
    export.add_argument("-O", "--out", type=Path, metavar="FILE", help="where to (default: PIPELINE-samply.zip)")
    export.add_argument(
        "--limit",
        type=limits.whole(1, params.MAX_EXPORT),
        default=params.EXPORT,
        metavar="N",
        help=f"newest attempts (default: %(default)s, at most {params.MAX_EXPORT})",
    )
    page = _add(commands, "console", "the web console in a browser, signed in")
    page.add_argument("--no-browser", action="store_true", help="only print the address, which contains the token")
    checkup = _add(
        commands, "doctor", "check the installation: permissions, selector, names, kernel, image, volume, Feldera"
    )
    checkup.add_argument(
        "--no-probe", action="store_true", help="start no pods to check the helper's image on the nodes"
    )
    shells = commands.add_parser("completion", help="print a completion script")
    shells.add_argument("shell", choices=sorted(completion.SCRIPTS))
    return parser, dict(commands.choices)


def _add(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("-n", "--namespace", help="the pipeline's namespace (default: the context's)")
    parser.add_argument("--context", help="context of the kubeconfig")
    parser.add_argument("--kubeconfig", help="path of the kubeconfig")
    parser.add_argument("--service", metavar="NS/NAME", help="the operator's Service (default: found by its labels)")
    parser.add_argument(
        "--token", default=os.environ.get("SAMPLY_OPERATOR_TOKEN", ""), help="for the service ($SAMPLY_OPERATOR_TOKEN)"
    )
    parser.add_argument(
        "--service-account", metavar="NAME", help="request a token of this ServiceAccount, in the pipeline's namespace"
    )
    parser.add_argument("--audience", default=service.AUDIENCE, help="audience of that token (default: %(default)s)")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    return parser


def _add_request(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pipeline")
    parser.add_argument("--ordinal", type=_parse_ordinals, default=0, metavar="N|all", help="which pod (default: 0)")
    parser.add_argument("--mode", choices=("Auto", "InPlace", "BringOwn", "Ephemeral", "Pipeline"))
    parser.add_argument("--container")
    parser.add_argument("--process", metavar="NAME", help="process, if the container runs several")


def _parse_ordinals(text: str) -> params.Ordinal:
    return params.ALL if text == params.ALL else ORDINAL(text)


def _parse_duration(text: str) -> int:
    try:
        return times.parse_duration(text)
    except InvalidSpec as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _add_by(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", choices=BYS, default="function", help="how samples are grouped (default: function)")
    parser.add_argument("--rules", metavar="FILE", help="own groups of functions (TOML), before the included ones")


def _add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", help="name of a SamplyProfile, or a pipeline (its newest good profile)")
    parser.add_argument("--ordinal", type=ORDINAL, default=None, metavar="N", help="of a pipeline")


def _add_times(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    of = f" for {prefix.removesuffix('-').upper()}" if prefix else ""
    parser.add_argument(
        f"--{prefix}since",
        type=moments.parse_now,
        metavar="TIME",
        help=f"all profiles of the pipeline that ended since then, merged{of}: {moments.ACCEPTED}",
    )
    parser.add_argument(f"--{prefix}until", type=moments.parse_now, metavar="TIME", help=f"that ended before{of}")


class Plugin:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        flags = [f"--{key}={value}" for key in ("context", "kubeconfig") if (value := getattr(options, key))]
        self.kubectl = Kubectl(tuple(flags))
        self.namespace: str = options.namespace or self._find_namespace()

    def _find_namespace(self) -> str:
        found = self.kubectl.run("config", "view", "--minify", "-o", "jsonpath={..namespace}").strip()
        return found or "default"

    # ------------------------------------------------------------------------------------------------- recording

    def run_record(self) -> int:
        options = self.options
        spec = replace(
            self._build_spec(),
            duration_secs=options.duration,
            rate_hz=options.rate,
            attachments=options.attach and tuple(dict.fromkeys(options.attach)),
        )
        made: list[dict[str, Any]] = []
        try:
            made.extend(self._make(spec))  # has those before a refused one
            ended = [] if options.no_wait else self._wait(made)
        except (SamplyOperatorError, KeyboardInterrupt) as error:
            if made:
                error.add_note(
                    f"Created before that: {_join_names(made, ', ')}. Recordings continue without this command: "
                    "kubectl samply list."
                )
            raise
        if options.no_wait:
            self._print(made, _join_names(made, "\n"))
            return 0
        return self._report(ended)

    def run_preflight(self) -> int:
        ended = self._wait(list(self._make(replace(self._build_spec(), preflight_only=True))))
        shown = [objects.parse(raw) for raw in ended]
        lines = [
            f"ordinal {one.ordinal}: {one.message}\n{objects.render_findings(raw)}"
            + (f"\n  cure: {one.remedy}" if one.remedy else "")
            for one, raw in zip(shown, ended, strict=True)
        ]
        self._print(ended, "\n".join(lines))
        return 0 if all(one.has_succeeded for one in shown) else 1

    def _build_spec(self) -> Spec:
        options = self.options
        return Spec(options.pipeline, container=options.container, process=options.process, mode=options.mode)

    def _make(self, spec: Spec) -> Iterator[dict[str, Any]]:
        """Create the objects, one after the other."""
        for ordinal in self._find_ordinals(spec.pipeline):
            body = objects.build_body(replace(spec, ordinal=ordinal))
            yield json.loads(
                self.kubectl.run("--namespace", self.namespace, "create", "-f", "-", "-o", "json", body=body)
            )

    def _find_ordinals(self, pipeline: str) -> list[int]:
        wanted: params.Ordinal = self.options.ordinal
        if wanted != params.ALL:
            return [wanted]
        with self._open() as client:
            found = client.list_ordinals(pipeline, self.namespace)
        if not found:
            raise InvalidSpec(f"Pipeline {pipeline!r} has no ordinals in {self.namespace}.", remedy="Start it.")
        return found

    def _wait(self, made: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Until all have ended, with a line of progress each on a terminal."""
        is_terminal, drawn = sys.stderr.isatty() and self.options.output == "text", 0
        while True:
            now = [self._get(raw["metadata"]["name"]) for raw in made]
            if is_terminal:
                lines = [objects.render_progress(raw, time.time())[:160] for raw in now]
                sys.stderr.write(f"\x1b[{drawn}A" * bool(drawn) + "".join(f"\x1b[2K{line}\n" for line in lines))
                drawn = len(lines)
            if all(objects.parse(raw).has_finished for raw in now):
                return now
            time.sleep(POLL_SECS)

    def _report(self, ended: Sequence[dict[str, Any]]) -> int:
        shown = [objects.parse(raw) for raw in ended]
        self._print(ended, objects.render_table(shown))
        for one, raw in zip(shown, ended, strict=True):
            if not one.has_succeeded:
                print(f"{one.name}: {one.reason or one.phase}: {one.message}\n  {one.remedy}", file=sys.stderr)
            for missing in objects.list_missing(raw):
                print(f"{one.name}: the attachment {missing}", file=sys.stderr)
        return 0 if all(one.has_succeeded for one in shown) else 1

    # ---------------------------------------------------------------------------------------------------- reading

    def run_list(self) -> int:
        items = self._list()
        if self.options.pipeline:
            items = [raw for raw in items if raw["spec"]["pipeline"] == self.options.pipeline]
        self._print(items, objects.render_table([objects.parse(raw) for raw in items]))
        return 0

    def run_get(self) -> int:
        shown = self._find(self.options.which, self.options.ordinal)
        out: Path = self.options.out or Path(f"{shown.name}.json.gz")
        with self._open() as client:
            size = client.fetch(shown.pipeline, shown.profile_id, out)
        self._print({"file": str(out), "size_bytes": size}, f"{out}: {size} bytes; open it with `samply load {out}`")
        return 0

    def run_top(self) -> int:
        if times_of := self._list_times(""):
            self._refuse_with_times("per_thread", "rules")
            query = {**times_of, **self._choose_of_range(), "limit": str(self.options.limit)}
            return self._show_view(self.options.which, "summary", query)
        shown = self._find(self.options.which, self.options.ordinal)
        extra = [f"--limit={self.options.limit}", *(["--per-thread"] if self.options.per_thread else [])]
        for option, value in (("--coverage", shown.share), ("--lost-events", shown.lost_events)):
            extra += [] if value is None else [f"{option}={value}"]
        return self._on_files("top", [shown], [*extra, *self._choose_by()])

    def run_diff(self) -> int:
        sides = {side: self._list_times(f"{side}_") for side in SIDES}
        if any(sides.values()):
            return self._diff_ranges(sides)
        if self.options.after is None:
            raise InvalidParam("What is it compared with?", remedy="Name a second profile, or give --after-since TIME.")
        if self.options.ordinal is not None:
            raise InvalidParam("--ordinal is of a range of time.", remedy="Give --before-since or --after-since too.")
        both = [self._find(self.options.before, None), self._find(self.options.after, None)]
        return self._on_files("diff", both, self._choose_by())

    def _diff_ranges(self, sides: dict[str, dict[str, str]]) -> int:
        """A side without times is a profile, by its name or the newest one of its pipeline."""
        self._refuse_with_times("rules")
        which = {"before": self.options.before, "after": self.options.after or self.options.before}
        query, pipelines = dict(self._choose_of_range()), set()
        for side, times_of in sides.items():
            if times_of:
                query |= times_of
                pipelines.add(which[side])
            else:
                shown = self._find(which[side], self.options.ordinal)
                query[side] = shown.profile_id
                pipelines.add(shown.pipeline)
        if len(pipelines) > 1:
            raise InvalidParam(
                f"These are of different pipelines: {', '.join(sorted(pipelines))}.",
                remedy="Give the name of one pipeline for a range of time.",
            )
        return self._show_view(pipelines.pop(), "diff", query)

    def run_flamegraph(self) -> int:
        which, by = self.options.which, {"format": "svg", "by": self.options.by}
        times_of = self._list_times("")
        name, path, query = which, f"{self._path(which)}/samply_profile", {**times_of, **self._choose_of_range(), **by}
        if not times_of:
            shown = self._find(which, self.options.ordinal)
            name = shown.name
            path, query = f"{self._path(shown.pipeline)}/samply_profiles/{shown.profile_id}/profile", by
        out: Path = self.options.out or Path(f"{name.replace('/', '-')}.svg")
        with self._open() as client:
            size = client.save_view(path, query, out)
        self._print({"file": str(out), "size_bytes": size}, f"{out}: {size} bytes; open it in a browser")
        return 0

    def _list_times(self, prefix: str) -> dict[str, str]:
        """As the HTTP interface has them; empty: no range of time was given."""
        given = {f"{prefix}{word}": getattr(self.options, f"{prefix}{word}") for word in ("since", "until")}
        return {key: value for key, value in given.items() if value is not None}

    def _choose_of_range(self) -> dict[str, str]:
        ordinal = self.options.ordinal
        chosen = {"namespace": self.namespace, "by": self.options.by}
        return chosen if ordinal is None else {**chosen, "ordinal": str(ordinal)}

    def _refuse_with_times(self, *names: str) -> None:
        for name in names:
            if getattr(self.options, name):
                raise InvalidParam(
                    f"--{name.replace('_', '-')} does not work on a range of time.", remedy="Name one profile instead."
                )

    def _show_view(self, pipeline: str, view: str, query: dict[str, str]) -> int:
        with self._open() as client:
            answer = client.read_view(f"{self._path(pipeline)}/{view}", {**query, "output": self.options.output})
        text = answer.decode("utf-8", "replace")
        with service.understood():
            found = json.loads(text) if self.options.output == "json" else None
        self._print(found, text.rstrip("\n"))
        return 0

    def _path(self, pipeline: str) -> str:
        return f"/v0/pipelines/{quote(pipeline, safe='')}"

    def _choose_by(self) -> list[str]:
        rules = self.options.rules
        return [f"--by={self.options.by}", *([] if rules is None else [f"--rules={rules}"])]

    def _on_files(self, command: str, wanted: Sequence[objects.Shown], extra: Sequence[str]) -> int:
        """Fetch into a temporary folder, then the command that works on files."""
        with tempfile.TemporaryDirectory(prefix="kubectl-samply-") as folder, self._open() as client:
            files: list[Path] = []
            for shown in wanted:
                files.append(Path(folder) / f"{len(files)}-{shown.name}.json.gz")
                client.fetch(shown.pipeline, shown.profile_id, files[-1])
                if self.options.by == "operator":
                    client.fetch_operators(shown.pipeline, shown.profile_id, naming.find_path(files[-1]))
            return profile_commands.main([command, *map(str, files), *extra, "-o", self.options.output])

    def run_open(self) -> int:
        """Until the viewer has the file; with --no-browser until it was fetched or the user pressed Ctrl-C."""
        shown = self._find(self.options.which, self.options.ordinal)
        with tempfile.TemporaryDirectory(prefix="kubectl-samply-") as folder:
            out = Path(folder) / "profile.json.gz"
            with self._open() as client:
                client.fetch(shown.pipeline, shown.profile_id, out)
            with viewer.serve_once(out, f"{shown.pipeline} {shown.ordinal}") as served:
                self._print({"link": served.link, "file": served.url}, served.link)
                sys.stdout.flush()
                if not self.options.no_browser:
                    with contextlib.suppress(webbrowser.Error):
                        webbrowser.open(served.link)
                with contextlib.suppress(KeyboardInterrupt):
                    served.taken.wait()
        return 0

    def run_console(self) -> int:
        """Until the user presses Ctrl-C, which closes the port-forward."""
        with self._open() as client:
            address = console.build_address(client, is_secret=self.options.no_browser)
            self._print({"address": address}, f"{address}\nThe console is available until you press Ctrl-C.")
            sys.stdout.flush()
            with contextlib.suppress(KeyboardInterrupt):
                console.show(client, has_browser=not self.options.no_browser)
        return 0

    def run_export(self) -> int:
        pipeline: str = self.options.pipeline
        out: Path = self.options.out or Path(f"{pipeline.replace('/', '-')}-samply.zip")
        with self._open() as client:
            size = client.export(pipeline, self.namespace, self.options.limit, out)
        self._print({"file": str(out), "size_bytes": size}, f"{out}: {size} bytes; its README.txt lists the content")
        return 0

    def run_doctor(self) -> int:
        place = service.find_service(self.kubectl, self.namespace, self.options.service)
        ask = self._ask_doctor if self.options.token or self.options.service_account else None
        found = doctor.Doctor(self.kubectl, place, ask, is_probing=not self.options.no_probe).examine()
        self._print(doctor.render_json(found), doctor.render(found, place))
        return 1 if found.status == "Failed" else 0

    def _ask_doctor(self) -> Report:
        with self._open() as client:
            return client.examine()

    def _find(self, which: str, ordinal: int | None) -> objects.Shown:
        """An object by its name, else the newest good profile of a pipeline."""
        shown = [objects.parse(raw) for raw in self._list()]
        named = [one for one in shown if one.name == which]
        good = [
            one
            for one in shown
            if one.pipeline == which and one.profile_id and one.has_succeeded and ordinal in {None, one.ordinal}
        ]
        found = named or sorted(good, key=lambda one: one.created_at)[-1:]
        if not found:
            good_one = "a stored profile" if ordinal is None else f"a stored profile of ordinal {ordinal}"
            raise InvalidSpec(
                f"{self.namespace} has neither a SamplyProfile nor a pipeline with {good_one} named {which!r}.",
                remedy="See `kubectl samply list`, or record one: kubectl samply record PIPELINE.",
            )
        if not found[0].profile_id:
            raise InvalidSpec(f"{which} has no stored profile: {found[0].message}", remedy=found[0].remedy)
        return found[0]

    def _list(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.kubectl.get("--namespace", self.namespace, "samplyprofiles")["items"]
        return items

    def _get(self, name: str) -> dict[str, Any]:
        return self.kubectl.get("--namespace", self.namespace, "samplyprofile", name)

    def _open(self) -> contextlib.AbstractContextManager[service.ServiceClient]:
        options = self.options
        token = service.parse_token(options.token)
        if not token and options.service_account:
            token = service.make_token(self.kubectl, self.namespace, options.service_account, options.audience)
        return service.open_client(self.kubectl, self.namespace, options.service, token)

    def _print(self, answer: object, text: str) -> None:
        print(json.dumps(answer, indent=2) if self.options.output == "json" else text)


def _join_names(made: Sequence[dict[str, Any]], separator: str) -> str:
    return separator.join(raw["metadata"]["name"] for raw in made)


def complete() -> int:
    """The program kubectl_complete-samply."""
    found, directive = completion.suggest(sys.argv[1:], build_commands()[1], completion.look_up)
    print("\n".join([*found, directive]))
    return 0


def main(arguments: list[str] | None = None) -> int:
    options = build_commands()[0].parse_args(arguments)
    if options.command == "completion":
        print(completion.SCRIPTS[options.shell], end="")
        return 0
    try:
        return int(getattr(Plugin(options), f"run_{options.command}")())
    except (SamplyOperatorError, KeyboardInterrupt) as error:
        said = "" if isinstance(error, KeyboardInterrupt) else f"kubectl samply: {error}"
        print(said, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        return 2 if isinstance(error, InvalidParam) else 1


if __name__ == "__main__":
    sys.exit(main())
