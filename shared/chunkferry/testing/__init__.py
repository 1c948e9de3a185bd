"""In-memory twins of everything chunkferry talks to, for your own tests.

A ``ChunkManager`` with these needs no Redis and no Celery::

    clock, waker = ManualClock(), RecordingWaker()
    ledger = MemoryLedger(settings, clock=clock)
    manager = ChunkManager(settings=settings, ledger=ledger, waker=waker)

They behave as the real ones do: one test suite runs over both, and random operations are run
against both side by side.
"""

from chunkferry.storage.memory import MemoryFileService, MemoryObject, MemorySession, MemoryStore
from chunkferry.testing.clock import ManualClock
from chunkferry.testing.ledger import MemoryLedger
from chunkferry.testing.waker import RecordingWaker

__all__ = [
    "ManualClock",
    "MemoryFileService",
    "MemoryLedger",
    "MemoryObject",
    "MemorySession",
    "MemoryStore",
    "RecordingWaker",
]
