"""How long a command waits for what is temporarily unavailable: until told to stop, or a limit.

Knows nothing of what it waits for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from chunkferry.errors import ChunkferryError

#: A shorter outage is not worth a notice, in seconds.
_NOTICE_AFTER: Final = 2.0
#: Neither is a shorter wait of which no cause is known.
_SILENT: Final = 10.0
#: Between two notices of the same kind, in seconds.
_NOTICE_EVERY: Final = 15.0


class Interrupted(Exception):
    """The user wants to stop; the upload stays as it is."""


class Stalled(ChunkferryError):
    """Nothing moved for as long as the user wants to wait."""

    code = "timeout"
    retryable = True

    def __init__(self, timeout: float) -> None:
        super().__init__(
            f"nothing moved for {timeout:g} s; what was received is kept: the same command goes on"
        )


class Patience:
    """Waits of one upload. Thread-safe."""

    def __init__(
        self, stop: threading.Event, timeout: float | None, notice: Callable[[str], None]
    ) -> None:
        """Wait.

        Args:
            stop: set when the user wants to stop.
            timeout: seconds without any movement to bear; None for all of them.
            notice: tells the user why nothing moves.
        """
        self._stop = stop
        self._timeout = timeout
        self._notice = notice
        self._moved_at = time.monotonic()
        self._told_at = self._moved_at - _NOTICE_EVERY

    def moved(self) -> None:
        """Something moved: the waiting begins anew."""
        self._moved_at = time.monotonic()

    def check(self) -> None:
        """Raise ``Interrupted`` if the user wants to stop."""
        if self._stop.is_set():
            raise Interrupted

    def pause(
        self, seconds: float, cause: ChunkferryError | None = None, *, hint: str = ""
    ) -> None:
        """Wait before another try.

        Args:
            seconds: how long.
            cause: what is temporarily unavailable, if that is known.
            hint: what to tell the user after a while, if it is not.

        Raises:
            Interrupted: the user wants to stop.
            ChunkferryError: ``cause`` or ``Stalled``, when the time is over.
        """
        still = time.monotonic() - self._moved_at
        if self._timeout is not None and still > self._timeout:
            raise cause or Stalled(self._timeout)
        if cause is not None and still > _NOTICE_AFTER:
            self._tell(f"{cause}; trying again")
        elif hint and still > _SILENT:
            self._tell(hint)
        if self._stop.wait(seconds):
            raise Interrupted

    def _tell(self, text: str) -> None:
        now = time.monotonic()
        if now - self._told_at > _NOTICE_EVERY:
            self._told_at = now
            self._notice(text)
