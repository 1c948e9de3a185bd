"""The turns of tellers, in memory: the twin of ``chunkferry.ledger.telling``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from chunkferry.ledger.scripts import milliseconds
from chunkferry.ledger.telling import LEAST, idle_ms
from chunkferry.moves import Told, Turn
from chunkferry.testing.agenda import ripe
from chunkferry.testing.book import Book, has_ended


class MemoryTelling:
    """The tellers' side of the ledger; see ``services.Telling``."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def due(self, limit: int = 100) -> list[str]:
        """Uploads that may have news, up to ``limit`` of each shard."""
        with self._book.turn() as now:
            return ripe(self._book.telling, now, limit)

    def begin(self, upload_id: str, nonce: str, span: timedelta) -> Turn | None:
        """Take the turn."""
        book = self._book
        with book.turn() as now:
            entry = book.find(upload_id)
            if entry is None:
                book.telling.pop(upload_id, None)
                return None
            if entry.teller not in {"", nonce} and entry.teller_until > now:
                book.telling[upload_id] = entry.teller_until
                return None
            entry.teller, entry.teller_until = nonce, now + milliseconds(span)
            book.telling[upload_id] = entry.teller_until
            return Turn(
                upload=book.snapshot(entry, now),
                nonce=nonce,
                told=entry.told,
                began=datetime.fromtimestamp(now / 1000, UTC),
            )

    def note(self, turn: Turn, told: str, span: timedelta) -> bool:
        """Remember who was told."""
        upload_id = turn.upload.upload_id
        with self._book.turn() as now:
            entry = self._book.find(upload_id)
            if entry is None or entry.teller != turn.nonce:
                return False
            entry.told, entry.teller_until = told, now + milliseconds(span)
            self._book.telling[upload_id] = entry.teller_until
            return True

    def end(self, turn: Turn, told: str, pause: timedelta | None) -> Told:
        """Let the turn go."""
        book, upload_id = self._book, turn.upload.upload_id
        with book.turn() as now:
            entry = book.find(upload_id)
            if entry is None or entry.teller != turn.nonce:
                return Told.FENCED
            entry.told, entry.teller, entry.teller_until = told, "", 0
            index, _, changed_at = entry.history[-1]
            if index > turn.upload.history[-1].index:
                book.telling[upload_id] = now
                return Told.MORE
            if pause is None and has_ended(entry):
                del book.telling[upload_id]
                stays = milliseconds(book.settings.result_ttl)
                entry.forgotten_at = max(now + LEAST, entry.finished_at + stays)
                return Told.OVER
            shortest, longest = idle_ms(book.settings)
            quiet = min(max(now - changed_at, shortest), longest)
            book.telling[upload_id] = now + (quiet if pause is None else milliseconds(pause))
            return Told.LATER
