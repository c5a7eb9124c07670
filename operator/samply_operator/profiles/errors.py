"""What can be wrong with a profile, a sidecar, or the work on them.

ProfileError
├── UnreadableProfile      not a file, not gzip, cut off, or not JSON
├── BrokenProfile          JSON, but not a processed profile: columns missing, indexes out of range
├── UnsupportedVersion     of a version that isn't known here; the raw file is still good for viewers
├── ProfileTooLarge        more bytes than the caller allows, packed or unpacked
├── UnreadableSymbols      the sidecar with the symbols is broken
├── NoMarkers              asked by operator, of a profile without markers of operators
├── InvalidRules           the rules that sort functions into groups can't be used
├── NotInProfile           the profile is good, but has not what is asked for
└── ProfileJobFailed       the child process ran out of memory or time, or died
"""

from __future__ import annotations

from samply_operator import json_errors
from samply_operator.errors import ProfileError, RequestError


class UnreadableProfile(ProfileError):
    """details: path."""

    code = "UnreadableProfile"


class BrokenProfile(ProfileError):
    """details: where (the part of the file, as a dotted path)."""

    code = "BrokenProfile"


class UnsupportedVersion(ProfileError):
    """details: version, oldest, newest."""

    code = "UnsupportedProfileVersion"


class ProfileTooLarge(ProfileError):
    """details: limit_bytes."""

    code = "ProfileTooLarge"


class UnreadableSymbols(ProfileError):
    """details: where."""

    code = "UnreadableSymbols"


class NoMarkers(RequestError, ProfileError):
    """details: unparsed, broken (markers that are no good), or thread."""

    code = "NoOperatorMarkers"


class InvalidRules(RequestError, ProfileError):
    """details: none."""

    code = "InvalidGroupRules"


class NotInProfile(RequestError, ProfileError):
    """details: reason (CpuTimes | Range | Samples | Thread | Unit)."""

    code = "NotInProfile"


class ProfileJobFailed(ProfileError):
    """details: reason (OutOfMemory | Timeout | OutOfSpace | Crashed), exit_code."""

    code = "ProfileJobFailed"


def build_broken(where: str, what: str, *, remedy: str = "") -> BrokenProfile:
    """The one way to say that a part of the file isn't as the format wants it."""
    return BrokenProfile(
        f"The profile is broken at {where}: {what}.",
        remedy=remedy or "Take the profile again; if it happens again, keep the file and report it.",
        details={"where": where},
    )


def build_undecodable(where: str, error: Exception, *, has_place: bool = False) -> BrokenProfile:
    """For what the JSON decoder reports. `has_place`: it read the whole file, so it knows the place better."""
    what, place = json_errors.split(error)
    return build_broken(place if has_place and place else where, what)
