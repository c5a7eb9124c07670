"""JSON from files: decoded strictly, and again after a repair if only its spelling is wrong. Pure.

Whole numbers may be spelt `2.0`, and text may hold what is no Unicode: halves of surrogate pairs (as JavaScript and
Python write them), or bytes that are not UTF-8. The text is repaired in place, character by character, so that whatever
points into it stays right.
"""

from __future__ import annotations

import codecs
import re
from typing import TypeVar

import msgspec

Decoded = TypeVar("Decoded")

ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""A pair of surrogates, one alone (the group), or any other escape, whose backslash must not be taken for another's."""

PIECE = 1 << 20
REPLACEMENT = rb"\ufffd"


def decode(data: bytes | bytearray | msgspec.Raw, shape: type[Decoded]) -> Decoded:
    """The value in the given shape. A bytearray is repaired where that helps.

    Raises msgspec.ValidationError (JSON of another shape), msgspec.DecodeError (no JSON) or RecursionError.
    """
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        return _decode_leniently(data, shape, error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = data if isinstance(data, bytearray) else bytearray(data)
        if not repair(text):
            raise
    return msgspec.json.decode(text, type=shape)


def _decode_leniently(
    data: bytes | bytearray | msgspec.Raw, shape: type[Decoded], error: msgspec.ValidationError
) -> Decoded:
    """With 2.0 as a whole number."""
    try:
        return msgspec.json.decode(data, type=shape, strict=False)
    except msgspec.ValidationError:
        raise error from None


def repair(text: bytearray) -> bool:
    """Replace invalid Unicode in place, without a change of length. Returns whether there was any."""
    found = False
    for match in ESCAPE.finditer(bytes(text)) if b"\\u" in text else ():
        if match[1] is not None:
            text[match.start() : match.end()] = REPLACEMENT
            found = True
    return _repair_bytes(text) or found


def _repair_bytes(text: bytearray) -> bool:
    start, found = 0, False
    while start < len(text):
        piece = bytes(text[start : start + PIECE])
        try:
            # A sequence that is cut at the end of a piece belongs to the next one.
            start += codecs.utf_8_decode(piece, "strict", start + PIECE >= len(text))[1]
        except UnicodeDecodeError as error:
            text[start + error.start : start + error.end] = b"?" * (error.end - error.start)
            start, found = start + error.end, True
    return found
