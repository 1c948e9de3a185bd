"""The backlog, in memory: the twin of ``chunkferry.ledger.health``."""

from __future__ import annotations

from chunkferry.backlog import Backlog, Reading, add_up
from chunkferry.testing.book import Book, Entry


class MemoryHealth:
    """How the uploads are doing as a whole; see ``services.Health``."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def backlog(self) -> Backlog:
        """All uploads that have not ended, added up."""
        book = self._book
        with book.turn() as now:
            readings = [_reading(now, entry, book.due[entry.upload_id]) for entry in book.living()]
            return add_up(readings, book.rewake_ms)


def _reading(now: int, entry: Entry, due_at: int) -> Reading:
    return Reading(
        now=now,
        state=entry.state,
        received=entry.received,
        stored=entry.stored,
        due_at=due_at,
        scheduled=entry.scheduled,
        owned=bool(entry.owner),
        lease_until=entry.lease_until,
        wanted_since=entry.wanted_since,
        error_code=entry.error_code,
    )
