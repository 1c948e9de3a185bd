"""The request and response headers of tus 1.0.0: text to values and back. Pure; decides nothing.

Whatever comes in a header, reading it ends in a value or in ``BadHeader``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from chunkferry.checksums import ALGORITHMS
from chunkferry.errors import ChunkferryError
from chunkferry.parts import MAX_LENGTH

_NUMBER: Final = re.compile(r"[0-9]{1,19}")
#: Printable ASCII but blank and comma (section Upload-Metadata).
_KEY: Final = re.compile(r"[!-+\--~]+")
#: Characters of an ``Upload-Metadata`` header: far more than fits what stores keep.
_MAX_METADATA: Final = 8192
#: Partial uploads that one final upload may join.
_MAX_PARTIALS: Final = 1000


class BadHeader(ChunkferryError):
    """A request header is not what the protocol says."""

    code = "bad_header"
    http_status = 400

    def __init__(self, name: str, expected: str, value: str | None) -> None:
        came = "none came" if value is None else f"not {value[:80]!r}"
        super().__init__(f"{name} must be {expected}, {came}")
        self.header = name


class ChecksumUnsupported(BadHeader):
    """``Upload-Checksum`` names an algorithm that is not known (tus: 400)."""

    code = "checksum_unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """What ``Upload-Checksum`` says of the body."""

    #: One of ``checksums.ALGORITHMS``.
    algorithm: str
    #: Lower-case hexadecimal digits.
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat:
    """What ``Upload-Concat`` says of an upload."""

    #: Paths or URLs of the partial uploads in order; empty for a partial upload.
    partials: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """True for the upload that joins others, False for one that is to be joined."""
        return bool(self.partials)


def number(name: str, value: str | None) -> int:
    """A number of bytes, 0 to ``parts.MAX_LENGTH``.

    Raises:
        BadHeader: it is none, or larger than any upload may be.
    """
    if value is None or not _NUMBER.fullmatch(value) or int(value) > MAX_LENGTH:
        raise BadHeader(name, f"a number of bytes from 0 to {MAX_LENGTH}", value)
    return int(value)


def metadata(value: str | None) -> dict[str, str]:
    """The pairs of ``Upload-Metadata``; empty without one.

    Raises:
        BadHeader: not comma-separated pairs of an ASCII key and Base64 of UTF-8, or a key is
            there twice.
    """
    found: dict[str, str] = {}
    if value is None or not value.strip():
        return found
    if len(value) > _MAX_METADATA:
        raise BadHeader("Upload-Metadata", f"up to {_MAX_METADATA} characters", value)
    for pair in value.split(","):
        key, _, encoded = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise BadHeader("Upload-Metadata", "pairs of a key and Base64, each key once", value)
        try:
            found[key] = base64.b64decode(encoded, validate=True).decode()
        except ValueError as exc:  # of both decoders
            raise BadHeader("Upload-Metadata", f"Base64 of UTF-8 at {key}", value) from exc
    return found


def format_metadata(pairs: Mapping[str, str]) -> str:
    """``pairs`` as ``metadata`` reads them; an empty value is left out with its blank."""
    return ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}" if value else key
        for key, value in pairs.items()
        # Other front doors may have written names that tus cannot say.
        if _KEY.fullmatch(key)
    )


def checksum(value: str) -> Checksum:
    """The algorithm and digest of ``Upload-Checksum``.

    Raises:
        ChecksumUnsupported: the algorithm is not one of ``checksums.ALGORITHMS``.
        BadHeader: it is not an algorithm and Base64.
    """
    algorithm, _, encoded = value.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise ChecksumUnsupported("Upload-Checksum", f"one of {known} and Base64", value)
    try:
        digest = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as exc:
        raise BadHeader("Upload-Checksum", "an algorithm, a blank and Base64", value) from exc
    return Checksum(algorithm=algorithm, digest=digest.hex())


def concat(value: str | None) -> Concat | None:
    """What ``Upload-Concat`` says; None without one.

    Raises:
        BadHeader: it is neither ``partial`` nor ``final;`` with one to 1000 URLs.
    """
    if value is None:
        return None
    if value == "partial":
        return Concat()
    kind, _, urls = value.partition(";")
    partials = tuple(urls.split())
    is_text = value.isascii() and value.isprintable()  # it is told again
    if kind != "final" or not is_text or not 0 < len(partials) <= _MAX_PARTIALS:
        raise BadHeader(
            "Upload-Concat", f"'partial' or 'final;' and 1 to {_MAX_PARTIALS} URLs", value
        )
    return Concat(partials=partials)


def http_date(moment: datetime) -> str:
    """``moment``, which is in UTC, as RFC 9110 (section 5.6.7) has it."""
    return format_datetime(moment, usegmt=True)
