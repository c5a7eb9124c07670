"""Debian's Prometheus and Alertmanager on this machine, with a pipeline's metric that a test sets.

with Alerting(folder, webhook_url, token) as alerting:
    alerting.exporter.step_secs = 9.0
"""

from __future__ import annotations

import http.server
import shutil
import socket
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from support.needs import need

# As Debian calls it, or as it calls itself.
ALERTMANAGER = "alertmanager" if shutil.which("alertmanager") else "prometheus-alertmanager"
PROGRAMS = ("prometheus", ALERTMANAGER)
THRESHOLD_SECS = 1.0
ALERT = "SlowStep"


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Exporter:
    """Serves one gauge, the time of a pipeline's last step."""

    def __init__(self, pipeline: str) -> None:
        self.step_secs = 0.01
        exporter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = f'step_seconds{{pipeline="{pipeline}"}} {exporter.step_secs}\n'
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments: Any) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Alerting:
    """An alert goes to the webhook as soon as the pipeline's last step took more than THRESHOLD_SECS."""

    def __init__(self, folder: Path, pipeline: str, webhook_url: str, token: str) -> None:
        need(*PROGRAMS)
        self.exporter = Exporter(pipeline)
        self.folder = folder
        self._webhook_url = webhook_url
        self._token = token
        self._stack = ExitStack()
        self.prometheus_url = f"http://127.0.0.1:{find_port()}"

    def __enter__(self) -> Self:
        self._stack.enter_context(self.exporter)
        (self.folder / "token").write_text(self._token)
        address = f"127.0.0.1:{find_port()}"
        self._run(
            ALERTMANAGER,
            self._write("alertmanager.yml", self._build_route()),
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
            f"--storage.path={self.folder / 'alertmanager'}",
        )
        self._run(
            "prometheus",
            self._write("prometheus.yml", self._build_rules(address)),
            f"--web.listen-address={self.prometheus_url.removeprefix('http://')}",
            f"--storage.tsdb.path={self.folder / 'prometheus'}",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read_log(self) -> str:
        return "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))

    def _write(self, name: str, body: Any) -> str:
        path = self.folder / name
        path.write_text(yaml.safe_dump(body))
        return f"--config.file={path}"

    def _build_route(self) -> Any:
        authorization = {"credentials_file": str(self.folder / "token")}
        webhook = {"url": self._webhook_url, "send_resolved": False, "http_config": {"authorization": authorization}}
        route = {"receiver": "samply", "group_wait": "0s", "group_interval": "1s", "repeat_interval": "2s"}
        return {"route": route, "receivers": [{"name": "samply", "webhook_configs": [webhook]}]}

    def _build_rules(self, alertmanager: str) -> Any:
        rule = {"alert": ALERT, "expr": f"step_seconds > {THRESHOLD_SECS}"}
        self._write("rules.yml", {"groups": [{"name": "pipelines", "rules": [rule]}]})
        return {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "pipeline", "static_configs": [{"targets": [f"127.0.0.1:{self.exporter.port}"]}]}
            ],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        }

    def _run(self, *command: str) -> None:
        log = self._stack.enter_context((self.folder / f"{command[0]}.log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder)
        self._stack.callback(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=20)
