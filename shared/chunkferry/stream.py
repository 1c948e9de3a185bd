"""The two streams of an upload: parts in, events out. Decides nothing about state.

A part entry's id is ``<end offset>-0``: the stream is ordered by construction, and "where do I
go on?" is a range query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from chunkferry import keys
from chunkferry.connection import translated
from chunkferry.errors import IntegrityError

_FIELD: Final = b"d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the events stream."""

    event_id: str
    state: str
    received: int
    stored: int
    #: None while the length is not known.
    length: int | None
    error: str = ""
    error_code: str = ""


def push(
    transaction: redis.client.Pipeline, upload_id: str, start: int, pieces: Iterable[memoryview]
) -> None:
    """Queue ``pieces``, which follow one another from offset ``start``, as stream entries."""
    end = start
    for piece in pieces:
        end += len(piece)
        # redis-py passes a memoryview through uncopied; its annotations know only bytes.
        transaction.xadd(keys.parts(upload_id), {_FIELD: cast("bytes", piece)}, id=f"{end}-0")


def read(client: redis.Redis, upload_id: str, start: int, end: int) -> Iterator[bytes]:
    """The received bytes [start, end), entry by entry, one at a time in memory.

    Raises:
        IntegrityError: they are not all there. Normal for a worker that lost its lease.
    """
    at = start
    while at < end:
        entry_end, data = _entry_after(client, upload_id, at)
        entry_start = entry_end - len(data)
        if entry_start > at:
            raise IntegrityError(f"bytes {at} to {entry_start} are missing from the stream")
        yield (
            data[at - entry_start : end - entry_start]
            if (entry_start < at or entry_end > end)
            else data
        )
        del data  # not to be held while the next one is read
        at = entry_end


def _entry_after(client: redis.Redis, upload_id: str, at: int) -> tuple[int, bytes]:
    """End and bytes of the first entry that ends behind ``at``."""
    with translated():
        answer = client.xrange(keys.parts(upload_id), min=f"({at}-0", max="+", count=1)
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", answer)
    if not entries:
        raise IntegrityError(f"expected bytes from {at} in the stream, found none")
    entry_id, fields = entries[0]
    return int(entry_id.partition(b"-")[0]), fields[_FIELD]


def events(client: redis.Redis, upload_id: str, after: str, block_ms: int | None) -> list[Event]:
    """The events after the one with the id ``after``, oldest first.

    Args:
        client: waits at least ``block_ms`` for an answer.
        upload_id: the upload.
        after: an event id; "0" for all that are kept.
        block_ms: how long to wait for news if there are none; None for not at all.
    """
    name = keys.events(upload_id)
    with translated():
        answer = cast("Any", client.xread({name: after}, count=100, block=block_ms))
    return [_event(entry_id, fields) for _, batch in answer for entry_id, fields in batch]


def _event(entry_id: bytes, fields: dict[bytes, bytes]) -> Event:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    length = int(text["length"])
    return Event(
        event_id=entry_id.decode(),
        state=text["state"],
        received=int(text["received"]),
        stored=int(text["stored"]),
        length=None if length < 0 else length,
        error=text["error"],
        error_code=text["error_code"],
    )
