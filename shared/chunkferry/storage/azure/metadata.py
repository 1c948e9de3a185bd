"""An upload's metadata in Azure's terms: names are identifiers, values ASCII. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from chunkferry.errors import StoreRefused
from chunkferry.metadata import header_value

#: The name under which a blob carries the id of its upload.
UPLOAD_ID: Final = "chunkferry_upload"
#: And the CRC32C of its bytes, which Azure does not know.
CRC32C: Final = "chunkferry_crc32c"
#: Marks what is no object: it is there to be removed, see ``upload``.
DISCARDED: Final = "chunkferry_discarded"
#: Bytes of all names and values together (Azure).
MAX_BYTES: Final = 8192

#: What an identifier cannot hold; ``_x`` itself, as it begins an encoded character.
_NOT_IDENTIFIER: Final = re.compile(r"[^a-z0-9_]|_(?=x)|^[0-9]")


def encode(upload_id: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """What is sent as ``x-ms-meta-…`` for an upload.

    Names are lower case, with ``_x002d_`` for what an identifier cannot hold (here ``-``); values
    that are not plain ASCII become one RFC 2047 word (``=?UTF-8?B?…?=``).

    Raises:
        StoreRefused: too large, or two names become the same.
    """
    encoded = {UPLOAD_ID: upload_id}
    for name, value in metadata.items():
        key = _NOT_IDENTIFIER.sub(_escape, name.lower())
        if not key or key in encoded or key in {CRC32C, DISCARDED}:
            msg = f"metadata has the name {name!r}, which is empty, reserved or there twice"
            raise StoreRefused(msg)
        encoded[key] = header_value(value)
    size = sum(len(key) + len(value) for key, value in encoded.items())
    if size > MAX_BYTES:
        msg = f"metadata takes {size} bytes in Azure; it must be {MAX_BYTES} or fewer"
        raise StoreRefused(msg)
    return encoded


def _escape(found: re.Match[str]) -> str:
    return f"_x{ord(found.group()):04x}_"
