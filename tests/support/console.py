"""Data for tests of the console: pipelines in all states, good and bad profiles, and hostile names."""

from __future__ import annotations

import functools
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from samply_operator import profiles
from samply_operator.control.messages import OrdinalState, PipelineState
from samply_operator.model.manifest import Quality, RecordedTarget
from samply_operator.model.profile import Failure
from samply_operator.profiles.analysis import frame_tree
from support import profile_maker
from support.profile_maker import Sample
from support.service import Service

DATA = Path(__file__).parents[1] / "data" / "profiles"
HOSTILE = "</title><script>document.title='bitten'</script><img src=x onerror=alert(1)>\x1b\u202e"
LONG = "very::long::" * 800 + "name"

ENGINE = (
    ("pipeline::main", "step_circuit", "join", "hash_lookup", "memcmp_avx2"),
    ("pipeline::main", "step_circuit", "join", "hash_lookup"),
    ("pipeline::main", "step_circuit", "join", "cursor_step_key"),
    ("pipeline::main", "step_circuit", "aggregate", "merge_batches", "compare_rows"),
    ("pipeline::main", "step_circuit", "aggregate", "fold"),
    ("pipeline::main", "step_circuit", "distinct", "merge_batches"),
    ("pipeline::main", "io::read_input", "parse_json", "read_number"),
    ("pipeline::main", "io::read_input", "parse_json", "read_string", "utf8_check"),
    ("pipeline::main", "io::read_input", "decompress"),
    ("pipeline::main", "io::write_output", "serialize_row", "0x7f31a2c0"),
    ("pipeline::main", "step_circuit", "join", "allocate", "mi_malloc"),
    ("pipeline::main", "compact_trace", "merge_batches", "copy_rows"),
)
LIBS = ("app", "libc.so.6", "libmimalloc.so", "libz.so.1")
LIB_OF = {
    "memcmp_avx2": "libc.so.6",
    "utf8_check": "libc.so.6",
    "copy_rows": "libc.so.6",
    "allocate": "libmimalloc.so",
    "mi_malloc": "libmimalloc.so",
    "decompress": "libz.so.1",
}
THREAD_NAMES = ("dbsp-worker-0", "dbsp-worker-1", "dbsp-worker-2", "dbsp-worker-3", "compactor", "http-input")
WEIGHTS = (24, 16, 9, 9, 5, 4, 8, 5, 4, 2, 6, 8)


