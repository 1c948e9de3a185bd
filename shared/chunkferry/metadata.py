"""Which content type, metadata and idempotency key an upload may have. Pure; knows no store.

The rules are the strictest of all stores, so that what is accepted once works on every one of
them: S3 keeps metadata as ASCII headers, 2 KiB together.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from chunkferry.errors import InvalidArgument

#: The name under which an object carries the id of its upload.
UPLOAD_ID: Final = "chunkferry-upload"
#: Bytes of all names and values together, as headers (S3).
MAX_BYTES: Final = 2048
#: Of these, what the upload's id takes: a shard of up to five digits, and 128 bits.
_ID_BYTES: Final = len(UPLOAD_ID) + 38
#: Names an upload may have; servers and proxies bound the number of headers.
_MAX_NAMES: Final = 64
_MAX_CONTENT_TYPE: Final = 255
_MAX_IDEMPOTENCY_KEY: Final = 255

#: Printable ASCII without outer or repeated blanks, which signing and proxies squeeze.
_PLAIN: Final = re.compile(r"[!-~]+( [!-~]+)*")
#: What a header name may hold beside letters and digits (RFC 9110 token).
_TOKEN: Final = "!#$&'*+-.^_`|~"  # noqa: S105 - a header's alphabet, no secret


def header_name(name: str) -> str:
    """``name`` in lower case, with percent-encoding where a header name needs it."""
    return quote(name.lower(), safe=_TOKEN)


def header_value(value: str) -> str:
    """``value`` itself if it is plain ASCII; else as one RFC 2047 word (``=?UTF-8?B?…?=``)."""
    # A plain value that looks like an encoded word would be decoded into something else.
    if _PLAIN.fullmatch(value) and not value.startswith("=?"):
        return value
    return f"=?UTF-8?B?{b64encode(value.encode()).decode()}?=" if value else ""


def check_metadata(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """``metadata`` itself, if every store can keep it.

    Raises:
        InvalidArgument: it cannot; the message says why.
    """
    if len(metadata) > _MAX_NAMES:
        raise InvalidArgument(f"metadata must have up to {_MAX_NAMES} names, not {len(metadata)}")
    taken, size = {UPLOAD_ID}, 0
    for name, value in metadata.items():
        _require_text("a metadata name", name)
        if not _is_text(value):
            raise InvalidArgument(f"metadata {name!r} must have Unicode text as its value")
        header = header_name(name)
        if not name or header in taken:
            raise InvalidArgument(
                f"metadata has the name {name!r}, which is empty, reserved or there twice "
                "(in capitals or not)"
            )
        taken.add(header)
        size += len(header) + len(header_value(value))
    if size > MAX_BYTES - _ID_BYTES:
        raise InvalidArgument(
            f"metadata must be up to {MAX_BYTES - _ID_BYTES} bytes as ASCII headers, not {size}"
        )
    return metadata


def check_content_type(content_type: str) -> str:
    """``content_type`` itself, if it can be a header; raises ``InvalidArgument``."""
    if not _is_text(content_type) or not (content_type == "" or _PLAIN.fullmatch(content_type)):
        raise InvalidArgument(
            f"content_type must be printable ASCII such as text/plain, not {content_type!r:.300}"
        )
    if len(content_type) > _MAX_CONTENT_TYPE:
        raise InvalidArgument(
            f"content_type must be up to {_MAX_CONTENT_TYPE} characters, not {len(content_type)}"
        )
    return content_type


def check_idempotency_key(key: str) -> str:
    """``key`` itself, if it is text that is short enough; raises ``InvalidArgument``."""
    _require_text("idempotency_key", key)
    if len(key) > _MAX_IDEMPOTENCY_KEY:
        raise InvalidArgument(
            f"idempotency_key must be up to {_MAX_IDEMPOTENCY_KEY} characters, not {len(key)}"
        )
    return key


def _require_text(what: str, text: str) -> None:
    if not _is_text(text) or any(unicodedata.category(c) == "Cc" for c in text):
        raise InvalidArgument(f"{what} must be Unicode text without control characters")


def _is_text(value: object) -> bool:
    """Half a character is no text: no encoding knows it."""
    return isinstance(value, str) and all(unicodedata.category(c) != "Cs" for c in value)
