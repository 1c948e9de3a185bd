"""The moves of the sweep, in memory: the twin of ``chunkferry.ledger.agenda``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from chunkferry import keys
from chunkferry.ledger.agenda import pause_ms
from chunkferry.ledger.scripts import SLACK, milliseconds
from chunkferry.moves import Rousing
from chunkferry.state import State
from chunkferry.testing.book import Book, Entry, has_ended

#: Longest pause between two wake-ups for the same work, in milliseconds.
_REWAKE_MAX: Final = 300_000


class MemoryAgenda:
    """The sweep's side of the ledger; see ``services.Agenda``."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._swept_at = 0
        self._forgiven_until = 0

    def attend(self) -> int:
        """Say that a sweep looks."""
        settings = self._book.settings
        with self._book.turn() as now:
            pause = now - self._swept_at if self._swept_at else 0
            if pause > pause_ms(settings):
                self._forgiven_until = now + pause
            longest = now + milliseconds(settings.incomplete_upload_expiry)
            self._forgiven_until = min(self._forgiven_until, longest)
            self._swept_at = now
            return max(0, self._forgiven_until - now)

    def due(self, limit: int = 100) -> list[str]:
        """Uploads to look at now, up to ``limit`` of each shard."""
        with self._book.turn() as now:
            return ripe(self._book.due, now, limit)

    def rouse(self, upload_id: str, forgiven_ms: int = 0) -> Rousing:
        """Look at an upload that is due."""
        book = self._book
        with book.turn() as now:
            entry = book.find(upload_id)
            if entry is None or has_ended(entry):
                book.due.pop(upload_id, None)
                return Rousing.GONE
            if entry.owner and entry.lease_until > now:
                book.due[upload_id] = entry.lease_until + SLACK
                return Rousing.HELD
            if book.due.get(upload_id, 0) > now:
                return Rousing.EARLY
            return self._rouse(entry, now, now + forgiven_ms)

    def _rouse(self, entry: Entry, now: int, forgiven_until: int) -> Rousing:
        """Look at an upload that is due and that nobody holds."""
        book = self._book
        failed_until = max(entry.failed_until, forgiven_until)
        if entry.state is State.FAILED and now < failed_until:
            book.due[entry.upload_id] = failed_until
            return Rousing.FAILED
        if entry.is_runnable:
            pause = min(book.rewake_ms * 2 ** min(entry.rewakes, 20), _REWAKE_MAX)
            entry.scheduled, entry.rewakes = True, entry.rewakes + 1
            book.due[entry.upload_id] = now + pause
            return Rousing.WAKE
        expires_at = max(entry.expires_at, forgiven_until)
        if entry.state is State.FAILED or now >= expires_at:
            book.abort(entry, State.EXPIRED, now)
            return Rousing.EXPIRED
        entry.scheduled = False
        entry.let_go()
        book.due[entry.upload_id] = expires_at
        return Rousing.IDLE

    def graves(self, limit: int = 100) -> list[str]:
        """Ended uploads to look after once more at their store, up to ``limit`` of each shard."""
        with self._book.turn() as now:
            return ripe(self._book.graves, now, limit)

    def forget_grave(self, upload_id: str) -> None:
        """Nothing of an ended upload is left at its store."""
        keys.shard_of(upload_id)
        with self._book.turn():
            self._book.graves.pop(upload_id, None)


def ripe(moments: Mapping[str, int], now: int, limit: int) -> list[str]:
    """The uploads whose moment has come, in order, up to ``limit`` of each shard."""
    shards = defaultdict[int, list[str]](list)
    for _, upload_id in sorted((at, upload_id) for upload_id, at in moments.items() if at <= now):
        shards[keys.shard_of(upload_id)].append(upload_id)
    return [upload_id for shard in sorted(shards) for upload_id in shards[shard][:limit]]
