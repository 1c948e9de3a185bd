"""What an upload may carry: refused at once where a store would refuse it later."""

from __future__ import annotations

from typing import Any

import pytest

from chunkferry import keys
from chunkferry.errors import InvalidArgument
from chunkferry.metadata import check_content_type, check_idempotency_key, check_metadata
from chunkferry.storage.s3 import metadata as s3

#: Half of a character outside the basic plane.
HALF = "\ud83d"


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"name": "plain text"},
        {"Größe": "ü\r\nzwei Zeilen", "empty": ""},
        {str(number): "" for number in range(64)},
        {"k": "v" * 1992},
    ],
)
def test_what_every_store_takes_is_taken(good: dict[str, str]) -> None:
    """S3 takes it as well, beside the longest of our own ids."""
    assert check_metadata(good) is good
    s3.encode(keys.new_upload_id(16383), good)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"": "v"}, "empty"),
        ({"Chunkferry-Upload": "v"}, "reserved"),
        ({"a": "1", "A": "2"}, "there twice"),
        ({"a\n": "1"}, "control characters"),
        ({HALF: "1"}, "Unicode"),
        ({"a": HALF}, "Unicode"),
        ({"a": 1}, "Unicode text as its value"),
        ({1: "a"}, "a metadata name must be"),
        ({str(number): "" for number in range(65)}, "up to 64 names, not 65"),
        ({"k": "v" * 1993}, "up to 1993 bytes as ASCII headers, not 1994"),
        ({"ü" * 400: ""}, "up to 1993 bytes as ASCII headers, not 2400"),
    ],
)
def test_what_a_store_would_refuse_is_refused(bad: Any, reason: str) -> None:
    """With the reason, before anything is begun."""
    with pytest.raises(InvalidArgument, match=reason):
        check_metadata(bad)


@pytest.mark.parametrize("good", ["", "text/plain", 'text/html; charset="utf-8"', "x" * 255])
def test_a_content_type_is_a_header(good: str) -> None:
    """Whether it is a known one is nobody's business here."""
    assert check_content_type(good) == good


@pytest.mark.parametrize("bad", ["text/pläin", "a\r\nb", " a", "x" * 256, HALF, None])
def test_what_is_no_header_is_refused(bad: Any) -> None:
    """A worker would fail with it later."""
    with pytest.raises(InvalidArgument, match="content_type must be"):
        check_content_type(bad)


@pytest.mark.parametrize("bad", ["k" * 256, "a\0b", HALF, b"bytes"])
def test_an_idempotency_key_is_short_text(bad: Any) -> None:
    """It is kept in Redis with the upload."""
    with pytest.raises(InvalidArgument, match="idempotency_key must be"):
        check_idempotency_key(bad)
    assert check_idempotency_key("k" * 255) == "k" * 255
