"""tus without its transport: whatever headers come, a request is understood or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.storing import new_upload

from chunkferry.tus import protocol
from chunkferry.tus.headers import BadHeader
from chunkferry.tus.protocol import WrongMediaType, WrongVersion

T = TypeVar("T")

NAMES = [
    *(name.lower() for name in protocol.REQUEST_HEADERS),
    "content-length",
    "transfer-encoding",
    "trailer",
]
SENSIBLE = [
    protocol.OCTETS, protocol.VERSION, "0", "1", "4", "partial", "final;/files/a", "chunked",
    "key dmFsdWU=", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "Upload-Checksum",
]  # fmt: skip
values = st.one_of(
    st.sampled_from(SENSIBLE), st.binary(max_size=30).map(lambda data: data.decode("latin-1"))
)
requests = st.dictionaries(st.sampled_from(NAMES), values)


def understood(read: Callable[[dict[str, str]], T], request: dict[str, str]) -> T | None:
    """What a request asks for; None if it is refused. With any other error the test fails."""
    try:
        return read(request)
    except (BadHeader, WrongMediaType):
        return None


@given(request=requests)
def test_a_post_is_understood_or_refused(request: dict[str, str]) -> None:
    """With a 4xx; what is understood has a length, or says it later, or joins others."""
    wanted = understood(protocol.wanted, request)
    if wanted is None:
        return
    is_final = wanted.concat is not None and wanted.concat.is_final
    assert (wanted.length is None) == (is_final or request.get("upload-defer-length") == "1")
    assert not (is_final and wanted.has_bytes)


@given(request=requests)
def test_a_patch_is_understood_or_refused(request: dict[str, str]) -> None:
    """With a 4xx; what is understood has an offset."""
    added = understood(protocol.addition, request)
    assert added is None or added.offset == int(request["upload-offset"])


@given(version=st.text(max_size=10))
def test_one_version_is_spoken(version: str) -> None:
    """Exactly that."""
    if version != "1.0.0":
        with pytest.raises(WrongVersion):
            protocol.require_version({"tus-resumable": version})


def test_a_missing_version_is_another_one() -> None:
    """The header is required."""
    with pytest.raises(WrongVersion):
        protocol.require_version({})


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({}, BadHeader),
        ({"upload-length": "1", "upload-defer-length": "1"}, BadHeader),
        ({"upload-concat": "final;/a", "upload-length": "1"}, BadHeader),
        ({"upload-concat": "final;/a", "content-type": protocol.OCTETS}, BadHeader),
        ({"upload-length": "1", "content-length": "1"}, WrongMediaType),
        ({"upload-length": "1", "transfer-encoding": "chunked"}, WrongMediaType),
    ],
)
def test_contradictions_are_refused(request_: dict[str, str], error: type[Exception]) -> None:
    """Of a POST."""
    with pytest.raises(error):
        protocol.wanted(request_)


def test_what_a_server_can_is_told() -> None:
    """No more than it can."""
    about = protocol.about_server(max_size=None, concatenates=False, trailers=False)
    extensions = about["Tus-Extension"].split(",")
    assert not {"concatenation", "concatenation-unfinished", "checksum-trailer"} & {*extensions}
    assert "Tus-Max-Size" not in about
    about = protocol.about_server(max_size=7, concatenates=True, trailers=True)
    assert {"concatenation", "checksum-trailer"} <= {*about["Tus-Extension"].split(",")}
    assert about["Tus-Max-Size"] == "7"


@given(offset=st.integers(0, 9), length=st.one_of(st.none(), st.integers(10, 20)))
def test_headers_of_an_answer_are_headers(offset: int, length: int | None) -> None:
    """ASCII without line breaks, with the length or that it is deferred."""
    upload = new_upload(length=length, metadata={"näme": "wert", "a\nb": "c", "key": "ä\n"})
    about = protocol.about_upload(upload, offset, None)
    assert about["Upload-Offset"] == str(offset)
    assert ("Upload-Length" in about) != ("Upload-Defer-Length" in about)
    assert all(value.isascii() and value.isprintable() for value in about.values())
