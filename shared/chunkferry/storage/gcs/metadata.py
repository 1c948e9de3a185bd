"""An upload's metadata in Google's terms: any text, 8 KiB together. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chunkferry.errors import StoreRefused

#: The name under which an object carries the id of its upload.
UPLOAD_ID: Final = "chunkferry-upload"
#: Bytes of all names and values together (GCS).
MAX_BYTES: Final = 8192


def encode(upload_id: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """The custom metadata of the object of an upload.

    Raises:
        StoreRefused: too large, or with a name that is empty or reserved.
    """
    for name in metadata:
        if not name or name == UPLOAD_ID:
            msg = f"metadata has the name {name!r}, which is empty or reserved"
            raise StoreRefused(msg)
    encoded = {UPLOAD_ID: upload_id, **metadata}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in encoded.items())
    if size > MAX_BYTES:
        msg = f"metadata takes {size} bytes in GCS; it must be {MAX_BYTES} or fewer"
        raise StoreRefused(msg)
    return encoded
