"""Measures a bucket on this machine: uploads compared to rclone and `aws s3 cp`, downloads through the service compared
to signed URLs, and the time until a start knows many profiles. Prints a Markdown report.

`.venv/bin/python bench/storage/run.py` needs versitygw (tests/buckets/install all) and curl; rclone and aws are
measured if they are installed. `--rounds 1` to try it, `--only start` for one part.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "tests")]

from samply_operator.errors import StoreUnavailable  # noqa: E402 - after the path
from samply_operator.model.manifest import Manifest, StoredFile  # noqa: E402
from samply_operator.store import documents  # noqa: E402
from samply_operator.store.bucket import names  # noqa: E402
from samply_operator.store.bucket.catalog import Catalog  # noqa: E402
from samply_operator.store.bucket.objects import Objects  # noqa: E402
from samply_operator.store.bucket.reader import BucketReader  # noqa: E402
from samply_operator.store.index import Index  # noqa: E402
from samply_operator.store.volume import Volume  # noqa: E402
from support import buckets  # noqa: E402
from support.buckets import Server  # noqa: E402
from support.service import make_id, serving  # noqa: E402

MB = 1_000_000
UPLOAD_BYTES, DOWNLOAD_BYTES = 300 * MB, 100 * MB
WRITERS = 8
TRIES = 5
PARTS = ("upload", "download", "start")
THROTTLE_MB = 100
DOWNLOADS = (
    ("HTTP", False, False, 0),
    ("HTTPS", True, False, 0),
    (f"HTTPS, {THROTTLE_MB} MB/s for each connection", True, True, 0),
    ("HTTPS, after the first one", True, False, 4 * DOWNLOAD_BYTES),
)
"""Title, TLS of the bucket, a limit for each connection, size of the service's cache."""


