"""The producers' moves, in memory: the twin of ``chunkferry.ledger.intake``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import google_crc32c

from chunkferry import config, keys
from chunkferry.errors import (
    Backpressure,
    ContentConflict,
    IntegrityError,
    LengthMismatch,
    NotDurable,
    OffsetMismatch,
    TooManyUploads,
    UploadClosed,
    UploadInProgress,
)
from chunkferry.ledger.scripts import milliseconds
from chunkferry.moves import Accepted, Created, Draft, Termination
from chunkferry.parts import Grid
from chunkferry.state import REMOVED, TERMINAL, State
from chunkferry.testing.book import Book, Entry
from chunkferry.upload import ChunkUpload

#: Progress of receiving is told at most this often, in milliseconds.
_TOLD_EVERY: Final = 200
#: A producer that has to wait tries again after so many seconds.
_RETRY_AFTER: Final = 0.1

_KNOWS_ITS_BYTES: Final = frozenset(
    {State.RECEIVING, State.RECEIVED, State.COMPLETING, State.COMPLETE}
)
_CANCELLABLE: Final = frozenset({State.RECEIVING, State.RECEIVED, State.FAILED})


class MemoryIntake:
    """The producers' side of the ledger; see ``services.Intake``."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def create(self, draft: Draft) -> Created:
        """Begin an upload."""
        book = self._book
        with book.turn() as now:
            other = book.newest(draft.service, draft.filepath)
            if other is not None:
                state = State.ABORTING if other.termination == "begun" else other.state
                removed = state in REMOVED or other.termination == "done"
                same = draft.idempotency_key and other.token == draft.idempotency_key
                if same and not removed:
                    return Created(upload_id=other.upload_id, wake=False, existed=True)
                if state not in TERMINAL:
                    raise UploadInProgress(draft.filepath, other.upload_id, state.value)
            limit = book.settings.max_open_uploads
            if 0 < limit <= len(book.due):
                raise TooManyUploads(len(book.due), limit)
            entry = self._begun(draft, now)
            book.turn_to(entry, State.RECEIVING, now)
            if draft.length == 0:
                book.turn_to(entry, State.RECEIVED, now)
            if book.settings.tells and draft.keep is None:
                book.telling[entry.upload_id] = now
            entry.is_active(now)
            book.add(entry)
            book.due[entry.upload_id] = (
                now + book.rewake_ms if entry.scheduled else entry.expires_at
            )
            if entry.sources:
                book.joins[entry.upload_id] = now + book.rewake_ms
            if entry.keep_ms:
                book.partials[entry.upload_id] = entry.expires_at + entry.keep_ms
            book.tell(entry)
            return Created(upload_id=entry.upload_id, wake=entry.scheduled, existed=False)

    def _begun(self, draft: Draft, now: int) -> Entry:
        shard = keys.shard_of_path(draft.service, draft.filepath, self._book.settings.shards)
        idle_ms = milliseconds(draft.expiry)
        return Entry(
            upload_id=keys.new_upload_id(shard),
            service=draft.service,
            filepath=draft.filepath,
            state=State.RECEIVING,
            length=draft.length,
            grid=draft.grid,
            idle_ms=idle_ms,
            created_at=now,
            expires_at=now,
            expires_by=now + milliseconds(draft.lasting) if draft.lasting else 0,
            content_type=draft.content_type,
            metadata=dict(draft.metadata),
            notes=dict(draft.notes),
            token=draft.idempotency_key,
            sources=draft.sources,
            keep_ms=milliseconds(draft.keep) if draft.keep else 0,
            ripe_at=draft.grid.boundary(0),
            wanted_since=now,
            scheduled=draft.length == 0,
        )

    def append(
        self, upload_id: str, start: int, pieces: Sequence[memoryview], grid: Grid
    ) -> Accepted:
        """Accept bytes, all or none."""
        data = b"".join(pieces)
        finish = start + len(data)
        with self._book.turn() as now:
            entry = self._book.entry(upload_id)
            if entry.state not in _KNOWS_ITS_BYTES:
                raise UploadClosed(upload_id, entry.state.value)
            if max(start, finish) <= entry.received:
                self._require_same(entry, start, data)
                return Accepted(received=entry.received, wake=False)
            self._require_room(entry, start, finish, grid, now)
            ends = accumulate(map(len, pieces), initial=start)
            next(ends)
            entry.parts.update(zip(ends, map(bytes, pieces), strict=True))
            entry.last = (start, finish, google_crc32c.value(data))
            wake = self._accept(entry, finish, now)
            return Accepted(received=finish, wake=wake, added=len(data))

    def _require_room(self, entry: Entry, start: int, finish: int, grid: Grid, now: int) -> None:
        if entry.state is State.COMPLETE:
            raise UploadClosed(entry.upload_id, entry.state.value)
        if entry.length is not None and finish > entry.length:
            raise LengthMismatch(
                f"the file was announced with {entry.length} bytes, "
                f"but this data ends at byte {finish}"
            )
        if entry.state is not State.RECEIVING:
            raise UploadClosed(entry.upload_id, entry.state.value)
        if start != entry.received:
            raise OffsetMismatch(entry.received, start)
        window = max(self._book.settings.window, entry.ripe_at - entry.stored + config.APPEND_BATCH)
        if finish - entry.stored > window or not self._has_room(entry, start, finish, grid):
            entry.is_active(now)
            raise Backpressure(entry.received, _RETRY_AFTER)

    def _has_room(self, entry: Entry, start: int, finish: int, grid: Grid) -> bool:
        """True if every part that these bytes begin can become whole."""
        part_end = grid.boundary(start)
        needs = max(0, finish - part_end)
        if grid.begins(start):
            needs += (part_end if entry.length is None else min(part_end, entry.length)) - start
        return not needs or self._book.room() >= needs

    def _accept(self, entry: Entry, finish: int, now: int) -> bool:
        """Count the bytes as received; True if a wake-up is to be sent."""
        entry.received = finish
        entry.is_active(now)
        if finish == entry.length:
            self._book.turn_to(entry, State.RECEIVED, now)
        if entry.state is State.RECEIVED or now - entry.told_at >= _TOLD_EVERY:
            entry.told_at = now
            self._book.tell(entry)
        if not entry.scheduled and not entry.is_runnable:
            self._book.due[entry.upload_id] = entry.expires_at
        return self._schedule(entry, now)

    def _schedule(self, entry: Entry, now: int) -> bool:
        """Note that a wake-up is on its way; True if it is to be sent."""
        if entry.scheduled or not entry.is_runnable:
            return False
        entry.scheduled, entry.rewakes, entry.wanted_since = True, 0, now
        self._book.due[entry.upload_id] = now + self._book.rewake_ms
        return True

    def _require_same(self, entry: Entry, start: int, data: bytes) -> None:
        """Refuse repeated bytes that differ, as far as that can still be told."""
        finish = start + len(data)
        if entry.last is not None and entry.last[:2] == (start, finish):
            if entry.last[2] != google_crc32c.value(data):
                raise ContentConflict(start, finish)
            return
        at = max(start, entry.stored)
        try:
            for known in self._book.read(entry.upload_id, at, finish):
                if not data.startswith(known, at - start):
                    raise ContentConflict(at, at + len(known))
                at += len(known)
        except IntegrityError:
            return

    def set_length(self, upload_id: str, length: int) -> bool:
        """Say how long the file is."""
        with self._book.turn() as now:
            entry = self._book.entry(upload_id)
            if entry.length == length:
                return False
            if entry.length is not None:
                raise LengthMismatch(
                    f"the length was announced as {entry.length} bytes, not {length}"
                )
            if entry.state is not State.RECEIVING:
                raise UploadClosed(upload_id, entry.state.value, "change its length")
            if length < entry.received:
                raise LengthMismatch(
                    f"{entry.received} bytes are received already, the length cannot be {length}"
                )
            entry.length = length
            if length == entry.received:
                self._book.turn_to(entry, State.RECEIVED, now)
            self._book.tell(entry)
            return self._schedule(entry, now)

    def ensure_durable(self, upload_id: str, received: int, length: int | None = None) -> None:
        """Return once what was written is as durable as the settings ask."""
        settings = self._book.settings
        if settings.durability == "memory" and not settings.replicas:
            return
        with self._book.turn():
            entry = self._book.entry(upload_id)
            if entry.received < received:
                raise OffsetMismatch(entry.received, received)
            if length not in {None, entry.length}:
                raise NotDurable(upload_id, entry.received, "Redis lost its length again")
            if self._book.is_unsafe:
                raise NotDurable(upload_id, received, "as the test wants it")

    def cancel(self, upload_id: str) -> bool:
        """Have the upload removed."""
        with self._book.turn() as now:
            entry = self._book.entry(upload_id)
            if entry.state is State.CANCELLED or (
                entry.state is State.ABORTING and entry.reason is State.CANCELLED
            ):
                return False
            if entry.state not in _CANCELLABLE:
                raise UploadClosed(upload_id, entry.state.value, "be cancelled")
            self._book.abort(entry, State.CANCELLED, now)
            return True

    def terminate(self, upload: ChunkUpload, *, deleted: bool) -> Termination:
        """Note that an object is about to be deleted, or has been."""
        with self._book.turn():
            entry = self._book.entry(upload.upload_id)
            if entry.state is not State.COMPLETE:
                raise UploadClosed(upload.upload_id, entry.state.value, "be taken back")
            if entry.termination == "done":
                return Termination.SAME
            newest = self._book.newest(entry.service, entry.filepath)
            if not deleted and newest is not None and newest is not entry:
                return Termination.SUPERSEDED
            entry.termination = "done" if deleted else "begun"
            return Termination.NOTED

    def requeue(self, upload_id: str) -> bool:
        """Give a failed upload another chance."""
        with self._book.turn() as now:
            entry = self._book.entry(upload_id)
            if entry.state is not State.FAILED:
                raise UploadClosed(upload_id, entry.state.value, "be requeued")
            whole = entry.received == entry.length
            self._book.turn_to(entry, State.RECEIVED if whole else State.RECEIVING, now)
            entry.expires_at = now + entry.idle_ms
            entry.another_chance()
            entry.wanted_since = now
            entry.without_error()
            entry.failed_until = 0
            self._book.due[upload_id] = entry.expires_at
            wake = self._schedule(entry, now)
            if upload_id in self._book.joins:
                self._book.joins[upload_id] = now
            self._book.tell(entry)
            return wake
