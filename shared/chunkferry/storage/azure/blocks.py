"""Names of blocks: whose they are, which part, and which bytes. Pure.

Azure keeps uncommitted blocks by the name of their blob, whoever sent them, and demands names of
one length. So a name begins with a digest of its upload, and ends with the checksum of its bytes:
blocks of two uploads never mix, and a block that is there is known to hold the right bytes.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from chunkferry.services import Part, StoredPart

_DIGEST: Final = 32
#: Length of a name; 64 in base64.
LENGTH: Final = 48


def owner(upload_id: str) -> str:
    """What all names of an upload begin with."""
    return hashlib.sha256(upload_id.encode()).hexdigest()[:_DIGEST]


def of_part(upload_id: str, part: Part | StoredPart) -> str:
    """The name of the block that holds ``part``."""
    return _name(upload_id, part.number, f"{part.crc32c:08x}")


def mark(upload_id: str) -> str:
    """The name of the block that shows that an upload has begun."""
    return _name(upload_id, 0, "0" * 8)


def guard(upload_id: str) -> str:
    """A name that nobody has used, for a block that is sent before the others are removed."""
    return _name(upload_id, 0, f"{secrets.randbits(32) | 1:08x}")


def _name(upload_id: str, number: int, ending: str) -> str:
    return f"{owner(upload_id)}-{number:06d}-{ending}"
