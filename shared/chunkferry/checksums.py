"""Checksums that a producer sends along with its data. Pure."""

from __future__ import annotations

import hashlib
import hmac
import zlib
from collections.abc import Callable
from typing import Final, Protocol

import google_crc32c

from chunkferry.errors import ChecksumMismatch, InvalidArgument


class Hasher(Protocol):
    """A checksum that is being taken."""

    def update(self, data: bytes, /) -> None:
        """Take the bytes that follow."""

    def hexdigest(self) -> str:
        """The checksum so far, in lower-case hexadecimal digits."""


class _Crc:
    """A CRC of 32 bits, as hashlib would have it."""

    def __init__(self, extend: Callable[[int, bytes], int]) -> None:
        self._extend = extend
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._extend(self._value, data)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


_HASHERS: Final[dict[str, Callable[[], Hasher]]] = {
    "crc32": lambda: _Crc(lambda value, data: zlib.crc32(data, value)),
    "crc32c": lambda: _Crc(google_crc32c.extend),
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}

#: Names of what a checksum may be.
ALGORITHMS: Final = tuple(_HASHERS)


def hasher(algorithm: str) -> Hasher:
    """A fresh ``Hasher``; raises ``InvalidArgument`` unless it is one of ``ALGORITHMS``."""
    if algorithm not in _HASHERS:
        known = ", ".join(ALGORITHMS)
        msg = f"checksum must be '<algorithm>:<hex>' with one of {known}, not {algorithm!r}"
        raise InvalidArgument(msg)
    return _HASHERS[algorithm]()


def verify(data: memoryview, checksum: str) -> None:
    """Check ``data`` against ``checksum``, written ``"<algorithm>:<hexadecimal digits>"``.

    Raises:
        ChecksumMismatch: the data has another checksum.
        InvalidArgument: the algorithm is not crc32, crc32c, md5, sha1, sha256 or sha512.
    """
    algorithm, _, expected = checksum.partition(":")
    taken = hasher(algorithm)
    taken.update(bytes(data))
    require_same(algorithm, expected, taken.hexdigest())


def require_same(algorithm: str, expected: str, actual: str) -> None:
    """Raise ``ChecksumMismatch`` unless the digests are the same, in capitals or not."""
    if not hmac.compare_digest(actual.encode(), expected.lower().encode()):
        raise ChecksumMismatch(algorithm, expected, actual)
