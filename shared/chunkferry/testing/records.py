"""Questions about uploads, in memory: the twin of ``chunkferry.ledger.records``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from chunkferry.parts import Grid
from chunkferry.stream import Event
from chunkferry.testing.book import Book
from chunkferry.upload import ChunkUpload

#: Most events of one answer.
_BATCH: Final = 100


class MemoryRecords:
    """What is known about the uploads; see ``services.Records``."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def get(self, upload_id: str) -> ChunkUpload:
        """The upload as it is now; raises ``UploadNotFound``."""
        with self._book.turn() as now:
            return self._book.snapshot(self._book.entry(upload_id), now)

    def get_all(self, upload_ids: Sequence[str]) -> list[ChunkUpload | None]:
        """Each upload as it is now, in this order; None for those that are not known."""
        with self._book.turn() as now:
            entries = map(self._book.find, upload_ids)
            return [None if entry is None else self._book.snapshot(entry, now) for entry in entries]

    def find(self, service: str, filepath: str) -> ChunkUpload | None:
        """The newest upload to a path, ended or not; None if there is none."""
        with self._book.turn() as now:
            entry = self._book.newest(service, filepath)
            return None if entry is None else self._book.snapshot(entry, now)

    def list_uploads(self) -> Iterator[ChunkUpload]:
        """All uploads that are known: ended ones until their records vanish."""
        with self._book.turn() as now:
            found = self._book.snapshots(now)
        yield from found

    def grid(self, upload_id: str) -> Grid:
        """The part grid of an upload; raises ``UploadNotFound``."""
        with self._book.turn():
            return self._book.entry(upload_id).grid

    def events(self, upload_id: str, after: str, block_ms: int | None = None) -> list[Event]:
        """What happened after the event ``after``, waiting up to ``block_ms`` for news."""
        position = _number(after)

        def news() -> list[Event]:
            entry = self._book.find(upload_id)
            told = entry.events if entry else []
            return [event for event in told if _number(event.event_id) > position][:_BATCH]

        with self._book.turn():
            if block_ms is not None:
                self._book.news.wait_for(news, block_ms / 1000)
            return news()

    def last_event_id(self, upload_id: str) -> str:
        """The id of the newest event; "0" if there is none."""
        with self._book.turn():
            entry = self._book.find(upload_id)
            return entry.events[-1].event_id if entry and entry.events else "0"


def _number(event_id: str) -> int:
    return int(event_id.partition("-")[0])
