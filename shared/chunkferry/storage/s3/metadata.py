"""An upload's metadata in S3's terms: ASCII names and values, 2 KiB together. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from chunkferry.errors import StoreRefused

#: The name under which an object carries the id of its upload.
UPLOAD_ID: Final = "chunkferry-upload"
#: Bytes of all names and values together (S3).
MAX_BYTES: Final = 2048

#: Printable ASCII without outer or repeated blanks, which signing and proxies squeeze.
_PLAIN: Final = re.compile(r"[!-~]+( [!-~]+)*")
#: What a header name may hold beside letters and digits (RFC 9110 token).
_TOKEN: Final = "!#$&'*+-.^_`|~"  # noqa: S105 - a header's alphabet, no secret


def encode(upload_id: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """What is sent as ``x-amz-meta-…`` for an upload.

    Names are lower case, with percent-encoding where a header name needs it; values that are
    not plain ASCII become one RFC 2047 word (``=?UTF-8?B?…?=``).

    Raises:
        StoreRefused: too large, or two names become the same.
    """
    encoded = {UPLOAD_ID: upload_id}
    for name, value in metadata.items():
        key = quote(name.lower(), safe=_TOKEN)
        if not key or key in encoded:
            msg = f"metadata has the name {name!r}, which is empty, reserved or there twice"
            raise StoreRefused(msg)
        encoded[key] = _value(value)
    size = sum(len(key) + len(value) for key, value in encoded.items())
    if size > MAX_BYTES:
        msg = f"metadata takes {size} bytes in S3; it must be {MAX_BYTES} or fewer"
        raise StoreRefused(msg)
    return encoded


def _value(value: str) -> str:
    # A plain value that looks like an encoded word would be decoded into something else.
    if _PLAIN.fullmatch(value) and not value.startswith("=?"):
        return value
    return f"=?UTF-8?B?{b64encode(value.encode()).decode()}?=" if value else ""
