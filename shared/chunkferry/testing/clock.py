"""``ManualClock``: time that passes only when a test says so."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

_START: Final = datetime(2030, 1, 1, tzinfo=UTC)


def wall_clock() -> int:
    """The computer's own clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until ``advance``. Thread-safe."""

    def __init__(self, start: datetime = _START) -> None:
        self._lock = threading.Lock()
        self._milliseconds = int(start.timestamp() * 1000)

    def __call__(self) -> int:
        """Milliseconds since 1970."""
        return self._milliseconds

    def advance(self, span: timedelta) -> None:
        """Let time pass."""
        with self._lock:
            self._milliseconds += span // timedelta(milliseconds=1)
