"""Checksums that come along with data."""

from __future__ import annotations

import pytest

from chunkferry import checksums
from chunkferry.errors import ChecksumMismatch, InvalidArgument

DATA = memoryview(b"123456789")
#: The usual check values.
KNOWN = {
    "crc32": "cbf43926",
    "crc32c": "e3069283",
    "md5": "25f9e794323b453885f5181f1b624d0b",
    "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}


@pytest.mark.parametrize("algorithm", KNOWN)
def test_the_right_checksum_is_accepted(algorithm: str) -> None:
    """In small or capital digits."""
    checksums.verify(DATA, f"{algorithm}:{KNOWN[algorithm]}")
    checksums.verify(DATA, f"{algorithm}:{KNOWN[algorithm].upper()}")


@pytest.mark.parametrize("algorithm", KNOWN)
@pytest.mark.parametrize("damage", [b"", b"12345678", b"1234567890", b"123456780"])
def test_damaged_data_is_refused(algorithm: str, damage: bytes) -> None:
    """With what was expected and what came."""
    with pytest.raises(ChecksumMismatch, match=f"{algorithm} of the data is .*{KNOWN[algorithm]}"):
        checksums.verify(memoryview(damage), f"{algorithm}:{KNOWN[algorithm]}")


def test_no_digits_are_a_wrong_checksum() -> None:
    """Not one that is left out, nor one beyond ASCII."""
    for checksum in ("crc32", "crc32:", f"crc32:{'ä' * 8}"):
        with pytest.raises(ChecksumMismatch):
            checksums.verify(DATA, checksum)


@pytest.mark.parametrize("checksum", ["", "rot13:00", "SHA256:00", ":00"])
def test_an_unknown_algorithm_is_refused(checksum: str) -> None:
    """The message lists those that are known."""
    with pytest.raises(InvalidArgument, match="crc32, crc32c, md5, sha1, sha256"):
        checksums.verify(DATA, checksum)
