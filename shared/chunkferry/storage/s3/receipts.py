"""Receipts of S3 parts: the ETag, and whether ETags of this server are MD5s. Pure."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import md5
from typing import Final

from chunkferry.services import Part, StoredPart

_MD5: Final = re.compile(r"[0-9a-f]{32}")


def of(part: Part, etag: str) -> str:
    """The receipt of ``part``, for which the server answered ``etag``.

    An MD5 costs more than sending the part; the first part tells for all of them whether this
    server's ETags are MD5s. They are none with SSE-KMS, and on some servers other than AWS.
    """
    return dump(etag, is_md5=part.number == 1 and is_md5_of(part, etag))


def dump(etag: str, *, is_md5: bool = False) -> str:
    """A receipt."""
    facts: dict[str, object] = {"etag": _bare(etag)}
    return json.dumps(facts | {"md5": True} if is_md5 else facts)


def etag(part: StoredPart) -> str:
    """The ETag of ``part``, without quotes."""
    return str(json.loads(part.receipt)["etag"])


def is_md5_of(part: Part, etag: str) -> bool:
    """True if ``etag`` is the MD5 of the part's bytes."""
    bare = _bare(etag)
    if not _MD5.fullmatch(bare):
        return False
    return md5(part.data, usedforsecurity=False).hexdigest() == bare


def composite(parts: Sequence[StoredPart]) -> str:
    """The ETag of the object made of ``parts``; empty where ETags are no MD5s."""
    etags = [etag(part) for part in parts]
    if not json.loads(parts[0].receipt).get("md5") or not all(map(_MD5.fullmatch, etags)):
        return ""
    digests = b"".join(map(bytes.fromhex, etags))
    return f"{md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


def crc32c_text(crc32c: int) -> str:
    """A CRC32C as S3 writes it: base64 of four bytes, the highest first."""
    return b64encode(crc32c.to_bytes(4, "big")).decode()


def _bare(etag: str) -> str:
    return etag.strip('"')
