"""Requests to the provider: the encryption asked for, credentials in exchange for the pod's own token, a private
certificate authority."""

from __future__ import annotations

import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from samply_operator.errors import StoreUnavailable
from samply_operator.settings import Bucket
from samply_operator.store.bucket import connection
from samply_operator.store.bucket.connection import TOKEN, Connection
from samply_operator.store.bucket.objects import Objects
from support import buckets, certificates

ROLE = "arn:aws:iam::123456789012:role/profiles"
ANSWER = """<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>ASIAEXCHANGED</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


@dataclass
class Provider:
    """Takes every object, gives credentials for every token, and notes what was sent."""

    endpoint: str
    certificate: Path
    puts: list[dict[str, str]] = field(default_factory=list)
    exchanges: list[dict[str, str]] = field(default_factory=list)

    def open(self, folder: Path, *, authorities: Path | None = None, **settings: object) -> Objects:
        bucket = Bucket(url="s3://profiles", endpoint=self.endpoint, **settings)  # type: ignore[arg-type]
        return Objects(Connection(bucket, "c", folder, authorities=authorities or self.certificate))


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    certificates.write_pair(tmp_path / "tls")
    found = Provider("", tmp_path / "tls" / "tls.crt")

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._read()
            found.puts.append({name.lower(): value for name, value in self.headers.items()})
            self._answer(b"", ETag='"1"')

        def do_POST(self) -> None:
            query = urllib.parse.urlsplit(self.path).query
            found.exchanges.append(dict(urllib.parse.parse_qsl(f"{query}&{self._read().decode()}")))
            self._answer(ANSWER.encode())

        def _read(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _answer(self, body: bytes, **headers: str) -> None:
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(found.certificate, tmp_path / "tls" / "tls.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.endpoint = f"https://127.0.0.1:{server.server_port}"
        yield found
        server.shutdown()


def test_every_object_is_encrypted_with_the_key_of_the_settings(provider: Provider, tmp_path: Path) -> None:
    buckets.write_credentials(tmp_path, buckets.KEYS)
    path = tmp_path / "file"
    path.write_bytes(b"profile")
    objects = provider.open(tmp_path, kms_key_id="key-7")
    objects.create("manifests/1", b"{}")
    objects.upload("files/1", path, {"Content-Type": "application/gzip"})
    assert len(provider.puts) == 2
    for headers in provider.puts:
        assert headers["x-amz-server-side-encryption"] == "aws:kms"
        assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-7"


def test_without_a_key_the_bucket_decides_about_encryption(provider: Provider, tmp_path: Path) -> None:
    buckets.write_credentials(tmp_path, buckets.KEYS)
    provider.open(tmp_path).create("manifests/1", b"{}")
    assert not [name for name in provider.puts[0] if "encryption" in name]


def test_aws_gets_checksums_and_other_servers_only_if_a_setting_says_so(provider: Provider, tmp_path: Path) -> None:
    buckets.write_credentials(tmp_path, buckets.KEYS)
    aws = Bucket(url="s3://profiles", options={"endpoint": provider.endpoint})  # its place is that of AWS
    Objects(Connection(aws, "c", tmp_path, authorities=provider.certificate)).create("manifests/1", b"{}")
    provider.open(tmp_path).create("manifests/2", b"{}")
    provider.open(tmp_path, options={"checksum_algorithm": connection.CHECKSUMS}).create("manifests/3", b"{}")
    assert ["x-amz-checksum-sha256" in headers for headers in provider.puts] == [True, False, True]


def test_the_pods_token_is_exchanged_for_the_roles_credentials(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / TOKEN).parent.mkdir(parents=True)
    (tmp_path / TOKEN).write_text("the.pods.token")
    objects = provider.open(tmp_path, role_arn=ROLE, options={"endpoint_url_sts": provider.endpoint})
    objects.create("manifests/1", b"{}")
    (asked,) = provider.exchanges
    assert asked["Action"] == "AssumeRoleWithWebIdentity"
    assert (asked["WebIdentityToken"], asked["RoleArn"]) == ("the.pods.token", ROLE)
    (put,) = provider.puts
    assert "Credential=ASIAEXCHANGED/" in put["authorization"]
    assert put["x-amz-security-token"] == "session"


def test_a_private_authority_is_trusted_only_where_it_is_set(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.RETRIES, "max_retries", 0)
    buckets.write_credentials(tmp_path, buckets.KEYS)
    provider.open(tmp_path).create("manifests/1", b"{}")
    with pytest.raises(StoreUnavailable):
        provider.open(tmp_path, authorities=tmp_path / "missing").create("manifests/2", b"{}")
    assert len(provider.puts) == 1
