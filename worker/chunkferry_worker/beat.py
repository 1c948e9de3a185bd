"""The beat's scheduler: intervals kept in memory, and never two tasks of a kind in the queue.

Sweeps that wait behind drains, or for a worker at all, would pile up; and with a time limit on
their messages, a busy worker would find nothing but expired ones.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from kombu.exceptions import OperationalError

from chunkferry_worker.settings import BEAT_FILE, MAINTENANCE

log = logging.getLogger(__name__)


class SweepScheduler(Scheduler):
    """Sends tasks only while the queue of the sweeps is empty. Needs no file.

    A task whose turn goes by is sent at the next turn of any task that finds the queue empty: a
    rare task need not wait for a whole interval of its own, which could go by as well.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        #: What went by, by name.
        self._missed: dict[str | None, ScheduleEntry] = {}
        super().__init__(*args, **options)

    def apply_async(
        self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **options: Any
    ) -> Any:
        """Send the task of ``entry``, or let this beat go by."""
        try:
            sent = self._send(entry, producer=producer, advance=advance, **options)
        except (SchedulingError, OperationalError) as exc:
            # Celery would log a hundred lines, with every beat.
            log.warning(
                "The broker did not take a sweep; the next beat tries again. %s",
                exc,
                extra={"action": "beat", "error": type(exc).__name__},
            )
            self._missed[entry.name] = entry
            return None
        if file := self.app.conf.get(BEAT_FILE):
            Path(file).touch()
        return sent

    def _send(self, entry: ScheduleEntry, *, advance: bool, **options: Any) -> Any:
        """Send the task of ``entry`` and what went by before, unless the queue holds some."""
        if self._is_waiting():
            self._missed[entry.name] = entry
            return self.reserve(entry) if advance else None
        sent = super().apply_async(entry, advance=advance, **options)
        self._missed.pop(entry.name, None)
        for name, missed in list(self._missed.items()):
            super().apply_async(missed, advance=False, **options)
            del self._missed[name]
        return sent

    def _is_waiting(self) -> bool:
        """True if the queue is known to hold anything; raises ``OperationalError``."""
        with self.app.connection_for_write() as connection:
            # Left to itself, kombu would try for ever, and say nothing.
            connection.ensure_connection(max_retries=1, interval_start=0)
            try:
                channel: Any = connection.default_channel
                return bool(channel.queue_declare(MAINTENANCE, passive=True).message_count)
            except Exception:
                # Transports differ in what they raise. Sending tells what is wrong, if anything.
                return False
