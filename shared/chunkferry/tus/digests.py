"""Digests of what a request brings: ``Content-Digest`` and ``Repr-Digest`` of RFC 9530. Pure.

Says which checksums have to hold; takes none itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chunkferry.checksums import ALGORITHMS
from chunkferry.tus.fields import Fields
from chunkferry.tus.headers import BadHeader

#: Key in a digest field (RFC 9530, section 7.2) -> name in ``checksums``, and bytes of a digest.
_KEYS: Final = {
    key: (algorithm, size)
    for key, algorithm, size in (
        ("sha-256", "sha256", 32),
        ("sha-512", "sha512", 64),
        # Deprecated by the RFC: no protection against anybody, but against damage.
        ("sha", "sha1", 20),
        ("md5", "md5", 16),
        ("crc32c", "crc32c", 4),
    )
    if algorithm in ALGORITHMS
}

#: What a client is told to use instead (RFC 9530, section 4): more is better, 0 is "rather not".
WANTED: Final = ", ".join(
    f"{key}={weight}"
    for key, weight in (("sha-256", 10), ("sha-512", 9), ("crc32c", 1))
    if key in _KEYS
)


class DigestUnsupported(BadHeader):
    """A digest field names no algorithm that is known."""

    code = "digest_unsupported"

    def __init__(self, field: str, keys: list[str]) -> None:
        super().__init__(field, f"a digest by one of {', '.join(_KEYS)}", ", ".join(keys))
        #: Keys that came, as the client wrote them.
        self.keys = keys
        self.headers = {f"Want-{field}": WANTED}


class DigestInvalid(BadHeader):
    """A digest is not as long as its algorithm makes it."""

    code = "digest_invalid"

    def __init__(self, field: str, key: str, size: int, actual: int) -> None:
        super().__init__(field, f"{size} bytes for {key}", f"{actual} bytes")
        self.key = key
        #: Why it cannot be one.
        self.reason = f"digest value is not {size} bytes long"


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """One digest of a request."""

    #: Name of the header field that it came in.
    field: str
    #: Its algorithm, as the field has it: "sha-256".
    key: str
    #: The same, one of ``checksums.ALGORITHMS``: "sha256".
    algorithm: str
    #: As it came.
    value: bytes


def read(fields: Fields, name: str) -> tuple[Digest, ...]:
    """The digests of the field ``name``; unknown algorithms beside known ones are passed over.

    Raises:
        DigestUnsupported: there are digests, and none of them can be checked: whoever asks for
            a check is not told that all is well without one.
        DigestInvalid: one has another length than its algorithm makes.
        BadHeader: it is no Dictionary of Byte Sequences.
    """
    if name not in fields:
        return ()
    members = fields.byte_sequences(name)
    if members is None:
        raise BadHeader(name, "digests such as sha-256=:…:", fields.text(name))
    for key, value in members.items():
        if key in _KEYS and len(value) != _KEYS[key][1]:
            raise DigestInvalid(name, key, _KEYS[key][1], len(value))
    if members and not members.keys() & _KEYS.keys():
        raise DigestUnsupported(name, [*members])
    return tuple(
        Digest(field=name, key=key, algorithm=_KEYS[key][0], value=value)
        for key, value in members.items()
        if key in _KEYS
    )
