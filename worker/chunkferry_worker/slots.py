"""Slots: how many deliveries one worker makes at once, over all processes of its pool.

A killed process must not leave its slot taken: record locks of the kernel end with it.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Slots:
    """Made before the pool forks, used by its processes. Thread-safe."""

    def __init__(self, count: int) -> None:
        self._count = count
        # Nameless, and inherited: all processes of the pool lock the same file.
        self._file, name = tempfile.mkstemp(prefix="chunkferry-slots-")
        Path(name).unlink()
        weakref.finalize(self, os.close, self._file)
        self._lock = threading.Lock()
        self._ours = set[int]()

    @contextmanager
    def one(self) -> Iterator[bool]:
        """A slot for as long as the context lasts, or False if none is free."""
        slot = self._take()
        try:
            yield slot is not None
        finally:
            if slot is not None:
                self._let_go(slot)

    def _take(self) -> int | None:
        with self._lock:
            for slot in range(self._count):
                # A process may lock what it has locked itself.
                if slot not in self._ours and self._is_free(slot):
                    self._ours.add(slot)
                    return slot
        return None

    def _is_free(self, slot: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            return False
        return True

    def _let_go(self, slot: int) -> None:
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot)
            self._ours.discard(slot)