@functools.cache
def bake_demo() -> bytes:
    """A real recording, with its names."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "baked.json.gz"
        label = profiles.Label("orders ordinal 0")
        profiles.bake(DATA / "demo-v55.json.gz", DATA / "demo-v55.syms.json", path, label=label)
        return path.read_bytes()


@functools.cache
def make_engine(seed: int = 1, *, threads: int = 6, samples: int = 2500, heavier: str = "") -> bytes:
    """A pipeline at work; `heavier`: the function that takes twice its share."""
    chance = random.Random(seed)
    weights = [weight * (2 if heavier in path else 1) for path, weight in zip(ENGINE, WEIGHTS, strict=True)]
    lists = []
    for number in range(threads):
        found: list[Sample] = []
        while len(found) < samples // (1 + number):
            path = chance.choices(ENGINE, weights)[0]
            found += [Sample(path, cpu_us=chance.randint(700, 1000))] * chance.randint(1, 6)
        lists.append(found)
    document = profile_maker.build(lists)
    for thread, name in zip(document["threads"], THREAD_NAMES, strict=False):
        thread["name"] = name
    _put_libs(document)
    return _save(document)


def _put_libs(document: profile_maker.Document) -> None:
    """What isn't the pipeline's own code lies in libraries."""
    document["libs"] = [{**document["libs"][0], "name": name, "breakpadId": f"A{at}"} for at, name in enumerate(LIBS)]
    count = len(LIBS)
    for thread in document["threads"]:
        lib_of = [LIBS.index(LIB_OF.get(name, LIBS[0])) for name in thread["stringArray"]]
        thread["resourceTable"] = {
            "length": count,
            "lib": list(range(count)),
            "name": [None] * count,
            "host": [None] * count,
            "type": [1] * count,
        }
        thread["funcTable"]["resource"] = lib_of


def make_hostile() -> bytes:
    rows = [Sample((HOSTILE, "inner", LONG))] * 30 + [Sample((HOSTILE, "\u202egnorw\u202c", "مرحبا"))] * 20
    document = profile_maker.build([rows])
    document["threads"][0]["name"] = HOSTILE
    return _save(document)


def make_wide(frames: int) -> bytes:
    """A profile with about so many frames."""
    chance = random.Random(7)
    paths = [
        ("main", *(f"f{chance.randrange(40)}_{depth}" for depth in range(chance.randint(3, 30))))
        for _ in range(frames // 14)
    ]
    return _save(
        profile_maker.build([[Sample(path) for path in paths for _ in range(1 + int(chance.expovariate(0.7)))]])
    )


def _save(document: profile_maker.Document) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return profile_maker.save(document, Path(folder) / "p.json.gz").read_bytes()


def make_time(secs_ago: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=secs_ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def find_key(name: str, lib: str = "app") -> str:
    return frame_tree.find_key(name, lib)


def put_good(service: Service, number: int, data: bytes, *, secs_ago: float = 300, **changes: object) -> None:
    facts = {
        "finished_at": make_time(secs_ago),
        "started_at": make_time(secs_ago + 31),
        "requested_at": make_time(secs_ago + 33),
        "duration_secs": 30,
        "rate_hz": 1000,
        "requested_by": "Kubernetes/system:serviceaccount:feldera:ana",
        "target": RecordedTarget(pod="orders-0", container="pipeline", node="node-a", mode="InPlace"),
        "quality": Quality(
            samples=6133, threads=6, coverage=0.992, cpu_secs=5.2, lost_events=0, unresolved_percent=1.8
        ),
    }
    service.put(number, data, **{**facts, **changes})


def put_failed(service: Service, number: int, *, secs_ago: float = 900, **changes: object) -> None:
    failure = Failure(
        "PerfDenied",
        "perf_event_open was refused: the container has no PERFMON.",
        "Add the capability PERFMON to the pipeline's container, or use mode Ephemeral.",
        "samply 0.13.1\nrecording pid 1 …\nerror: perf_event_open failed: EPERM (Operation not permitted)\n",
    )
    put_good(service, number, None, secs_ago=secs_ago, failure=failure, quality=Quality(), **changes)  # type: ignore[arg-type]


def make_pipeline(name: str, *, namespace: str = "feldera", running: int = 1, stopped: int = 0) -> PipelineState:
    ordinals = [
        OrdinalState(n, f"{name}-{n}", n < running, node=f"node-{'abc'[n % 3]}" if n < running else "")
        for n in range(running + stopped)
    ]
    return PipelineState(namespace, name, tuple(ordinals))


def fill(service: Service) -> None:
    """A morning in a cluster."""
    service.operator.pipelines = (
        make_pipeline("orders", running=3),
        make_pipeline("fraud-detection", running=1),
        make_pipeline("clickstream-sessions", running=8),
        make_pipeline("inventory", running=0, stopped=2),
        make_pipeline("pricing", namespace="staging", running=1),
        make_pipeline("recommendations", namespace="staging", running=2, stopped=1),
    )
    # Oldest first, as they came to be.
    put_good(service, 6, make_engine(4), secs_ago=260_000, pipeline="pricing", namespace="staging")
    put_good(service, 1, make_engine(1), secs_ago=86_500)
    put_good(
        service,
        5,
        bake_demo(),
        secs_ago=50_000,
        pipeline="fraud-detection",
        quality=Quality(
            samples=465,
            threads=3,
            coverage=0.71,
            cpu_secs=0.93,
            lost_events=3,
            unresolved_percent=22.4,
            unresolved_by_library={"libc.so.6": 96.0},
            throttled_secs=2.4,
        ),
    )
    idle = Quality(samples=41, coverage=1.0, cpu_secs=0.04, verdict="Idle")
    put_good(service, 7, make_engine(5), secs_ago=9_000, pipeline="inventory", quality=idle)
    put_failed(service, 4, secs_ago=7_600)
    put_good(service, 3, make_engine(3), secs_ago=3_700, ordinal=1)
    put_good(service, 2, make_engine(2, heavier="join"), secs_ago=240)
