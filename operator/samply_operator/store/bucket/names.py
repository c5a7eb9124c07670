"""Names in the bucket, below the prefix of one cluster, only as strings: no requests.

    leader.json                      who writes, and the number of the term (fence.py)
    manifests/<x>/<id>.json          the facts of one attempt; its appearance publishes the profile
    files/<id>/<sha256>.json.gz      the published bytes
    files/<id>/<sha256>-raw…         what else was kept; also <sha256>-profile.operators.json, <sha256>-attachment-…
    removed/<id>                     the profile is gone, whatever else is still there
    journal/<id>.json                as on the volume, wrapped with the term (mirror.py)
    tombstones/<id>.json, pins/<id>
    catalog.jsonl.gz                 all manifests in one object, so that a start need not fetch each (catalog.py)

`<x>` is the first digit of the id, so that listing can go on in several requests at once. Files carry the hash of their
content: two writers never overwrite each other's.
"""

from __future__ import annotations

from samply_operator.store import layout

MANIFESTS = "manifests"
FILES = "files"
REMOVED = "removed"
LEADER = "leader.json"
CATALOG = "catalog.jsonl.gz"
SHARDS = "0123456789abcdef"
SUFFIX = ".json"
PAGE = 1000
"""Objects in one answer to a list, and in one request to delete."""


def build_manifest(profile_id: str) -> str:
    return f"{MANIFESTS}/{layout.check_id(profile_id)[0]}/{profile_id}{SUFFIX}"


def build_folder(profile_id: str) -> str:
    """Folder of all files of a profile."""
    return f"{FILES}/{layout.check_id(profile_id)}"


def build_file(profile_id: str, sha256: str) -> str:
    return f"{build_folder(profile_id)}/{sha256}.json.gz"


def build_extra(profile_id: str, sha256: str, name: str) -> str:
    return f"{build_folder(profile_id)}/{sha256}-{layout.check_extra(name)}"


def build_removed(profile_id: str) -> str:
    return f"{REMOVED}/{layout.check_id(profile_id)}"


def parse_id(path: str) -> str | None:
    """The id in the name of a manifest, a removal or a mirrored document; None if there is none."""
    name = path.rpartition("/")[2].removesuffix(SUFFIX)
    return name if layout.is_id(name) else None


def parse_folder(path: str) -> str | None:
    """The id in the path of a file; None if there is none."""
    folder, _, rest = path.partition("/")
    profile_id = rest.partition("/")[0]
    return profile_id if folder == FILES and layout.is_id(profile_id) else None
