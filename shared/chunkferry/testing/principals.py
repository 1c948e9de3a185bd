"""Whose uploads are open, in memory: the twin of ``chunkferry.ledger.principals``."""

from __future__ import annotations

from collections import defaultdict

from chunkferry.testing.book import Book, has_ended
from chunkferry.upload import ChunkUpload


class MemoryPrincipals:
    """The uploads by principal; see ``services.Principals``."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._uploads = defaultdict[str, dict[str, None]](dict)

    def note(self, principal: str, upload_id: str) -> None:
        """An upload of ``principal`` has begun."""
        with self._book.turn():
            self._uploads[principal][upload_id] = None

    def uploads_of(self, principal: str) -> list[ChunkUpload]:
        """The open uploads of ``principal``."""
        with self._book.turn() as now:
            found = [self._book.find(upload_id) for upload_id in self._uploads[principal]]
            open_ = [entry for entry in found if entry is not None and not has_ended(entry)]
            self._uploads[principal] = {entry.upload_id: None for entry in open_}
            return [self._book.snapshot(entry, now) for entry in open_]
