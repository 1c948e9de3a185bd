"""The frozen picture of an upload."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from chunkferry.parts import MIB, Grid
from chunkferry.state import State
from chunkferry.upload import ChunkUpload, from_hashes

PART = 5 * MIB
NOW = 1_900_000_000_123
INTAKE = {
    "state": "receiving",
    "received": "5",
    "length": "-1",
    "service": "default",
    "filepath": "a/b",
    "grid": "8388608+",
    "content_type": "text/plain",
    "metadata": '{"key": "v\\u00e4lue"}',
    "created_at": str(NOW),
    "expires_at": str(NOW + 1000),
}
WORK = {
    "stored": "3",
    "owner": "secret nonce",
    "worker": "w1@host",
    "lease_until": str(NOW + 1),
    "epoch": "4",
    "attempts": "2",
    "crc32c": "77",
    "session": "secret session",
    "error": "it rains",
    "error_code": "store_unavailable",
}


def upload(length: int | None, received: int, *, growing: bool = False) -> ChunkUpload:
    """An upload of parts of 5 MiB."""
    return dataclasses.replace(
        from_hashes("1-x", INTAKE, WORK, NOW),
        length=length,
        received=received,
        grid=Grid(PART, growing=growing),
    )


def test_the_hashes_say_all() -> None:
    """Each field, in Python's types."""
    assert from_hashes("1-x", INTAKE, WORK, NOW) == ChunkUpload(
        upload_id="1-x",
        filepath="a/b",
        service="default",
        state=State.RECEIVING,
        length=None,
        received=5,
        stored=3,
        grid=Grid(8 * MIB, growing=True),
        content_type="text/plain",
        metadata={"key": "välue"},
        created_at=datetime.fromtimestamp(NOW / 1000, UTC),
        expiry=datetime.fromtimestamp((NOW + 1000) / 1000, UTC),
        error="it rains",
        error_code="store_unavailable",
        holder="w1@host",
        epoch=4,
        attempts=2,
        crc32c=77,
        session="secret session",
    )


def test_a_lease_that_ran_out_has_no_holder() -> None:
    """Whether anybody took over or not."""
    assert from_hashes("1-x", INTAKE, WORK, NOW).is_processing
    assert not from_hashes("1-x", INTAKE, WORK, NOW + 1).is_processing


def test_secrets_are_not_shown() -> None:
    """Neither the store's session nor the nonce of the lease is in a log line."""
    assert "secret" not in repr(from_hashes("1-x", INTAKE, WORK, NOW))


@pytest.mark.parametrize(
    ("length", "received", "chunks", "whole"),
    [
        (0, 0, 0, 0),
        (1, 0, 1, 0),
        (1, 1, 1, 1),
        (PART, PART - 1, 1, 0),
        (PART, PART, 1, 1),
        (PART + 1, PART, 2, 1),
        (PART + 1, PART + 1, 2, 2),
        (3 * PART, 2 * PART + 7, 3, 2),
    ],
)
def test_parts_count_once_they_are_whole(
    length: int, received: int, chunks: int, whole: int
) -> None:
    """The last one may be shorter, and counts with the last byte."""
    found = upload(length, received)
    assert (found.chunks, found.num_received_parts) == (chunks, whole)


def test_without_a_length_there_is_no_last_part() -> None:
    """The number of parts is not known, and a begun one does not count."""
    found = upload(None, 2 * PART + 7, growing=True)
    assert (found.chunks, found.num_received_parts) == (None, 2)


@pytest.mark.parametrize("state", State)
def test_the_state_answers_simple_questions(state: State) -> None:
    """Is it complete, has it ended?"""
    found = dataclasses.replace(upload(1, 1), state=state)
    assert found.is_complete == (state is State.COMPLETE)
    assert found.has_ended == (state in {State.COMPLETE, State.EXPIRED, State.CANCELLED})


def test_uploaded_is_what_the_store_has() -> None:
    """Not what was received."""
    assert from_hashes("1-x", INTAKE, WORK, NOW).uploaded == 3
