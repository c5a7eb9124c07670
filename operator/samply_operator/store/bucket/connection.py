"""Connects to a bucket according to `config.storage.bucket`: provider, endpoint, credentials, certificate, encryption.

Credentials are files (a mounted Secret, or a projected token): when they change, the next request uses the new ones.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from samply_operator.errors import SettingsError
from samply_operator.settings import Bucket
from samply_operator.store.bucket.objects import Native

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

CREDENTIALS, TOKEN = "credentials", "token/token"
"""In the folder `paths.storage`."""
LOOK_SECS = 5.0
CHECKSUMS = "sha256"
"""AWS refuses writes without a checksum where objects are locked. Other servers may not know them."""
SCHEMES = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
CLIENT: ClientConfig = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=20),
    "timeout": timedelta(hours=1),
    "user_agent": "samply-operator",
}
"""A request may take as long as it transfers bytes; the time between two of them is limited."""
RETRIES: RetryConfig = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=15),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
}
"""Short: callers retry and do other work meanwhile."""


class Connection:
    """Callable: the current store. `prefix` is appended to that of the URL; `folder` contains the credentials."""

    def __init__(
        self,
        settings: Bucket,
        prefix: str,
        folder: Path,
        *,
        authorities: Path | None = None,
        endpoint: str = "",
        credentials: Path | None = None,
    ) -> None:
        """`authorities`: a file of additional CA certificates, if it exists. `endpoint`: overrides that of the
        settings, for URLs given to callers. `credentials`: overrides their folder."""
        self._credentials = credentials or folder / CREDENTIALS
        self._authorities = authorities
        self._settings = settings
        self._prefix = prefix
        self._folder = folder
        self._endpoint = endpoint or settings.endpoint
        self._lock = threading.Lock()
        self._seen: Mapping[str, str] | None = None
        self._looked_at = 0.0
        self._store: Native | None = None

    def __call__(self) -> Native:
        """Raises SettingsError."""
        with self._lock:
            if self._store is None or time.monotonic() - self._looked_at > LOOK_SECS:
                self._looked_at = time.monotonic()
                found = read_credentials(self._credentials)
                if self._store is None or found != self._seen:
                    self._store = self._build(found)
                    self._seen = found
            return self._store

    def _build(self, credentials: Mapping[str, str]) -> Native:
        scheme, _, rest = self._settings.url.partition("://")
        name, _, prefix = rest.partition("/")
        client = dict(CLIENT)
        if self._endpoint.startswith("http://"):
            client["allow_http"] = True
        if self._authorities is not None and self._authorities.exists():
            client["root_certificate"] = self._authorities.read_bytes()
        options = {**self._list_options(scheme), **credentials, **self._settings.options}
        whole = "/".join(filter(None, (prefix.strip("/"), self._prefix)))
        build: Any = SCHEMES[scheme]
        try:
            store: Native = build(name, prefix=whole, config=options, client_options=client, retry_config=RETRIES)
        except (exceptions.BaseError, ValueError, TypeError) as error:
            what = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SettingsError(f"the bucket {self._settings.url} cannot be used: {what}") from error
        return store

    def _list_options(self, scheme: str) -> dict[str, Any]:
        settings, token = self._settings, self._folder / TOKEN
        if scheme == "s3":
            return {
                "region": settings.region or "us-east-1",
                "virtual_hosted_style_request": not settings.path_style,
                **({"endpoint": self._endpoint} if self._endpoint else {"checksum_algorithm": CHECKSUMS}),
                **_list_encryption(settings),
                **({"role_arn": settings.role_arn, "web_identity_token_file": str(token)} if settings.role_arn else {}),
            }
        given: dict[str, Any] = {"endpoint": self._endpoint} if self._endpoint and scheme == "az" else {}
        if scheme == "gs" and self._endpoint:
            given = {"base_url": self._endpoint}
        if scheme == "az" and token.exists():
            given["federated_token_file"] = str(token)
        return given


def _list_encryption(settings: Bucket) -> dict[str, Any]:
    if not settings.kms_key_id:
        return {}
    return {"server_side_encryption": "aws:kms", "sse_kms_key_id": settings.kms_key_id}


def read_credentials(folder: Path) -> dict[str, str]:
    """Each file's name, in lower case, is an option of the provider (such as aws_secret_access_key)."""
    if not folder.is_dir():
        return {}
    files = [path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()]
    return {path.name.lower(): path.read_text(encoding="utf-8").strip() for path in sorted(files)}
