"""Runs in the SDK's own environment, as a user's script would: `client.py URL STEP…`, one line of JSON for each step.

STEP: start:PIPELINE:SECS, get:PIPELINE, find:PIPELINE, list:. The key and the tenant come from FELDERA_API_KEY and
FELDERA_TENANT, as the SDK has it.
"""

from __future__ import annotations

import hashlib
import json
import sys

from feldera.enums import PipelineFieldSelector
from feldera.rest.errors import FelderaAPIError
from feldera.rest.feldera_client import FelderaClient
from feldera.rest.retry import RetryConfig


def run(client: FelderaClient, step: str) -> dict[str, object]:
    action, name, *rest = step.split(":")
    try:
        if action == "start":
            client.start_samply_profile(name, int(rest[0]))
            return {"started": name}
        if action == "list":
            return {found.name: found.id for found in client.pipelines()}
        if action == "find":
            return {"id": client.get_pipeline(name, PipelineFieldSelector.STATUS).id}
        data = client.get_samply_profile(name)
        return {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    except FelderaAPIError as error:
        return {"status": error.status_code, "error_code": error.error_code, "message": str(error)}


def main() -> None:
    url, *steps = sys.argv[1:]
    try:
        # Retried as by default, without the waits.
        client = FelderaClient(url, retry_config=RetryConfig(initial_backoff=0.05, max_backoff=0.05))
    except FelderaAPIError as error:
        print(json.dumps({"status": error.status_code, "error_code": error.error_code, "message": str(error)}))
        return
    for step in steps:
        print(json.dumps(run(client, step)), flush=True)


if __name__ == "__main__":
    main()
