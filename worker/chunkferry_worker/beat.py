"""The beat's scheduler: intervals kept in memory, and never two tasks of a kind in the queue.

Sweeps that wait behind drains, or for a worker at all, would pile up; and with a time limit on
their messages, a busy worker would find nothing but expired ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery.beat import ScheduleEntry, Scheduler

from chunkferry_worker.settings import BEAT_FILE, MAINTENANCE


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
        if self._is_waiting():
            self._missed[entry.name] = entry
            sent = self.reserve(entry) if advance else None
        else:
            self._missed.pop(entry.name, None)
            sent = super().apply_async(entry, producer=producer, advance=advance, **options)
            while self._missed:
                _, missed = self._missed.popitem()
                super().apply_async(missed, producer=producer, advance=False, **options)
        if file := self.app.conf.get(BEAT_FILE):
            Path(file).touch()
        return sent

    def _is_waiting(self) -> bool:
        """True if the queue is known to hold anything."""
        try:
            with self.app.connection_for_write() as connection:
                channel: Any = connection.default_channel
                return bool(channel.queue_declare(MAINTENANCE, passive=True).message_count)
        except Exception:
            # Transports differ in what they raise. Sending tells what is wrong, if anything is.
            return False
