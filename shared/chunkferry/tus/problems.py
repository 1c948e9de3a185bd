"""``Problem``: what an error is in Resumable Uploads for HTTP, beside what it is in any protocol.

Pure. Knows the types that are registered for uploads and digests (RFC 9457), and the header
fields that the draft wants beside an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import http_sf

from chunkferry.errors import (
    Backpressure,
    ChecksumMismatch,
    ChunkferryError,
    LengthMismatch,
    NotDurable,
    OffsetMismatch,
    UploadError,
)
from chunkferry.tus.digests import DigestInvalid, DigestUnsupported
from chunkferry.tus.protocol import WrongMediaType
from chunkferry.tus.rufh import PARTIAL, Limits, Request, Version

_REGISTRY: Final = "https://iana.org/assignments/http-problem-types#"

#: Error -> type, title, status: section 7 of the draft, and
#: draft-ietf-httpapi-digest-fields-problem-types. All others have the type about:blank.
_TYPES: Final[dict[type[ChunkferryError], tuple[str, str, int]]] = {
    OffsetMismatch: ("mismatching-upload-offset", "Mismatching Upload Offset", 409),
    LengthMismatch: ("inconsistent-upload-length", "Inconsistent Upload Length Values", 400),
    ChecksumMismatch: ("digest-mismatching-values", "Mismatching Digest Values", 400),
    DigestInvalid: ("digest-invalid-values", "Invalid Digest Values", 400),
    DigestUnsupported: ("digest-unsupported-algorithms", "Unsupported Hashing Algorithms", 400),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What an answer to a failed request says; see ``answers.problem`` for the rest of it."""

    status: int
    headers: Mapping[str, str]
    #: Of the JSON; they replace those that every error has.
    members: Mapping[str, Any] = field(default_factory=dict)


def problem(
    error: ChunkferryError,
    version: Version,
    *,
    request: Request | None = None,
    most: Limits | None = None,
) -> Problem:
    """What ``error`` is in this protocol.

    Args:
        error: what went wrong.
        version: the client's.
        request: what the client asked for, if it could be read.
        most: the upload's limits, if they are known; told to whoever broke one.
    """
    status: int = getattr(error, "status", error.http_status)
    members = _extension(error, request)
    if type(error) in _TYPES:
        name, title, status = _TYPES[type(error)]
        members = {"type": f"{_REGISTRY}{name}", "title": title, **members}
    # Whoever is told "complete" and an error knows that sending more would not help (4.4).
    is_complete = isinstance(error, UploadError)
    headers = {**version.completeness_field(is_complete=is_complete), **_offset(error)}
    if isinstance(error, WrongMediaType):  # RFC 5789, section 2.2
        headers["Accept-Patch"] = PARTIAL
    if most is not None and status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        headers["Upload-Limit"] = most.field()
    return Problem(status=status, headers=headers, members=members)


def _offset(error: ChunkferryError) -> dict[str, str]:
    """Where to go on, if the error knows (section 4.4)."""
    match error:
        case OffsetMismatch():
            return {"Upload-Offset": str(error.expected)}
        case Backpressure() | NotDurable():
            return {"Upload-Offset": str(error.received)}
        case _:
            return {}


def _extension(error: ChunkferryError, request: Request | None) -> dict[str, Any]:
    """The members that a type has beside those of all types."""
    match error:
        case OffsetMismatch():
            return {"expected-offset": error.expected, "provided-offset": error.actual}
        case DigestInvalid():
            found = {"algorithm": error.key, "header": error.header, "reason": error.reason}
            return {"invalid-digests": [found]}
        case DigestUnsupported():
            found_keys = [{"algorithm": key, "header": error.header} for key in error.keys]
            return {"unsupported-algorithms": found_keys}
        case ChecksumMismatch():
            # What was calculated is not told: it could serve as an oracle.
            detail = "the content does not have a digest that was sent along with it"
            return {"detail": detail, "mismatching-digests": _mismatching(error, request)}
        case _:
            return {}


def _mismatching(error: ChecksumMismatch, request: Request | None) -> list[dict[str, str]]:
    return [
        {
            "algorithm": digest.key,
            "provided-digest": http_sf.ser(digest.value),
            "header": digest.field,
        }
        for digest in (request.digests if request is not None else ())
        if (digest.algorithm, digest.value.hex()) == (error.algorithm, error.expected)
    ]
