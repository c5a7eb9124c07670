"""nginx in front of this service and Feldera's API server, configured from Ingresses as ingress-nginx does it.

With `use-regex` on one Ingress of a host, each path of the host becomes `location ~* "^path"`, the longest one first.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support import needs
from support.service import wait_until

Ingress = Mapping[str, Any]
USE_REGEX = "nginx.ingress.kubernetes.io/use-regex"
BUFFERING = "nginx.ingress.kubernetes.io/proxy-buffering"

CONFIGURATION = """\
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""


def make_ingress_of_feldera(host: str) -> Ingress:
    """Its own: everything."""
    backend = {"service": {"name": "feldera-api-server", "port": {"number": 8080}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {"metadata": {}, "spec": {"rules": [{"host": host, "http": {"paths": [path]}}]}}


def build_locations(ingresses: list[Ingress], backends: Mapping[str, str]) -> str:
    """`backends`: URLs by the name of the Service."""
    notes = {k: v for ingress in ingresses for k, v in (ingress["metadata"].get("annotations") or {}).items()}
    assert notes[USE_REGEX] == "true"
    paths = [path for ingress in ingresses for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    return "\n".join(
        f'location ~* "^{path["path"]}" {{ proxy_pass {backends[path["backend"]["service"]["name"]]}; '
        f"proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_buffering {notes[BUFFERING]}; }}"
        for path in sorted(paths, key=lambda path: len(path["path"]), reverse=True)
    )


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@asynccontextmanager
async def proxying(folder: Path, ingresses: list[Ingress], backends: Mapping[str, str]) -> AsyncIterator[str]:
    """The URL of the one host."""
    port = find_port()
    text = CONFIGURATION.format(folder=folder, port=port, locations=build_locations(ingresses, backends))
    (folder / "nginx.conf").write_text(text)
    nginx = needs.find("nginx") or "nginx"
    process = await asyncio.create_subprocess_exec(nginx, "-c", str(folder / "nginx.conf"), "-p", str(folder))

    async def is_open() -> bool:
        assert process.returncode is None, "nginx has ended"
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        return False

    try:
        await wait_until(is_open)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
