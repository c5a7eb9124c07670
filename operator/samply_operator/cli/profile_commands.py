"""`samply-operator profile …`: the work on profiles that lie in files. Needs no cluster and no operator.

Reads the files it is given and writes to stdout or to `--out`. Exit status: 0 done, 1 a file is no good profile
(`check`: or misses what was asked of it), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from samply_operator import profiles
from samply_operator.cli import limits
from samply_operator.errors import InvalidParam, ProfileError
from samply_operator.plural import count
from samply_operator.profiles.analysis import breakdown, comparing, fact_sheet, merging, soundness, tally, weighing
from samply_operator.profiles.analysis.fact_sheet import ProfileFacts
from samply_operator.profiles.analysis.selection import MEASURES
from samply_operator.profiles.analysis.tally import TimeRange
from samply_operator.profiles.attribution import naming, operators
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.attribution.labels import BYS
from samply_operator.profiles.attribution.operators import MarkerFacts
from samply_operator.profiles.format import reading
from samply_operator.profiles.output import breakdown_text, display_names, flamegraph, text, whole_file
from samply_operator.profiles.worker import commands, jobs

EXAMPLES = """\
examples:
  samply-operator profile top profile.json.gz
  samply-operator profile top profile.json.gz --thread worker-0 --from 2 --to 5 -o json
  samply-operator profile top profile.json.gz --by operator
  samply-operator profile top profile.json.gz --by group --rules own.toml
  samply-operator profile convert profile.json.gz --format svg --out flame.svg
  samply-operator profile convert profile.json.gz --format pprof --out cpu.pb.gz && go tool pprof -http : cpu.pb.gz
  samply-operator profile diff before.json.gz after.json.gz
  samply-operator profile diff before.json.gz after.json.gz --format svg --out diff.svg
  samply-operator profile merge host-0.json.gz host-1.json.gz
  samply-operator profile check *.json.gz --max-unresolved 20
  samply-operator profile bake raw.json.gz --symbols raw.json.syms.json --product orders --out profile.json.gz
