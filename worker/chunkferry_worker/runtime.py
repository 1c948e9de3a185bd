"""What the tasks of one process work with, made on first use.

This is the composition root of the worker: the only place that knows both Redis and the stores.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import socket
import threading
from typing import TYPE_CHECKING, TypeVar

from chunkferry import connection, families, wakeup
from chunkferry.config import Settings
from chunkferry.ledger import RedisLedger
from chunkferry.storage import Stores
from chunkferry.tally import Tally
from chunkferry_worker import counting, failpoints, sinks
from chunkferry_worker.drain import Drain
from chunkferry_worker.join import Join
from chunkferry_worker.reconcile import Reconcile
from chunkferry_worker.slots import Slots
from chunkferry_worker.sweep import Sweep
from chunkferry_worker.teller import Teller

if TYPE_CHECKING:
    from celery import Celery

_R = TypeVar("_R", bound=counting.Report)


class Runtime:
    """Ledger, stores and use cases of this process. Thread-safe; survives a fork."""

    def __init__(self, settings: Settings, app: Celery) -> None:
        self._settings = settings
        self._app = app
        self._lock = threading.Lock()
        self._made_by = 0
        # Shared memory, made before the pool forks: the children see what the main process is
        # told. Without a lock, which a killed child could leave locked for all others.
        self._stopping = multiprocessing.RawValue(ctypes.c_bool, False)
        self._slots = Slots(settings.webhook_slots)

    def require_usable(self) -> None:
        """Check Redis before any work is taken.

        Raises:
            ConfigError: it is unfit: evicting, too old, a replica, or of another layout; or
                ``on_complete`` names nothing that can be called.
            RedisUnavailable: it does not answer.
        """
        self._ledger().records.require_usable()
        sinks.of(self._settings)

    def stop(self) -> None:
        """Have running drains end after the part they are at."""
        self._stopping.value = True

    @property
    def drain(self) -> Drain:
        """The drain of this process."""
        self._make()
        return self._drain

    @property
    def join(self) -> Join:
        """The join of this process."""
        self._make()
        return self._join

    @property
    def sweep(self) -> Sweep:
        """The sweep of this process."""
        self._make()
        return self._sweep

    @property
    def reconcile(self) -> Reconcile:
        """The reconcile of this process."""
        self._make()
        return self._reconcile

    def counted(self, report: _R) -> _R:
        """The report of a task, once the metrics have it."""
        counting.count(self._tally, report)
        return report

    @property
    def teller(self) -> Teller:
        """The teller of this process."""
        self._make()
        return self._teller

    def _ledger(self) -> RedisLedger:
        return RedisLedger(connection.connect(self._settings.redis_url), self._settings)

    def _make(self) -> None:
        with self._lock:
            if self._made_by == os.getpid():
                return
            ledger, stores = self._ledger(), Stores(self._settings.services)
            waker, tally = wakeup.CeleryWaker(self._app), Tally(ledger.totals)
            if faults := failpoints.from_environment():
                stores = faults.stores(self._settings.services)
                faults.surround(ledger, waker)
            self._drain = Drain(
                ledger,
                stores,
                wakeup.CountedWaker(waker, tally, "drain"),
                self._settings,
                worker=f"{socket.gethostname()}/{os.getpid()}",
                should_stop=lambda: self._stopping.value,
                on_part=lambda service, seconds: tally.observe(
                    families.PART_SECONDS, seconds, service
                ),
            )
            of_sweep = wakeup.CountedWaker(waker, tally, "sweep")
            self._sweep = Sweep(ledger, stores, of_sweep, self._settings)
            of_reconcile = wakeup.CountedWaker(waker, tally, "reconcile")
            self._reconcile = Reconcile(ledger, stores, of_reconcile, self._settings)
            self._tally = tally
            self._teller = Teller(
                ledger,
                sinks.of(self._settings),
                self._slots,
                self._settings,
                should_stop=lambda: self._stopping.value,
            )
            self._join = Join(
                ledger,
                stores,
                waker,
                self._settings,
                should_stop=lambda: self._stopping.value,
            )
            self._made_by = os.getpid()
