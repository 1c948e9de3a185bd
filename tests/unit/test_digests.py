"""Digest fields of RFC 9530: what of them has to hold, and what cannot be checked."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest

from chunkferry.tus import digests
from chunkferry.tus.digests import Digest, DigestInvalid, DigestUnsupported
from chunkferry.tus.fields import Fields
from chunkferry.tus.headers import BadHeader

BYTES = b"some bytes"
SHA256 = hashlib.sha256(BYTES).digest()


def member(key: str, digest: bytes) -> str:
    """One algorithm of a digest field."""
    return f"{key}=:{b64encode(digest).decode()}:"


def read(value: str) -> tuple[Digest, ...]:
    """The digests of a message with this ``Content-Digest``."""
    return digests.read(Fields([(b"content-digest", value.encode())]), "Content-Digest")


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [("sha-256", "sha256"), ("sha-512", "sha512"), ("sha", "sha1"), ("md5", "md5")],
)
def test_each_algorithm_is_found_by_its_key(key: str, algorithm: str) -> None:
    """Also the deprecated ones: they still find damage."""
    digest = hashlib.new(algorithm, BYTES).digest()
    assert read(member(key, digest)) == (
        Digest(field="Content-Digest", key=key, algorithm=algorithm, value=digest),
    )


def test_all_that_are_known_have_to_hold() -> None:
    """Those beside them that are not known may be passed over (RFC 9530, section 2)."""
    known = [member("crc32c", b"1234"), member("sha-256", SHA256)]
    found = read(", ".join([member("unixsum", b"1"), *known]))
    assert [digest.key for digest in found] == ["crc32c", "sha-256"]


def test_digests_of_which_none_is_known_are_refused() -> None:
    """Else the client would believe that its bytes were checked."""
    with pytest.raises(DigestUnsupported) as caught:
        read(member("unixsum", b"1"))
    assert (caught.value.header, caught.value.keys) == ("Content-Digest", ["unixsum"])


def test_a_digest_has_the_length_that_its_algorithm_makes() -> None:
    """A shorter one never could hold."""
    with pytest.raises(DigestInvalid, match="must be 32 bytes for sha-256, not '31 bytes'"):
        read(member("sha-256", SHA256[:31]))


@pytest.mark.parametrize("value", ["sha-256", "sha-256=abc", "sha-256=:???:", "sha-256=1"])
def test_what_is_no_dictionary_of_bytes_is_refused(value: str) -> None:
    """A check that was asked for is not left out in silence."""
    with pytest.raises(BadHeader, match="digests such as"):
        read(value)


def test_no_field_means_no_digest() -> None:
    """And an empty one means none either: it names no algorithm."""
    assert digests.read(Fields([]), "Content-Digest") == read("") == ()


def test_a_client_is_told_what_to_send_instead() -> None:
    """As a Dictionary of Integers (RFC 9530, section 4)."""
    assert digests.WANTED == "sha-256=10, sha-512=9, crc32c=1"
