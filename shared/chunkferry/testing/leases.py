"""The workers' moves, in memory: the twin of ``chunkferry.ledger.leases``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from chunkferry.ledger.scripts import SLACK, lease_lost, milliseconds
from chunkferry.moves import Acquisition, Deferral, Ending, Recording, Release, Standing
from chunkferry.services import StoredPart
from chunkferry.state import State
from chunkferry.testing.book import Book, Entry, has_ended
from chunkferry.upload import ChunkUpload

#: What an ending needs; adopting needs nothing but the lease.
_ENDS_FROM: Final = {Ending.COMPLETE: State.COMPLETING, Ending.ABORTED: State.ABORTING}


class MemoryLeases:
    """The workers' side of the ledger; see ``services.Leases``."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def acquire(self, upload_id: str, nonce: str, worker: str) -> Acquisition:
        """Try to take the lease."""
        book, settings = self._book, self._book.settings
        with book.turn() as now:
            entry = book.find(upload_id)
            if entry is None or has_ended(entry):
                book.due.pop(upload_id, None)
                return Acquisition.GONE
            if refusal := _refusal(entry, nonce, now):
                return refusal
            if not entry.is_runnable:
                entry.scheduled = False
                entry.let_go()
                book.due[upload_id] = entry.expires_at
                return Acquisition.IDLE
            mine, another = entry.owner == nonce, entry.owner not in {"", nonce}
            if (
                not mine
                and entry.deaths >= settings.max_deaths
                and entry.state is not State.ABORTING
            ):
                error = f"{entry.deaths} workers died on this upload one after another"
                book.park(entry, "quarantined", error, now)
                return Acquisition.QUARANTINED
            if not mine:
                entry.epoch, entry.deaths = entry.epoch + 1, entry.deaths + 1
            entry.owner, entry.worker, entry.scheduled = nonce, worker, True
            self._extend(entry, now)
            return Acquisition.TAKEN_OVER if another else Acquisition.ACQUIRED

    def _extend(self, entry: Entry, now: int) -> None:
        entry.lease_until = now + milliseconds(self._book.settings.lease_seconds)
        self._book.due[entry.upload_id] = entry.lease_until + SLACK

    def renew(self, upload_id: str, nonce: str) -> Standing:
        """Keep the lease."""
        with self._book.turn() as now:
            entry = self._book.held(upload_id, nonce)
            self._extend(entry, now)
            return _standing(entry)

    def record_session(
        self, upload_id: str, nonce: str, expected: str, session: str
    ) -> Recording | str:
        """Remember the service's state."""
        with self._book.turn():
            entry = self._book.held(upload_id, nonce)
            if entry.state is State.ABORTING:
                return Recording.CLOSED
            if entry.session not in {expected, session}:
                return entry.session
            entry.session = session
            return Recording.RECORDED

    def commit(
        self,
        upload_id: str,
        nonce: str,
        start: int,
        part: StoredPart,
        *,
        crc32c: int,
        boundary: int,
        session: str = "",
    ) -> Standing:
        """Count a part as stored."""
        book, finish = self._book, start + part.size
        with book.turn() as now:
            entry = book.held(upload_id, nonce)
            if entry.state is State.ABORTING:
                return Standing(state=entry.state, received=0, length=None)
            if entry.state not in {State.RECEIVING, State.RECEIVED, State.COMPLETING}:
                raise lease_lost(upload_id)
            if entry.stored == finish and entry.receipts.get(part.number) == part:
                return _standing(entry)
            if entry.stored != start or entry.session != session or finish > entry.received:
                raise lease_lost(upload_id)
            for end in [end for end in entry.parts if end <= finish]:
                del entry.parts[end]
            entry.stored, entry.crc32c, entry.ripe_at = finish, crc32c, boundary
            entry.deaths = entry.attempts = entry.rewakes = 0
            entry.without_error()
            entry.receipts[part.number] = part
            self._extend(entry, now)
            book.tell(entry)
            return _standing(entry)

    def release(self, upload_id: str, nonce: str) -> Release:
        """Let the lease go."""
        book = self._book
        with book.turn() as now:
            entry = book.held(upload_id, nonce)
            entry.let_go()
            entry.deaths = max(0, entry.deaths - 1)
            entry.rewakes, entry.wanted_since = 0, now
            entry.scheduled = entry.is_runnable
            book.due[upload_id] = now + book.rewake_ms if entry.scheduled else entry.expires_at
            return Release.MORE if entry.scheduled else Release.IDLE

    def defer(
        self, upload_id: str, nonce: str, backoff: timedelta, error_code: str, error: str
    ) -> Deferral:
        """Put the next try off."""
        book = self._book
        with book.turn() as now:
            entry = book.held(upload_id, nonce)
            entry.attempts += 1
            if entry.attempts >= book.settings.max_attempts and entry.state is not State.ABORTING:
                book.park(entry, error_code, error, now)
                return Deferral.FAILED
            entry.let_go()
            entry.deaths = max(0, entry.deaths - 1)
            entry.error, entry.error_code, entry.scheduled = error, error_code, True
            entry.retry_at = entry.wanted_since = now + milliseconds(backoff)
            entry.rewakes = 0
            book.due[upload_id] = entry.retry_at
            return Deferral.DEFERRED

    def fail(self, upload_id: str, nonce: str, error_code: str, error: str) -> None:
        """Give the upload up for now."""
        with self._book.turn() as now:
            entry = self._book.held(upload_id, nonce)
            if entry.state is State.ABORTING:
                raise lease_lost(upload_id)
            self._book.park(entry, error_code, error, now)

    def begin_complete(self, upload_id: str, nonce: str, *, whole: bool = False) -> bool:
        """Fix the direction."""
        with self._book.turn() as now:
            entry = self._book.held(upload_id, nonce)
            if entry.state is State.ABORTING:
                return False
            all_at_once = whole and not entry.stored and entry.received == entry.length
            ready = entry.stored == entry.length or all_at_once
            if entry.state not in {State.RECEIVED, State.COMPLETING} or not ready:
                raise lease_lost(upload_id)
            if entry.state is not State.COMPLETING:
                self._book.turn_to(entry, State.COMPLETING, now)
            return True

    def finish(
        self, held: ChunkUpload, nonce: str, ending: Ending, *, size: int = 0, etag: str = ""
    ) -> State:
        """End the upload."""
        book, settings = self._book, self._book.settings
        with book.turn() as now:
            entry = book.find(held.upload_id)
            repeated = entry is not None and entry.state is State.COMPLETE
            if repeated and ending is not Ending.ABORTED:
                return State.COMPLETE  # this very call, whose first answer was lost
            entry = book.held(held.upload_id, nonce)
            if entry.state is not _ENDS_FROM.get(ending, entry.state):
                raise lease_lost(held.upload_id)
            if settings.tells and not entry.keep_ms:
                book.telling[entry.upload_id] = now
            if ending is Ending.ABORTED:
                book.turn_to(entry, entry.reason, now)
            else:
                book.turn_to(entry, State.COMPLETE, now)
                entry.received = entry.length = entry.stored = size
            entry.etag, entry.finished_at = etag, now
            entry.parts.clear()
            entry.receipts.clear()
            entry.let_go()
            entry.scheduled, entry.session = False, ""
            entry.without_error()
            keep_ms = entry.keep_ms if entry.state is State.COMPLETE else 0
            grave_ms = milliseconds(settings.grave_delay)
            if keep_ms:
                book.partials[entry.upload_id] = now + max(keep_ms, grave_ms)
            else:
                book.partials.pop(entry.upload_id, None)
            if entry.upload_id in book.joins:
                book.joins[entry.upload_id] = now
            untold = entry.upload_id in book.telling
            stays = settings.untold_ttl if untold else settings.result_ttl
            entry.forgotten_at = now + 2 * keep_ms + milliseconds(stays)
            book.due.pop(entry.upload_id, None)
            book.graves[entry.upload_id] = now + grave_ms
            book.tell(entry)
            return entry.state

    def read(self, upload_id: str, start: int, end: int) -> Iterator[bytes]:
        """The received bytes [start, end), piece by piece."""
        return self._book.read(upload_id, start, end)

    def stored_parts(self, upload_id: str) -> list[StoredPart]:
        """All stored parts, in order."""
        with self._book.turn():
            entry = self._book.find(upload_id)
            receipts = entry.receipts.values() if entry else ()
            return sorted(receipts, key=lambda part: part.number)


def _refusal(entry: Entry, nonce: str, now: int) -> Acquisition | None:
    """Why the lease is not to be had now."""
    if entry.state is State.FAILED:
        return Acquisition.FAILED
    if entry.owner not in {"", nonce} and entry.lease_until > now:
        return Acquisition.HELD
    return Acquisition.EARLY if entry.retry_at > now else None


def _standing(entry: Entry) -> Standing:
    return Standing(state=entry.state, received=entry.received, length=entry.length)
