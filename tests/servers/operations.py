"""What requests ask a store for, in the words of the tests. Pure; knows requests by their URLs."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

#: Parameters that tell requests apart: of S3, of Google, of Azure.
_BY_NAME: Final = ("partNumber", "uploadId", "uploads", "upload_id")
_BY_VALUE: Final = ("uploadType", "comp")


def operation_of(method: str, target: str) -> str:
    """What a request with this method and target asks for, such as ``PUT partNumber``."""
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    kinds: list[str] = [name for name in _BY_NAME if name in query]
    kinds += [f"{name}={query[name][0]}" for name in _BY_VALUE if name in query]
    return " ".join([method, *kinds[:1]])
