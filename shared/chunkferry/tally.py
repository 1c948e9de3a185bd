"""``Tally``: what this process has counted, until it is added to what all processes have.

Counting costs no I/O and never fails; nothing that happens to an upload depends on it. Knows
neither Redis nor what the numbers mean.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from chunkferry.errors import ChunkferryError
from chunkferry.families import Family
from chunkferry.services import Totals

log = logging.getLogger(__name__)

#: Whoever counts and then has nothing more to do is heard after so many seconds.
_DELAY: Final = 2.0
#: After a failure nobody tries again for so many seconds: a turn must not wait for counts.
_PAUSE: Final = 10.0


class _Pending:
    """What has been counted and not been told yet."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        #: True while a thread is about to tell them.
        self.is_timed = False


class Tally:
    """Counts. Thread-safe; survives a fork."""

    def __init__(self, totals: Totals) -> None:
        """Add what is counted to ``totals`` now and then."""
        self._totals = totals
        self._silent_until = 0.0
        self._made_by = 0
        _all.add(self)

    def count(self, family: Family, *labels: str, by: int = 1) -> None:
        """Count ``by`` more of ``family``, for these values of its labels."""
        if by:
            self._add({family.field(*labels): by})

    def observe(self, family: Family, seconds: float, *labels: str) -> None:
        """Count one observation of a histogram."""
        self._add(family.observed(seconds, *labels))

    def flush(self) -> None:
        """Add what was counted to what all processes have counted. Never raises.

        What cannot be told is kept for the next time; a process that dies takes it along.
        """
        if time.monotonic() < self._silent_until:
            return
        try:
            self.tell()
        except ChunkferryError as exc:
            # Everybody else says that Redis is away; only here it does not matter.
            self._rest(logging.INFO if exc.retryable else logging.WARNING, exc)
        except Exception as exc:
            self._rest(logging.WARNING, type(exc).__name__)

    def _rest(self, level: int, why: object) -> None:
        self._silent_until = time.monotonic() + _PAUSE
        log.log(level, "What was counted cannot be told yet: %s", why, extra={"action": "tally"})

    def tell(self) -> None:
        """As ``flush``, but whatever is wrong is raised."""
        pending = self._own()
        with pending.lock:
            counts, pending.counts = pending.counts, Counter()
        if not counts:
            return
        try:
            self._totals.add(counts)
        except BaseException:
            # Where only the answer was lost these are counted twice: better than an outage in
            # which nothing seems to happen.
            with pending.lock:
                pending.counts.update(counts)
            raise

    def _add(self, counts: Mapping[str, int]) -> None:
        pending = self._own()
        with pending.lock:
            pending.counts.update(counts)
            begins, pending.is_timed = not pending.is_timed, True
        if begins:
            timer = threading.Timer(_DELAY, self._on_time, [pending])
            timer.name, timer.daemon = "chunkferry-tally", True
            # An interpreter that ends starts no threads; it tells all counts itself.
            with suppress(RuntimeError):
                timer.start()

    def _on_time(self, pending: _Pending) -> None:
        with pending.lock:
            pending.is_timed = False
        # A process that ends tells everything by itself.
        if threading.main_thread().is_alive():
            self.flush()

    def _own(self) -> _Pending:
        """The counts of this very process: those of its parent are the parent's to tell."""
        # No lock, which a fork could leave held: of two threads that come first, one may lose its
        # first count.
        if self._made_by != os.getpid():
            self._pending, self._made_by = _Pending(), os.getpid()
        return self._pending


#: Whose counts are told when the process ends.
_all: Final = weakref.WeakSet[Tally]()


@atexit.register
def _tell_all() -> None:
    # Whoever ends because Redis is away neither waits for it again and again nor complains.
    with suppress(Exception):
        for tally in list(_all):
            tally.tell()
