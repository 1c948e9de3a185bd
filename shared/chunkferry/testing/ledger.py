"""``MemoryLedger``: the ledger in this process, with the outcomes and errors of the one in Redis.

Time is the given clock's alone; ended uploads are forgotten by it too.
"""

from __future__ import annotations

from collections.abc import Callable

from chunkferry import config
from chunkferry.config import Settings
from chunkferry.testing.agenda import MemoryAgenda
from chunkferry.testing.book import Book
from chunkferry.testing.clock import wall_clock
from chunkferry.testing.health import MemoryHealth
from chunkferry.testing.intake import MemoryIntake
from chunkferry.testing.joins import MemoryJoins
from chunkferry.testing.leases import MemoryLeases
from chunkferry.testing.letters import MemoryLetters
from chunkferry.testing.principals import MemoryPrincipals
from chunkferry.testing.records import MemoryRecords
from chunkferry.testing.telling import MemoryTelling
from chunkferry.testing.totals import MemoryTotals


class MemoryLedger:
    """A ``services.Ledger`` without Redis. Thread-safe; not shared with other processes."""

    def __init__(
        self, settings: Settings | None = None, *, clock: Callable[[], int] = wall_clock
    ) -> None:
        """Begin empty.

        Args:
            settings: default: what the ``CHUNKFERRY_…`` variables say.
            clock: milliseconds since 1970, such as a ``ManualClock``.
        """
        self._book = Book(settings or config.load(), clock)
        self.intake = MemoryIntake(self._book)
        self.leases = MemoryLeases(self._book)
        self.agenda = MemoryAgenda(self._book)
        self.joins = MemoryJoins(self._book)
        self.records = MemoryRecords(self._book)
        self.health = MemoryHealth(self._book)
        self.totals = MemoryTotals()
        self.telling = MemoryTelling(self._book)
        self.letters = MemoryLetters()
        self.principals = MemoryPrincipals(self._book)

    @property
    def is_pressed(self) -> bool:
        """True if appends shall behave as with a Redis whose memory is nearly used up."""
        return self._book.is_pressed

    @is_pressed.setter
    def is_pressed(self, pressed: bool) -> None:
        self._book.is_pressed = pressed

    @property
    def is_unsafe(self) -> bool:
        """True if disk and replicas shall not answer, where the settings ask for them."""
        return self._book.is_unsafe

    @is_unsafe.setter
    def is_unsafe(self, unsafe: bool) -> None:
        self._book.is_unsafe = unsafe
