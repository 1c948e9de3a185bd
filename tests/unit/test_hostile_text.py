"""Text that comes from a web client, whatever it is: taken as it is, or refused by name."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.ledgers import outcome_of

from chunkferry import ChunkManager, ChunkUpload
from chunkferry.config import load
from chunkferry.errors import ChunkferryError, InvalidArgument, StoreRefused, UploadNotFound
from chunkferry.storage.s3 import metadata
from chunkferry.testing import MemoryLedger, RecordingWaker

#: Lone surrogates included: JSON can carry them.
texts = st.text(st.characters(), max_size=300) | st.from_regex(r"[ -~\r\n\0]{0,40}")


def manager() -> ChunkManager:
    """One without any server."""
    settings = load()
    return ChunkManager(settings=settings, ledger=MemoryLedger(settings), waker=RecordingWaker())


@given(
    filepath=texts,
    service=texts,
    content_type=texts,
    notes=st.dictionaries(texts, texts, max_size=3),
    idempotency_key=texts,
)
def test_an_upload_is_begun_or_refused_by_name(
    filepath: str, service: str, content_type: str, notes: dict[str, str], idempotency_key: str
) -> None:
    """No text of any argument ends in an error that is not ours."""
    arguments: list[dict[str, Any]] = [
        {"filepath": filepath},
        {"filepath": "a", "service": service},
        {"filepath": "a", "content_type": content_type},
        {"filepath": "a", "metadata": notes},
        {"filepath": "a", "idempotency_key": idempotency_key},
    ]
    for given_ones in arguments:
        outcome = outcome_of(functools.partial(manager().create, **given_ones))
        if isinstance(outcome, ChunkUpload):
            assert given_ones["filepath"] == outcome.filepath
        else:
            assert isinstance(outcome, ChunkferryError)
            assert outcome.http_status in {400, 413}
            # It may be logged: one line, and nothing that steers a terminal.
            assert str(outcome).isprintable()


@given(upload_id=texts)
@example("0-" + "0" * 32 + "\n")
def test_no_text_is_taken_for_an_upload(upload_id: str) -> None:
    """An id is known, or it is refused before it reaches a key's name."""
    with pytest.raises(UploadNotFound) as raised:
        manager().get(upload_id)
    assert str(raised.value).isprintable()


@given(after=texts.filter(lambda text: not re.fullmatch(r"[0-9]+(-[0-9]+)?", text)))
@example("$")
@example("+")
def test_no_text_is_taken_for_an_event(after: str) -> None:
    """A Last-Event-ID is whatever the client likes."""
    site = manager()
    upload_id = site.create("a").upload_id
    with pytest.raises(InvalidArgument):
        site.watch(upload_id, after)


@pytest.mark.parametrize("text", ["a/b\r\nx-amz-acl: public-read", "a/b\n", "a\0b", "text/ä"])
def test_a_content_type_cannot_end_its_header(text: str) -> None:
    """It goes to the store and to readers as a header."""
    with pytest.raises(InvalidArgument, match="content_type must be"):
        manager().create("a", content_type=text)


@given(notes=st.dictionaries(texts, texts, max_size=4))
def test_metadata_cannot_end_its_header(notes: dict[str, str]) -> None:
    """Whatever its names and values are, S3 gets printable ASCII on one line each."""
    try:
        manager().create("a", metadata=notes)
        encoded = metadata.encode("id", notes)
    except (InvalidArgument, StoreRefused):
        return
    for name, value in encoded.items():
        assert re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9a-z]+", name, re.IGNORECASE)
        assert re.fullmatch(r"[ -~]*", value)
