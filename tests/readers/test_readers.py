"""The output formats, read by the programs they are for: Firefox Profiler's own code, Google's pprof, speedscope.

Run `tests/readers/install` once. A reader that isn't there is skipped with that reason.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from samply_operator import profiles
from samply_operator.profiles.analysis.selection import Measure
from samply_operator.profiles.analysis.summary import FunctionCost
from samply_operator.profiles.output import pprof, speedscope
from support import profile_maker, profile_versions, slab_maker

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "profiles"
MODULES = ROOT / "build" / "out" / "readers" / "node_modules"
PROFILER_CLI = MODULES / "@firefox-devtools" / "profiler-cli" / "dist" / "profiler-cli.js"
SPEEDSCOPE = MODULES / "speedscope" / "dist" / "release"
VERSIONS = [49, 55, 57, 58, 60, 66, 70, 71, 74, 75]

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not PROFILER_CLI.exists(), reason="run tests/readers/install (needs node)"
)
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="needs Go, which brings pprof along")
needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None or not SPEEDSCOPE.exists(),
    reason="run tests/readers/install, and have chromium installed",
)


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("readers") / "baked.json.gz"
    profiles.bake(DATA / "demo-v55.json.gz", DATA / "demo-v55.syms.json", out, label=profiles.Label("orders"))
    return out


def expect(path: Path, thread: str) -> dict[str, FunctionCost]:
    summary = profiles.top(profiles.read(path), limit=1000, thread=thread)
    return {cost.name: cost for cost in summary.all_threads.by_total}


class Viewer:
    """Firefox Profiler's command line: the viewer's own reading code, without the browser.

    Its daemon is started here, not by its `load`, which gives up after half a second.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        # Without symbols from the network: what is read is what is in the file.
        self.environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PROFILER_CLI_NO_SYMBOLICATE": "1"}
        self.daemon: subprocess.Popen[bytes] | None = None

    def load(self, path: Path) -> None:
        command = ["node", str(PROFILER_CLI), "--daemon", str(path), "--session", "test"]
        self.daemon = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # A question asked too early makes the client tidy the session away: ask when the log says that it listens.
        log = self.home / ".profiler-cli" / "test.log"
        self.wait(lambda: log.exists() and "Daemon ready" in log.read_text(), path)
        self.wait(lambda: self.run("profile", "info").returncode == 0, path)

    def wait(self, is_done: Callable[[], bool], path: Path) -> None:
        deadline = time.monotonic() + 90
        while not is_done():
            assert self.daemon is not None
            assert self.daemon.poll() is None, f"profiler-cli can't load {path.name}"
            assert time.monotonic() < deadline, f"profiler-cli doesn't answer for {path.name}"

    def ask(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["node", str(PROFILER_CLI), *arguments, "--session", "test"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def close(self) -> None:
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    # Its socket lies under HOME, and a socket's path may not be long: not under pytest's own folders.
    with tempfile.TemporaryDirectory() as home:
        each = Viewer(Path(home))
        yield each
        each.close()


@needs_node
@pytest.mark.parametrize("version", VERSIONS)
def test_firefox_profiler_counts_the_same(version: int, baked: Path, tmp_path: Path, viewer: Viewer) -> None:
    document = profile_versions.rewrite(json.loads(gzip.decompress(baked.read_bytes())), version)
    path = profile_maker.save(document, tmp_path / "p.json.gz")
    viewer.load(path)
    threads = viewer.ask("thread", "list")["threads"]
    assert {thread["name"] for thread in threads} == {"demo", "worker-0", "worker-1"}
    for thread in threads:
        # With idle samples: the viewer counts by samples then, whatever their CPU time was.
        handle = thread["threadHandle"]
        found = viewer.ask("thread", "functions", "--thread", handle, "--limit", "0", "--include-idle")
        expected = expect(path, thread["name"])
        assert {each["name"]: (each["selfSamples"], each["totalSamples"]) for each in found["functions"]} == {
            name: (cost.self_weight, cost.total_weight) for name, cost in expected.items()
        }


@needs_node
def test_firefox_profiler_reads_the_slabs_that_the_tests_make(baked: Path, tmp_path: Path, viewer: Viewer) -> None:
    """So what is read here is JsonSlabs."""
    document = profile_versions.rewrite(json.loads(gzip.decompress(baked.read_bytes())), 70)
    path = tmp_path / "p.jslb"
    path.write_bytes(slab_maker.make(document, columns=slab_maker.BINARY))
    viewer.load(path)
    for thread in viewer.ask("thread", "list")["threads"]:
        found = viewer.ask("thread", "functions", "--thread", thread["threadHandle"], "--limit", "0", "--include-idle")
        assert {each["name"]: each["totalSamples"] for each in found["functions"]} == {
            name: cost.total_weight for name, cost in expect(path, thread["name"]).items()
        }


@needs_node
def test_firefox_profiler_reads_a_real_version_49(tmp_path: Path, viewer: Viewer) -> None:
    path = tmp_path / "baked.json.gz"
    profiles.bake(DATA / "demo-v49.json.gz", DATA / "demo-v49.syms.json", path, label=profiles.Label("orders"))
    viewer.load(path)
    found = viewer.ask("thread", "functions", "--thread", "t-1", "--limit", "0", "--include-idle")
    expected = expect(path, found["friendlyThreadName"])
    assert {each["name"]: each["totalSamples"] for each in found["functions"]} == {
        name: cost.total_weight for name, cost in expected.items()
    }


@needs_node
@pytest.mark.parametrize("version", [60, 66, 70, 71, 75])
def test_firefox_profiler_reads_names_that_were_put_into_shared_tables(
    version: int, tmp_path: Path, viewer: Viewer
) -> None:
    """Inlined functions too: all threads' samples were given new stacks."""
    raw = profile_versions.rewrite(json.loads(gzip.decompress((DATA / "demo-v55.json.gz").read_bytes())), version)
    path = tmp_path / "baked.json.gz"
    profiles.bake(
        profile_maker.save(raw, tmp_path / "raw.json.gz"), DATA / "demo-v55.syms.json", path,
        label=profiles.Label("orders"),
    )  # fmt: skip
    viewer.load(path)
    for thread in viewer.ask("thread", "list")["threads"]:
        handle = thread["threadHandle"]
        found = viewer.ask("thread", "functions", "--thread", handle, "--limit", "0", "--include-idle")
        expected = expect(path, thread["name"])
        assert {each["name"]: each["totalSamples"] for each in found["functions"]} == {
            name: cost.total_weight for name, cost in expected.items()
        }
        assert thread["name"] == "demo" or "loop_body" in expected


@needs_node
def test_firefox_profiler_shows_the_title(baked: Path, viewer: Viewer) -> None:
    viewer.load(baked)
    assert "Name: orders" in viewer.run("profile", "info").stdout


@needs_go
def test_pprof_counts_the_same(baked: Path, tmp_path: Path) -> None:
    path = tmp_path / "cpu.pb.gz"
    path.write_bytes(b"".join(pprof.convert(profiles.read(baked))))
    expected = {
        cost.name: (int(cost.self_weight), int(cost.total_weight))
        for cost in profiles.top(profiles.read(baked), limit=1000).all_threads.by_total
    }
    assert top_of_pprof(path, "-sample_index=samples") == expected


@needs_go
def test_pprof_separates_threads(baked: Path, tmp_path: Path) -> None:
    path = tmp_path / "cpu.pb.gz"
    path.write_bytes(b"".join(pprof.convert(profiles.read(baked))))
    expected = {
        name: (int(cost.self_weight), int(cost.total_weight)) for name, cost in expect(baked, "worker-1").items()
    }
    assert top_of_pprof(path, "-sample_index=samples", "-tagfocus=thread=worker-1") == expected


@needs_go
@pytest.mark.parametrize("name", ["a b", "<b>&\"'", "zwölf", "dbsp::join<K, V>::{{closure}}"])
def test_pprof_reads_names_of_all_kinds(name: str, tmp_path: Path) -> None:
    document = profile_maker.build([[profile_maker.Sample((name,))]])
    path = tmp_path / "cpu.pb.gz"
    path.write_bytes(b"".join(pprof.convert(profiles.read(profile_maker.save(document, tmp_path / "p.json.gz")))))
    raw = run_pprof("-raw", str(path))
    assert name in raw


def top_of_pprof(path: Path, *options: str) -> dict[str, tuple[int, int]]:
    table = run_pprof("-top", "-nodecount=1000", "-nodefraction=0", "-edgefraction=0", *options, str(path))
    rows = re.findall(r"^\s*(\d+)\s+\S+%\s+\S+%\s+(\d+)\s+\S+%\s+(.+)$", table, flags=re.MULTILINE)
    return {name.removesuffix(" (inline)"): (int(own), int(total)) for own, total, name in rows}


def run_pprof(*arguments: str) -> str:
    done = subprocess.run(
        ["go", "tool", "pprof", "-symbolize=none", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_chromium
@pytest.mark.parametrize("measure", ["samples", "cpu"])
def test_speedscope_opens_it(measure: Measure, baked: Path, tmp_path: Path) -> None:
    """speedscope's page titles itself with the profile's name once its importer is through, and not before."""
    converted = b"".join(speedscope.convert(profiles.read(baked), measure=measure))
    assert "<title>orders - speedscope</title>" in open_in_speedscope(converted, tmp_path)


@needs_chromium
def test_speedscope_counts_the_same(baked: Path, tmp_path: Path) -> None:
    """What its page shows as "Self", thread by thread."""
    shown = read_speedscope(b"".join(speedscope.convert(profiles.read(baked))), tmp_path)
    assert {thread.split(": ")[1].split(" (")[0] for thread in shown} == {"demo", "worker-0", "worker-1"}
    for title, selves in shown.items():
        expected = expect(baked, title.split(": ")[1].split(" (")[0])
        assert selves == {name: cost.self_weight for name, cost in expected.items()}


@needs_chromium
def test_speedscope_refuses_what_is_no_profile(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    assert "<title>orders - speedscope</title>" not in open_in_speedscope(b'{"name": "orders"}', tmp_path)


@pytest.mark.skipif(not SPEEDSCOPE.exists(), reason="run tests/readers/install (needs node)")
def test_speedscope_s_own_schema_holds(baked: Path) -> None:
    import jsonschema  # noqa: PLC0415 - only here

    schema = json.loads((SPEEDSCOPE / "file-format-schema.json").read_text())
    document = json.loads(b"".join(speedscope.convert(profiles.read(baked))))
    jsonschema.validate(document, schema)


def build_address(converted: bytes, tmp_path: Path) -> str:
    """The way of speedscope's own command line: a script next to its page hands the file over."""
    script = tmp_path / "profile.js"
    encoded = base64.b64encode(converted).decode()
    script.write_text(f"speedscope.loadFileFromBase64({json.dumps('p.speedscope.json')}, {json.dumps(encoded)})")
    return f"{(SPEEDSCOPE / 'index.html').as_uri()}#localProfilePath={script}"


def read_speedscope(converted: bytes, tmp_path: Path) -> dict[str, dict[str, float]]:
    """By profile, the "Self" column of its sandwich view: computed by speedscope from what its importer read."""
    address, chromium = build_address(converted, tmp_path), shutil.which("chromium")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1240, "height": 2000})
        page.goto(address)
        page.wait_for_function("() => / - speedscope$/.test(document.title)", timeout=60_000)
        page.keyboard.press("3")
        page.wait_for_function("() => document.body.innerText.includes('Symbol Name')", timeout=30_000)
        found: dict[str, dict[str, float]] = {}
        while True:
            text: str = page.evaluate("() => document.body.innerText")
            (title, number, count) = re.findall(r"^(.+) \((\d+)/(\d+)\)$", text, re.MULTILINE)[0]
            rows = page.evaluate(
                "() => Array.from(document.querySelectorAll('tr'))"
                ".map(row => Array.from(row.querySelectorAll('td')).map(cell => cell.textContent))"
            )
            # Its list of profiles is a table too, without shares.
            costs = ((row[2], re.match(r"([\d,.]+) \(.*%\)", row[1])) for row in rows if len(row) == 3)
            found[title] = {name: float(own[1].replace(",", "")) for name, own in costs if own}
            if number == count:
                break
            page.keyboard.press("n")
            page.wait_for_function(f"() => document.body.innerText.includes('({int(number) + 1}/{count})')")
        browser.close()
    return found


def open_in_speedscope(converted: bytes, tmp_path: Path) -> str:
    """The page as it is once it is through."""
    address = build_address(converted, tmp_path)
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-unsafe-swiftshader",
            "--virtual-time-budget=20000",
            f"--user-data-dir={tmp_path / 'chromium'}",
            "--dump-dom",
            address,
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return done.stdout
