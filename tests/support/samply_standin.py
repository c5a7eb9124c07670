"""A stand-in for samply 0.13.1 that behaves the same towards its caller, without perf events. Run as `samply record …`.

It stops its target while it attaches; says on stderr when it records; on exactly one SIGINT writes profile and sidecar
some time later; on a second one exits at once without a file; ignores SIGTERM; ends by itself when its target is gone,
and then a SIGINT kills it before it has written. Starts and signals are noted in `starts` and `signals` beside it.
The file `behaviour` beside it (JSON) changes that; see DEFAULTS.

Its help lists the options of the real ones on Linux, by their sources: 0.13.1; Feldera's fork 0.13.2 and upstream's
main (August 2026), which have the same. Layout and order are clap's; what options are for is left out, save where
another option is named there, as the real texts do it.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFAULTS = {
    "version": "samply 0.13.1",
    "symbol_flag": "--unstable-presymbolicate",
    "refuses": "",  # says this on stderr and exits with 1 before it attaches
    "attach_secs": 0.05,  # the target is stopped this long; negative: for ever, and it never says that it records
    "write_secs": 0.3,  # from the SIGINT to the file; negative: it never writes
    "lost": 0,
    "memory_mib": 0,  # takes this much while it records
    "no_file": False,
    "profile": "",  # files that it copies; empty: a few bytes
    "sidecar": "",
}
HEAD = """\
Record a profile and display it

Usage: samply record [OPTIONS] <COMMAND>...

Arguments:
  [COMMAND]...

Options:
"""
BEFORE = ("-r, --rate <RATE>", "-d, --duration <DURATION>", "--iteration-count <ITERATION_COUNT>")
NEWER = ("-i, --ignore-exit-code",)
CREATION = (
    "--profile-name <PROFILE_NAME>",
    "--main-thread-only",
    "--reuse-threads",
    "--fold-recursive-prefix",
    "--unlink-aux-files",
    "--per-cpu-threads",
    "--jit-markers",
    "--cswitch-markers",
    "--include-args[=<INCLUDE_ARGS>]\n          It names --reuse-threads",
)
CORECLR = ("--coreclr[=<FLAG>...]\n          It implies --unlink-aux-files",)
AFTER = (
    "-s, --save-only",
    "-o, --output <OUTPUT>",
    "-n, --no-open",
    "--address <ADDRESS>",
    "-P, --port <PORT>",
    "-v, --verbose",
    "--symbol-dir <SYMBOL_DIR>",
    "--windows-symbol-server <WINDOWS_SYMBOL_SERVER>",
    "--windows-symbol-cache <WINDOWS_SYMBOL_CACHE>",
    "--breakpad-symbol-server <BREAKPAD_SYMBOL_SERVER>",
    "--breakpad-symbol-dir <BREAKPAD_SYMBOL_DIR>",
    "--breakpad-symbol-cache <BREAKPAD_SYMBOL_CACHE>",
    "--simpleperf-binary-cache <SIMPLEPERF_BINARY_CACHE>",
    "-p, --pid <PID>",
    "-a, --all",
)
LAST = ("--gfx", "--browsers", "-h, --help")
SWITCHES = {"--save-only", "--unstable-presymbolicate", "--presymbolicate"}


def build_help(symbol_flag: str) -> str:
    """The output of `samply record --help`; newer versions are recognized by their flag."""
    is_newer = symbol_flag == "--presymbolicate"
    options = [*BEFORE, *(NEWER if is_newer else ()), *CREATION, *filter(None, [symbol_flag])]
    options += [*CORECLR, *AFTER, *LAST] if is_newer else [*AFTER, *CORECLR, *LAST]
    lines = (f"  {option}" if option[1] != "-" else f"      {option}" for option in options)
    return HEAD + "\n\n".join(lines)


def refuse(word: str) -> SystemExit:
    print(f"error: unexpected argument '{word}' found", file=sys.stderr)
    return SystemExit(2)


class Samply:
    def __init__(self, behaviour: dict[str, object], arguments: list[str]) -> None:
        self.behaviour = DEFAULTS | behaviour
        self.given = dict(self.parse(arguments))
        self.pid = int(self.given["-p"])
        self.is_told = 0

    def parse(self, arguments: list[str]):  # type: ignore[no-untyped-def]
        rest = iter(arguments)
        for word in rest:
            if word in SWITCHES:
                if "symbolicate" in word and word != self.behaviour["symbol_flag"]:
                    raise refuse(word)
                yield word, ""
            elif word in {"-p", "-o", "-r"}:
                yield word, next(rest)
            else:
                raise refuse(word)

    def note(self, number: int, _: object) -> None:
        with (HERE / "signals").open("a") as file:
            file.write(f"{self.given['-o']} {signal.Signals(number).name}\n")
        if number == signal.SIGINT:
            self.is_told += 1
            if self.is_told > 1:
                os._exit(1)

    def has_target(self) -> bool:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
        except OSError:
            return False

    def attach(self) -> None:
        if self.behaviour["refuses"]:
            sys.exit(str(self.behaviour["refuses"]))
        if not self.has_target():
            sys.exit("No such process (os error 3)")
        os.kill(self.pid, signal.SIGSTOP)
        if self.behaviour["attach_secs"] < 0:
            time.sleep(600)
        time.sleep(self.behaviour["attach_secs"])
        os.kill(self.pid, signal.SIGCONT)

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self.note)
        with (HERE / "starts").open("a") as file:
            file.write(f"{self.given['-o']}\n")
        self.attach()
        signal.signal(signal.SIGINT, self.note)
        print(f"Recording process with PID {self.pid} until Ctrl+C...", file=sys.stderr, flush=True)
        try:
            ballast = b"x" * (self.behaviour["memory_mib"] * 1024 * 1024)
        except MemoryError:
            print("memory allocation of 1048576 bytes failed", file=sys.stderr, flush=True)
            os.abort()
        while not self.is_told and self.has_target():
            time.sleep(0.02)
        if not self.is_told:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self.behaviour["write_secs"] < 0:
            time.sleep(600)
        time.sleep(self.behaviour["write_secs"])
        del ballast
        self.write()

    def write(self) -> None:
        if self.behaviour["lost"]:
            print(f"Lost {self.behaviour['lost']} events.", file=sys.stderr)
        if self.behaviour["no_file"]:
            return
        out = Path(self.given["-o"])
        self.put("profile", out)
        if self.behaviour["symbol_flag"] in self.given and "unstable" in self.behaviour["symbol_flag"]:
            self.put("sidecar", out.with_suffix(".syms.json"))

    def put(self, what: str, path: Path) -> None:
        if self.behaviour[what]:
            shutil.copyfile(str(self.behaviour[what]), path)
        else:
            path.write_text(f"the {what} of {self.pid}\n")


def main() -> None:
    file = HERE / "behaviour"
    behaviour = json.loads(file.read_text()) if file.exists() else {}
    known = DEFAULTS | behaviour
    match sys.argv[1:]:
        case ["--version"]:
            print(known["version"])
        case ["record", "--help"]:
            print(build_help(known["symbol_flag"]))
        case ["record", *arguments]:
            Samply(behaviour, arguments).run()
        case _:
            sys.exit("error: unrecognized subcommand")


main()
