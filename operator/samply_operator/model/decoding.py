"""Objects of the API server as structs. A field that cannot be read never costs the object its identity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

Raw = Mapping[str, Any] | msgspec.Raw
Object = TypeVar("Object")
Identity = TypeVar("Identity")


def decode(
    raw: Raw, kind: type[Object], identity: type[Identity], build_empty: Callable[[Identity], Object]
) -> tuple[Object, str]:
    """The object, and why it cannot be read (empty: it can); an unreadable one is built from its identity. Raises
    msgspec.ValidationError only if it is not an object at all."""
    try:
        return _read(raw, kind), ""
    except msgspec.ValidationError as error:
        return build_empty(_read(raw, identity)), str(error)


def _read(raw: Raw, kind: type[Object]) -> Object:
    return msgspec.json.decode(raw, type=kind) if isinstance(raw, msgspec.Raw) else msgspec.convert(raw, type=kind)
