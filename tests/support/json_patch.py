"""JSON patch (RFC 6902) and merge patch (RFC 7386), as an API server applies them, as far as the operator uses them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]


class TestFailed(Exception):
    """A patch that the API server answers with 422; nothing of it was applied."""

    __test__ = False


def apply(document: Json, operations: Sequence[Mapping[str, Any]]) -> Json:
    """The document after all operations, or none of them."""
    result = copy.deepcopy(document)
    for operation in operations:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place = result
        for part in path:
            if part not in place:
                raise TestFailed(f"no {operation['path']}")
            place = place[part]
        match operation["op"]:
            case "test":
                if place.get(last) != operation["value"]:
                    raise TestFailed(f"{operation['path']} is {place.get(last)!r}")
            case "remove":
                if last not in place:
                    raise TestFailed(f"no {operation['path']}")
                del place[last]
            case "replace" if last not in place:
                raise TestFailed(f"no {operation['path']}")
            case "add" | "replace":
                place[last] = copy.deepcopy(operation["value"])
            case unknown:
                raise ValueError(f"an operation that no test needed yet: {unknown}")
    return result


def merge(document: Any, patch: Any) -> Any:
    """null removes, objects merge, everything else replaces."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(document) if isinstance(document, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result
