"""Checksums that a producer sends along with its data. Pure."""

from __future__ import annotations

import hashlib
import hmac
import zlib
from collections.abc import Callable
from typing import Final

import google_crc32c

from chunkferry.errors import ChecksumMismatch, InvalidArgument

_ALGORITHMS: Final[dict[str, Callable[[bytes], str]]] = {
    "crc32": lambda data: f"{zlib.crc32(data):08x}",
    "crc32c": lambda data: f"{google_crc32c.value(data):08x}",
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).hexdigest(),
    "sha256": lambda data: hashlib.sha256(data).hexdigest(),
}


def verify(data: memoryview, checksum: str) -> None:
    """Check ``data`` against ``checksum``, written ``"<algorithm>:<hexadecimal digits>"``.

    Raises:
        ChecksumMismatch: the data has another checksum.
        InvalidArgument: the algorithm is not crc32, crc32c, md5, sha1 or sha256.
    """
    algorithm, _, expected = checksum.partition(":")
    if algorithm not in _ALGORITHMS:
        known = ", ".join(_ALGORITHMS)
        msg = f"checksum must be '<algorithm>:<hex>' with one of {known}, not {checksum!r}"
        raise InvalidArgument(msg)
    actual = _ALGORITHMS[algorithm](bytes(data))
    if not hmac.compare_digest(actual.encode(), expected.lower().encode()):
        raise ChecksumMismatch(algorithm, expected, actual)
