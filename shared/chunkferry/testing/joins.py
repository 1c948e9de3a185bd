"""Uploads that are joined from others, in memory: the twin of ``chunkferry.ledger.joins``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from chunkferry import keys
from chunkferry.ledger.scripts import milliseconds
from chunkferry.state import State
from chunkferry.testing.agenda import ripe
from chunkferry.testing.book import Book, Entry, has_ended
from chunkferry.upload import ChunkUpload


class MemoryJoins:
    """The joining side of the ledger; see ``services.Joins``."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def due(self, limit: int = 100) -> list[str]:
        """Joined uploads to look at now, up to ``limit`` of each shard."""
        with self._book.turn() as now:
            return ripe(self._book.joins, now, limit)

    def linger(self, upload_id: str, pause: timedelta, *, waiting: bool = False) -> None:
        """Look again after ``pause``."""
        with self._book.turn() as now:
            entry = self._book.find(upload_id)
            if entry is None:
                return
            if waiting and entry.state is State.RECEIVING:
                entry.is_active(now)
            if upload_id in self._book.joins:
                self._book.joins[upload_id] = now + milliseconds(pause)

    def forget(self, upload_id: str) -> None:
        """Nothing is left to be done for a joined upload."""
        keys.shard_of(upload_id)
        with self._book.turn():
            self._book.joins.pop(upload_id, None)

    def link(self, partial_ids: Sequence[str], final_id: str) -> None:
        """Note that partial uploads are needed."""
        with self._book.turn():
            for entry in filter(None, map(self._book.find, partial_ids)):
                entry.finals = tuple(dict.fromkeys((*entry.finals, final_id)))

    def give_up(self, upload_id: str, error_code: str, error: str) -> bool:
        """Fail a joined upload."""
        with self._book.turn() as now:
            entry = self._book.find(upload_id)
            if entry is None or entry.state is not State.RECEIVING:
                return False
            self._book.park(entry, error_code, error, now)
            return True

    def spent(self, limit: int = 100) -> list[str]:
        """Partial uploads whose objects may be removed, up to ``limit`` of each shard."""
        with self._book.turn() as now:
            return ripe(self._book.partials, now, limit)

    def keep(self, uploads: Sequence[ChunkUpload], span: timedelta, final_id: str = "") -> None:
        """Keep partial uploads for ``span`` from now."""
        with self._book.turn() as now:
            for entry in self._entries(uploads):
                if not final_id or final_id in entry.finals:
                    self._keep(entry, now + milliseconds(span))

    def spend(self, uploads: Sequence[ChunkUpload], final_id: str, *, whole: bool) -> None:
        """Note that partial uploads are not needed."""
        grave_ms = milliseconds(self._book.settings.grave_delay)
        with self._book.turn() as now:
            for entry in self._entries(uploads):
                entry.finals = tuple(other for other in entry.finals if other != final_id)
                if whole and not entry.finals and has_ended(entry):
                    self._keep(entry, max(now, entry.finished_at + grave_ms))

    def _entries(self, uploads: Sequence[ChunkUpload]) -> list[Entry]:
        found = (self._book.find(upload.upload_id) for upload in uploads)
        return [entry for entry in found if entry is not None]

    def _keep(self, entry: Entry, moment: int) -> None:
        settings = self._book.settings
        if has_ended(entry):
            ttl = settings.incomplete_upload_expiry + settings.result_ttl
            entry.forgotten_at = moment + milliseconds(ttl)
        if entry.upload_id in self._book.partials:
            self._book.partials[entry.upload_id] = moment

    def discard(self, upload: ChunkUpload) -> None:
        """Forget a partial upload that has ended."""
        with self._book.turn():
            entry = self._book.find(upload.upload_id)
            if entry is not None and not has_ended(entry):
                return
            self._book.partials.pop(upload.upload_id, None)
            if entry is not None:
                self._book.discard(entry)

    def forget_partial(self, upload_id: str) -> None:
        """Nothing is known of a partial upload any more."""
        keys.shard_of(upload_id)
        with self._book.turn():
            self._book.partials.pop(upload_id, None)
