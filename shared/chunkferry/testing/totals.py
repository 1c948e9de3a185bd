"""The totals, in memory: the twin of ``chunkferry.ledger.totals``."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping


class MemoryTotals:
    """What was counted with this ledger; see ``services.Totals``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, counts: Mapping[str, int]) -> None:
        """Add to each field."""
        with self._lock:
            self._counts.update(counts)

    def read(self) -> dict[str, int]:
        """All fields."""
        with self._lock:
            return dict(self._counts)
