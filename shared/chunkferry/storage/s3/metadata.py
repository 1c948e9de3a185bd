"""An upload's metadata in S3's terms: ASCII names and values, 2 KiB together. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from chunkferry.errors import StoreRefused
from chunkferry.metadata import MAX_BYTES, UPLOAD_ID, header_name, header_value

__all__ = ["UPLOAD_ID", "encode"]


def encode(upload_id: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """What is sent as ``x-amz-meta-…`` for an upload.

    Raises:
        StoreRefused: too large, or two names become the same. ``ChunkManager`` accepts no such
            metadata; other producers may have.
    """
    encoded = {UPLOAD_ID: upload_id}
    for name, value in metadata.items():
        key = header_name(name)
        if not key or key in encoded:
            msg = f"metadata has the name {name!r}, which is empty, reserved or there twice"
            raise StoreRefused(msg)
        encoded[key] = header_value(value)
    size = sum(len(key) + len(value) for key, value in encoded.items())
    if size > MAX_BYTES:
        msg = f"metadata takes {size} bytes in S3; it must be {MAX_BYTES} or fewer"
        raise StoreRefused(msg)
    return encoded