"""

SECS = limits.number(0, limits.MAX_SECS)


def main(arguments: list[str]) -> int:
    """The command line after `samply-operator profile`. For the exit status see above."""
    options = build_parser().parse_args(arguments)
    return int(options.run(options))


def build_parser() -> argparse.ArgumentParser:
    """Each command sets `run`: a function from the arguments to the exit status."""
    parser = argparse.ArgumentParser(
        prog="samply-operator profile",
        description="Summarise, convert, compare and check samply profiles in files, gzip or plain.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_top(commands)
    _add_convert(commands)
    _add_diff(commands)
    _add_merge(commands)
    _add_check(commands)
    _add_bake(commands)
    _add_name(commands)
    return parser


def _add_top(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("top", help="the hottest functions")
    parser.add_argument("file", type=Path)
    parser.add_argument("--limit", type=limits.whole(1), default=20, metavar="N", help="functions listed (default 20)")
    parser.add_argument("--thread", metavar="NAME", help="only threads with this name or thread id")
    parser.add_argument(
        "--per-thread",
        action="store_true",
        help="a table for each thread as well (by operator or group: the threads below each)",
    )
    parser.add_argument(
        "--coverage", type=limits.number(0, 1), metavar="SHARE", help="shown beside it: 1 is all, as the status says"
    )
    parser.add_argument("--lost-events", type=limits.whole(0), metavar="N", help="likewise")
    parser.add_argument("--from", dest="start", type=SECS, metavar="SECS", help="ignore earlier samples")
    parser.add_argument("--to", dest="end", type=SECS, metavar="SECS", help="ignore later samples")
    _add_output(parser)
    _add_by(parser)
    parser.set_defaults(run=_guarded(_top))


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("convert", help="folded stacks, speedscope, pprof, or a flame graph (svg)")
    parser.add_argument("file", type=Path)
    parser.add_argument("--format", choices=jobs.FORMATS, required=True)
    parser.add_argument(
        "--measure", choices=MEASURES, help="what to count (default: samples; svg: CPU time if known; pprof has both)"
    )
    _add_out(parser)
    _add_by(parser)
    parser.set_defaults(run=_guarded(_convert))


def _add_diff(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("diff", help="two profiles, function by function, as shares of their CPU time")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--limit", type=limits.whole(1), metavar="N", help="functions listed (default 30)")
    parser.add_argument("--format", choices=("table", "svg"), default="table", help="svg: differential flame graph")
    _add_output(parser)
    _add_out(parser)
    _add_by(parser)
    parser.set_defaults(run=_guarded(_diff))


def _add_merge(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("merge", help="several profiles, such as all hosts of a pipeline, as one summary")
    parser.add_argument("files", type=Path, nargs="+", metavar="file")
    parser.add_argument("--limit", type=limits.whole(1), default=20, metavar="N", help="functions listed (default 20)")
    _add_output(parser)
    _add_by(parser)
    parser.set_defaults(run=_guarded(_merge))


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("check", help="check whether files are good profiles, and their quality")
    parser.add_argument("files", type=Path, nargs="+", metavar="file")
    parser.add_argument(
        "--min-samples", type=limits.whole(1), default=1, metavar="N", help="fail if there are fewer (default 1)"
    )
    parser.add_argument(
        "--max-unresolved", type=limits.number(0, 100), metavar="PERCENT", help="fail if the share is larger"
    )
    _add_output(parser)
    parser.set_defaults(run=_guarded(_check))


def _add_bake(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("bake", help="add the symbols of samply's sidecar to the profile")
    parser.add_argument("file", type=Path)
    parser.add_argument("--symbols", type=Path, metavar="SIDECAR", help="the file named *.syms.json")
    parser.add_argument("--product", metavar="TITLE", help="title in viewers (default: unchanged)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write (gzip)")
    _add_output(parser)
    parser.set_defaults(run=_guarded(_bake))


def _add_name(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "name", help="store Feldera's names of the operators beside a profile, for --by operator"
    )
    parser.add_argument("file", type=Path)
    for option, what in (("--dataflow", "dataflow_graph"), ("--circuit", "circuit_json_profile")):
        parser.add_argument(option, type=Path, required=True, metavar="JSON", help=f"what GET …/{what} answered")
    parser.set_defaults(run=_guarded(_name))


def _add_by(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", choices=BYS, default="function", help="how samples are grouped (default: function)")
    parser.add_argument(
        "--rules", type=Path, metavar="FILE", help="own groups of functions (TOML), before the included ones"
    )


def _refuse(option: str, is_given: bool, beside: str) -> None:
    """Raises InvalidParam for an option that would be ignored."""
    if is_given:
        raise InvalidParam(f"{option} has no effect beside {beside}.", remedy="Leave one of the two out.")


def _read_choice(arguments: argparse.Namespace) -> Choice:
    _refuse("--rules", arguments.rules is not None and arguments.by == "function", "--by function")
    rules = "" if arguments.rules is None else arguments.rules.read_text(encoding="utf-8", errors="replace")
    return Choice(arguments.by, rules)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: stdout)")


def _top(arguments: argparse.Namespace) -> int:
    time_range = None
    if arguments.start is not None or arguments.end is not None:
        start, end = arguments.start or 0.0, float("inf") if arguments.end is None else arguments.end
        if end < start:
            raise InvalidParam(f"--to {end:g} is before --from {start:g}.", remedy="Give a later end.")
        time_range = TimeRange(1000 * start, 1000 * end)
    profile = profiles.read(arguments.file)
    asked: jobs.Asked = {"limit": arguments.limit, "thread": arguments.thread, "time_range": time_range}
    known = {"coverage": arguments.coverage, "lost_events": arguments.lost_events}
    attribution = _read_choice(arguments).build(profile)
    if attribution is not None:
        sums = replace(breakdown.break_down(profile, attribution, by=arguments.by, **asked), **known)
        _print(arguments, sums, breakdown_text.render(sums, per_thread=arguments.per_thread))
        return 0
    found = replace(profiles.top(profile, **asked), **known)
    is_per_thread = arguments.per_thread or arguments.thread is not None
    _print(arguments, found, text.render_summary(found, per_thread=is_per_thread))
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    choice = _read_choice(arguments)
    job = jobs.Convert(
        profile=str(arguments.file),
        format=arguments.format,
        measure=arguments.measure,
        by=choice.by,
        rules=choice.rules,
    )
    if arguments.out is None and arguments.format == "pprof" and sys.stdout is not None and sys.stdout.isatty():
        _complain("pprof is binary: name a file with --out.")
        return 2
    _write(commands.run(job), arguments.out, arguments.file)
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    if arguments.format == "svg":
        _refuse("--output", arguments.output == "json", "--format svg, which is a picture")
        _refuse("--limit", arguments.limit is not None, "--format svg, which has all functions")
    before, after = profiles.read(arguments.before), profiles.read(arguments.after)
    if arguments.format == "svg":
        svg = flamegraph.compare(before, after, choice=_read_choice(arguments))
        _write(svg, arguments.out, arguments.before, arguments.after)
        return 0
    comparison = comparing.compare(before, after, limit=arguments.limit or 30, choice=_read_choice(arguments))
    table = text.render_comparison(comparison).encode("utf-8", "replace")
    answer = table if arguments.output == "text" else _encode(comparison)
    _write([answer], arguments.out, arguments.before, arguments.after)
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    merged = merging.merge(
        (profiles.read(path) for path in arguments.files), limit=arguments.limit, choice=_read_choice(arguments)
    )
    _print(arguments, merged, text.render_merged(merged))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    verdicts = [_judge(path, arguments.min_samples, arguments.max_unresolved) for path in arguments.files]
    if arguments.output == "json":
        _write([_encode(verdicts)], None)
    else:
        _write([f"{_render_verdict(verdict)}\n".encode("utf-8", "replace") for verdict in verdicts], None)
    return 0 if all(verdict.good for verdict in verdicts) else 1


class Verdict(msgspec.Struct, frozen=True):
    """The result of `check` for one file."""

    file: str
    good: bool
    why: str
    facts: ProfileFacts | None
    markers: MarkerFacts | None = None
    """None: it has no markers of operators."""


def _judge(path: Path, min_samples: int, max_unresolved: float | None) -> Verdict:
    try:
        profile = reading.read(path)
        facts = fact_sheet.gather(profile)
        profiles.top(profile, limit=1)  # any fault that it finds would also affect readers
        soundness.check(profile, tally.find_span(profile.threads))
        markers = operators.check(profile)
    except ProfileError as error:
        return Verdict(str(path), good=False, why=str(error), facts=None)
    why = ""
    if facts.samples < min_samples:
        why = f"{count(facts.samples, 'sample')}, fewer than {min_samples}"
    elif max_unresolved is not None and (facts.unresolved_percent or 0.0) > max_unresolved:
        why = f"{facts.unresolved_percent:.1f} % without a name"
    return Verdict(str(path), good=not why, why=why, facts=facts, markers=markers)


def _describe_unit(facts: ProfileFacts) -> str:
    return "" if facts.weight_type == weighing.SAMPLES else f", weighed in {weighing.name_unit(facts.weight_type)}"


def _render_verdict(verdict: Verdict) -> str:
    word = "good" if verdict.good else "BAD: " + display_names.clean(verdict.why, limit=500)
    line = f"{display_names.clean(verdict.file)}: {word}"
    if verdict.facts is None:
        return line
    facts = verdict.facts
    unit = _describe_unit(facts)
    unresolved = "" if facts.unresolved_percent is None else f", {facts.unresolved_percent:.1f} % without a name"
    line += (
        f"\n  version {facts.version}, {count(facts.samples, 'sample')} in {count(facts.threads, 'thread')} over "
        f"{facts.duration_ms / 1000:.1f} s{unit}{unresolved}"
    )
    if verdict.markers:
        line += f"\n  {breakdown_text.render_markers(verdict.markers)}"
    nameless = (share for share in facts.unresolved_by_lib if share.unresolved)
    for share in nameless:
        line += (
            f"\n  {display_names.clean(share.lib)}: {share.unresolved_percent:.1f} % of {share.samples} without a name"
        )
    if facts.symbolicated and facts.stripped_libs:
        line += f"\n  no symbols found for (stripped?): {', '.join(map(display_names.clean, facts.stripped_libs))}"
    return line


def _bake(arguments: argparse.Namespace) -> int:
    inputs = [arguments.file, *([arguments.symbols] if arguments.symbols else [])]
    with whole_file.open_temporary(arguments.out, inputs=inputs) as path:
        product = arguments.product if arguments.product is not None else profiles.read(arguments.file).meta.product
        result = profiles.bake(arguments.file, arguments.symbols, path, label=profiles.Label(product))
    for warning in result.warnings:
        _complain(f"Warning: {warning}")
    unresolved = result.facts.unresolved_percent or 0.0
    named = count(result.named_frames, "frame")
    line = f"{arguments.out}: {named} named, {unresolved:.1f} % of the samples without a name\n"
    _print(arguments, result, line)
    return 0


def _name(arguments: argparse.Namespace) -> int:
    names = naming.join(arguments.dataflow.read_bytes(), arguments.circuit.read_bytes())
    if names.problem:
        raise ProfileError(
            f"{names.problem}.",
            remedy="Save both answers again, of the same version of the program: --dataflow GET …/dataflow_graph, and "
            "--circuit GET …/circuit_json_profile.",
        )
    out = naming.find_path(arguments.file)
    _write([_encode(names)], out)
    _write([f"{out}: {count(len(names.names), 'operator')} named\n".encode("utf-8", "replace")], None)
    return 0


def _print(arguments: argparse.Namespace, answer: object, table: str) -> None:
    _write([table.encode("utf-8", "replace") if arguments.output == "text" else _encode(answer)], None)


def _encode(answer: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n"


def _write(pieces: Iterable[bytes], out: Path | None, *inputs: Path) -> None:
    if out is None:
        whole_file.write_stdout(pieces)
        return
    whole_file.write(pieces, out, inputs=inputs)


def _complain(text: str) -> None:
    if sys.stderr is not None:  # else print would write to stdout
        print(display_names.clean(text, limit=1000), file=sys.stderr)


def _guarded(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """An error in a file becomes one line on stderr and exit status 1."""

    def run(arguments: argparse.Namespace) -> int:
        try:
            return command(arguments)
        except (ProfileError, whole_file.OutputError) as error:
            _complain(str(error))
        except InvalidParam as error:
            _complain(str(error))
            return 2
        except BrokenPipeError:
            pass  # the reader has closed the pipe (`| head`)
        except OSError as error:
            _complain(f"{error.filename or 'input'}: {error.strerror}. Name a file that you may read.")
        return 1

    return run