def interleave(rounds: int, works: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Each work once per round, one after the other, so that a busy machine is busy for all of them."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(work())
    return found


def time_it(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def measure_uploads(server: Server, rounds: int, folder: Path) -> dict[str, list[float]]:
    path = folder / "big"
    with path.open("wb") as file:
        for _ in range(UPLOAD_BYTES // MB):
            file.write(os.urandom(MB))
    facts = hashlib.sha256(path.read_bytes()).hexdigest()
    objects, number = server.open("upload"), iter(range(10_000))
    environment = {
        "PATH": os.environ["PATH"],
        "RCLONE_CONFIG_S3_TYPE": "s3", "RCLONE_CONFIG_S3_PROVIDER": "Other",
        "RCLONE_CONFIG_S3_ENDPOINT": server.endpoint, "RCLONE_CONFIG_S3_FORCE_PATH_STYLE": "true",
        "RCLONE_CONFIG_S3_ACCESS_KEY_ID": buckets.KEYS["aws_access_key_id"],
        "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": buckets.KEYS["aws_secret_access_key"],
        "RCLONE_CONFIG_S3_REGION": "us-east-1",
    }  # fmt: skip

    def by_rclone() -> None:
        target = f"s3:{buckets.NAME}/rclone/{next(number)}"
        command = ["rclone", "copyto", "--s3-no-check-bucket", "--config", os.devnull, str(path), target]
        subprocess.run(command, check=True, env=environment, capture_output=True)

    def by_aws() -> None:
        target = f"s3://{buckets.NAME}/aws/{next(number)}"
        command = ["aws", "s3", "cp", "--quiet", "--endpoint-url", server.endpoint, str(path), target]
        keys = {name.upper(): value for name, value in buckets.KEYS.items()}
        subprocess.run(command, check=True, env=os.environ | keys | {"AWS_REGION": "us-east-1"}, capture_output=True)

    def by_us() -> None:
        objects.upload(f"files/{next(number)}", path, {"Content-Type": "application/gzip"})

    def by_us_read_back() -> None:
        name = f"files/{next(number)}"
        objects.upload(name, path, {"Content-Type": "application/gzip"})
        assert objects.hash(name) == (UPLOAD_BYTES, facts)

    works: dict[str, Callable[[], float]] = {
        "samply-operator": lambda: time_it(by_us),
        "samply-operator, read back": lambda: time_it(by_us_read_back),
    }
    if shutil.which("rclone"):
        works["rclone copyto"] = lambda: time_it(by_rclone)
    if shutil.which("aws"):
        works["aws s3 cp"] = lambda: time_it(by_aws)
    return interleave(rounds, works)


@contextmanager
def throttled(server: Server) -> Iterator[Server]:
    """The same behind a proxy that limits each connection."""
    port, behind = buckets.find_port(), server.endpoint.rpartition(":")[2]
    with buckets.run([sys.executable, str(HERE / "throttle.py"), str(port), behind, str(THROTTLE_MB)], port):
        yield replace(server, endpoint=server.endpoint.removesuffix(behind) + str(port))


async def fetch(url: str, token: str = "") -> float:
    """By curl, a process of its own."""
    command = ["curl", "-sS", "--insecure", "-o", os.devnull, "-w", "%{time_total} %{size_download} %{http_code}", url]
    headers = ["-H", f"Authorization: {token}"] if token else []
    process = await asyncio.create_subprocess_exec(*command, *headers, stdout=subprocess.PIPE)
    secs, size, status = (await process.communicate())[0].decode().split()
    assert (size, status) == (str(DOWNLOAD_BYTES), "200")
    return float(secs)


def read_cpu_secs(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_own_cpu_secs(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def measure_peak() -> int:
    """Largest resident memory of this process since `forget_peak`, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def forget_peak() -> int:
    """The resident memory now."""
    Path("/proc/self/clear_refs").write_text("5")
    return measure_peak()


async def measure_downloads(server: Server, rounds: int, folder: Path, *, cache_bytes: int) -> dict[str, list[float]]:
    """The service is in this process, the client and the server are not. In each second round the order is reversed."""
    buckets.write_credentials(folder, buckets.KEYS)
    if server.authorities is not None:
        shutil.copy(server.authorities, folder / "ca.crt")
    storage = buckets.build_storage(server, cache_bytes=cache_bytes)
    async with serving(folder, storage=storage) as service:
        manifest = service.put(1, os.urandom(DOWNLOAD_BYTES))
        await service.settle()
        assert manifest.file is not None
        objects = Objects(buckets.connect(server, storage))
        signed = objects.sign(names.build_file(manifest.id, manifest.file.sha256), 3600)
        ours = f"http://127.0.0.1:{service.port}/v0/pipelines/orders/samply_profiles/{make_id(1)}/profile"
        token = service.session.headers["Authorization"]
        await fetch(ours, token)
        before = forget_peak()
        name = "the service's cache" if cache_bytes else "through the service"
        found: dict[str, list[float]] = {"signed URL": [], name: []}
        clocks = {
            "the bucket": lambda: read_cpu_secs(server.process.pid),
            "the service": lambda: read_own_cpu_secs(resource.RUSAGE_SELF),
            "the client": lambda: read_own_cpu_secs(resource.RUSAGE_CHILDREN),
        }
        spent = {key: dict.fromkeys(clocks, 0.0) for key in found}
        for number in range(rounds):
            works = [("signed URL", signed, ""), (name, ours, token)]
            for key, url, sent in works if number % 2 == 0 else reversed(works):
                before_secs = {who: read() for who, read in clocks.items()}
                found[key].append(await fetch(url, sent))
                for who, read in clocks.items():
                    spent[key][who] += read() - before_secs[who]
        for key, secs in spent.items():
            parts = ", ".join(f"{who} {total / rounds:.3f} s" for who, total in secs.items())
            print(f"CPU time for each download, {key}: {parts}.")
        print(f"Memory of the service: {before} MiB before, {measure_peak()} MiB at most.\n")
        return found


def report_downloads(folder: Path, rounds: int) -> None:
    for number, (title, is_secure, is_throttled, cache_bytes) in enumerate(DOWNLOADS):
        with ExitStack() as stack:
            server = stack.enter_context(buckets.run_versitygw(folder / f"server-{number}", is_secure=is_secure))
            server = stack.enter_context(throttled(server)) if is_throttled else server
            work = measure_downloads(server, rounds, folder / f"d-{number}", cache_bytes=cache_bytes)
            print(render(f"GET of 100 MB, {title}", asyncio.run(work), DOWNLOAD_BYTES), flush=True)


def fill(objects: Objects, count: int) -> None:
    """Manifests as a year of recordings leaves them."""

    def write(number: int) -> None:
        profile_id = f"{hashlib.sha256(str(number).encode()).hexdigest()[:8]}-0000-4000-8000-{number:012x}"
        manifest = Manifest(
            id=profile_id, namespace=f"team-{number % 20}", name=f"profile-{number}", pipeline=f"p-{number % 500}",
            ordinal=number % 4, outcome="Succeeded", requested_at="2026-01-31T09:30:00.000Z",
            finished_at=f"2026-01-{1 + number % 28:02}T09:30:31.000Z", file=StoredFile(1000, f"{number:064x}"),
        )  # fmt: skip
        for left in reversed(range(TRIES)):
            try:
                objects.write(names.build_manifest(profile_id), documents.encode(manifest))
                return
            except StoreUnavailable:  # a busy machine is slow to answer
                if not left:
                    raise

    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in pool.map(write, range(count)):
            pass


def measure_start(objects: Objects, count: int, rounds: int, folder: Path) -> dict[str, list[float]]:
    fill(objects, count)
    Catalog(objects).renew_cache()
    spool = Volume(folder / "spool")
    spool.prepare()

    def start() -> None:
        index = Index()
        assert index.refresh(BucketReader(spool, objects)) == ()
        assert len(index.catalog.by_id) == count

    def list_only() -> None:
        assert len(Catalog(objects).list()) == count

    return interleave(rounds, {"list alone": lambda: time_it(list_only), "a start": lambda: time_it(start)})


def render(title: str, found: dict[str, list[float]], size_bytes: int = 0) -> str:
    rows = [f"### {title}", "", "| | median | ratio to the first | rounds |", "| --- | --- | --- | --- |"]
    for name, secs in found.items():
        median = statistics.median(secs)
        rate = f" ({size_bytes / MB / median:.0f} MB/s)" if size_bytes else ""
        ratio = statistics.median(next(iter(found.values()))) / median
        rows.append(f"| {name} | {median:.2f} s{rate} | {ratio:.2f} | {', '.join(f'{each:.2f}' for each in secs)} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--only", choices=PARTS, action="append")
    options = parser.parse_args()
    parts = options.only or PARTS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="so-")))
        server = stack.enter_context(buckets.run_versitygw(folder / "server"))
        print(f"Load at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs.\n")
        if "upload" in parts:
            print(render("Upload of 300 MB", measure_uploads(server, options.rounds, folder), UPLOAD_BYTES))
        if "download" in parts:
            report_downloads(folder, options.rounds)
        if "start" in parts:
            starts = measure_start(server.open("many"), options.profiles, options.rounds, folder)
            print(render(f"{options.profiles} profiles", starts))
        print(f"Largest memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB.")


if __name__ == "__main__":
    main()
