"""Images in containerd: the sandbox image made on the spot, and those handed over from Docker or buildah."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from .errors import ClusterError
from .layout import PAUSE_IMAGE, REPOSITORY, Layout, cache_folder


def import_archive(layout: Layout, archive: Path) -> None:
    command = [layout.bin / "ctr", "-a", layout.socket, "-n", "k8s.io", "images", "import", archive]
    _run([str(part) for part in command])


def export_archive(layout: Layout, archive: Path, *images: str) -> None:
    """Of images that the cluster has."""
    command = [layout.bin / "ctr", "-a", layout.socket, "-n", "k8s.io", "images", "export", archive, *images]
    _run([str(part) for part in command])


def list_images(layout: Layout) -> set[str]:
    listing = _run([str(layout.bin / "ctr"), "-a", str(layout.socket), "-n", "k8s.io", "images", "ls", "-q"])
    return set(listing.split())


def ensure_pause(layout: Layout) -> None:
    """Compile images/pause and import it as an image of one file, if containerd lacks it."""
    if PAUSE_IMAGE in list_images(layout):
        return
    with tempfile.TemporaryDirectory() as folder:
        program, archive = Path(folder) / "pause", Path(folder) / "pause.tar"
        source = REPOSITORY / "images" / "pause" / "pause.c"
        _run(["gcc", "-Os", "-static", "-s", "-Wall", "-Werror", "-o", str(program), str(source)])
        write_archive(archive, PAUSE_IMAGE, program, "/pause")
        import_archive(layout, archive)


def write_archive(archive: Path, image: str, program: Path, entrypoint: str) -> None:
    """A docker-archive with one layer that holds one program."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, entrypoint.lstrip("/"), program.read_bytes(), mode=0o755)
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [entrypoint], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, mode="w") as tar:
        _add(tar, "layer.tar", layer.getvalue())
        _add(tar, "config.json", json.dumps(config).encode())
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def has_docker() -> bool:
    """True where a Docker engine answers; its client alone is not enough."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def buildah_command() -> list[str]:
    """buildah with its storage in the cache folder, so that removing the folder removes all of it."""
    store = cache_folder() / "images"
    return ["buildah", "--root", str(store / "storage"), "--runroot", str(store / "run")]


def find_image_id(image: str) -> str:
    """The id of a built image, from Docker where it answers, from buildah's storage otherwise."""
    if has_docker():
        command = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
    else:
        command = [*buildah_command(), "inspect", "--type", "image", "--format", "{{.FromImageID}}", image]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise ClusterError(f"no image {image} here; build it first: hack/images")
    return found.stdout.strip()


def load(layout: Layout, image: str) -> bool:
    """Hand one image to containerd; False if this very one was handed over before."""
    image_id = find_image_id(image)
    mark = layout.state / "loaded" / hashlib.sha256(image.encode()).hexdigest()[:16]
    if mark.exists() and mark.read_text() == image_id and image in list_images(layout):
        return False
    with tempfile.TemporaryDirectory(dir=layout.state) as folder:
        archive = Path(folder) / "image.tar"
        if has_docker():
            _run(["docker", "save", "--output", str(archive), image])
        else:
            _run([*buildah_command(), "push", "--quiet", image, f"docker-archive:{archive}:{image}"])
        import_archive(layout, archive)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(image_id)
    return True


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command[:6])} …: {(done.stderr or done.stdout).strip()}")
    return done.stdout
