"""The sweep: looks at what is due. Any number of sweeps at once do no harm.

Expires uploads whose producers went silent, sends wake-ups for work that nobody took up (lost
messages, dead workers, tries put off), has changes told that nobody was told of yet, and looks
after ended uploads for late effects at their stores. Scans nothing.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from chunkferry.config import Settings
from chunkferry.errors import ChunkferryError, RedisUnavailable, UploadNotFound
from chunkferry.moves import Rousing
from chunkferry.services import Herald, Ledger, Reaping, Waker
from chunkferry.storage import Stores
from chunkferry.upload import ChunkUpload
from chunkferry_worker import join
from chunkferry_worker.partials import Partials
from chunkferry_worker.unforeseen import untold

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class SweepReport:
    """What one sweep did: the result of the Celery task, as Flower shows it."""

    #: Uploads that were due.
    due: int = 0
    #: Wake-ups sent.
    woken: int = 0
    #: Uploads that begin to be removed after their producers' silence.
    expired: int = 0
    #: Ended uploads looked after once more.
    graves: int = 0
    #: Unfinished sessions found there and removed.
    reaped: int = 0
    #: True if there was something to tell, and somebody was asked to.
    told: bool = False
    #: Uploads looked at that are joined from others.
    joins: int = 0
    #: Objects of partial uploads removed, which nobody needs any more.
    discarded: int = 0


class Sweep:
    """Sweeps, one call each. Thread-safe."""

    def __init__(self, ledger: Ledger, stores: Stores, waker: Waker, settings: Settings) -> None:
        self._ledger = ledger
        self._stores = stores
        self._waker = waker
        self._settings = settings
        self._partials = Partials(ledger, stores, settings)

    def run(self) -> SweepReport:
        """Look at all that is due now, for about two turns of a drain at the longest.

        Raises:
            RedisUnavailable: the next sweep will do it.
        """
        report = SweepReport()
        forgiven_ms = self._ledger.agenda.attend()
        # Each kind has its own time: neither a crowd nor a slow store starves the other. What is
        # left over is still due at the next sweep; the order is anew each time.
        for upload_id in self._in_turn(self._ledger.agenda.due()):
            if not self._guarded(partial(self._rouse, forgiven_ms), upload_id, report):
                break  # wake-ups get lost just now, and each lost one would put the next off
        for upload_id in self._in_turn(self._ledger.agenda.graves()):
            self._guarded(self._look_after, upload_id, report)
        for upload_id in self._in_turn(self._ledger.joins.due()):
            if not self._guarded(self._join, upload_id, report):
                break
        for upload_id in self._in_turn(self._ledger.joins.spent()):
            self._guarded(self._discard, upload_id, report)
        report.told = self._have_it_told()
        return report

    def _have_it_told(self) -> bool:
        """Send a message if anybody is to be told of anything."""
        news = self._ledger.telling.due(limit=1) or self._ledger.letters.waiting(limit=1)
        return bool(news) and isinstance(self._waker, Herald) and self._waker.tell()

    def _in_turn(self, upload_ids: list[str]) -> Iterator[str]:
        deadline = time.monotonic() + self._settings.slice_seconds / 2
        random.shuffle(upload_ids)
        for upload_id in upload_ids:
            yield upload_id
            if time.monotonic() > deadline:
                return

    def _guarded(
        self, look: Callable[[str, SweepReport], bool], upload_id: str, report: SweepReport
    ) -> bool:
        """Have a look at one upload; one that cannot be looked at does not hide the others."""
        try:
            return look(upload_id, report)
        except RedisUnavailable:
            raise
        except Exception as exc:
            log.error(  # noqa: TRY400 - the error's own text may hold secrets
                "The sweep cannot look at an upload.",
                extra={"action": "sweep", "upload_id": upload_id},
                exc_info=untold(exc),
            )
            return True

    def _rouse(self, forgiven_ms: int, upload_id: str, report: SweepReport) -> bool:
        """Look at an upload that is due; False if it needed a wake-up that was not sent."""
        report.due += 1
        outcome = self._ledger.agenda.rouse(upload_id, forgiven_ms)
        if outcome is Rousing.EXPIRED:
            report.expired += 1
            log.info(
                "An upload expired and is being removed.",
                extra={"action": "expire", "upload_id": upload_id},
            )
        if outcome in {Rousing.WAKE, Rousing.EXPIRED}:
            report.woken += 1
            return self._waker.wake(upload_id)
        return True

    def _join(self, upload_id: str, report: SweepReport) -> bool:
        """Have an upload joined; False if the request was not sent."""
        report.joins += 1
        self._ledger.joins.linger(upload_id, join.patience(self._settings))
        # Twice: of two idle workers that take turns, an older one, which drops it, may always be
        # next while the other one sweeps. A second turn does no harm.
        self._waker.join(upload_id)
        return self._waker.join(upload_id)

    def _discard(self, upload_id: str, report: SweepReport) -> bool:
        """Remove a partial upload that nobody needs any more."""
        try:
            report.discarded += self._partials.remove(upload_id)
        except RedisUnavailable:
            raise
        except ChunkferryError as exc:
            log.warning(
                "Cannot remove the object of a partial upload: %s",
                exc,
                extra={"action": "discard", "upload_id": upload_id, "error": exc.code},
            )
        return True

    def _look_after(self, upload_id: str, report: SweepReport) -> bool:
        """Look at the store of an ended upload."""
        report.graves += 1
        try:
            upload = self._ledger.records.get(upload_id)
        except UploadNotFound:
            log.warning(
                "No sweep looked at an ended upload before its record vanished; what it may have "
                "left at its store is left to reconcile.",
                extra={"action": "reap", "upload_id": upload_id},
            )
            self._ledger.agenda.forget_grave(upload_id)
            return True
        try:
            report.reaped += self._reap(upload)
        except ChunkferryError as exc:
            log.warning(
                "Cannot look for what an ended upload left at its store: %s",
                exc,
                extra={"action": "reap", "upload_id": upload_id, "error": exc.code},
            )
        else:
            self._ledger.agenda.forget_grave(upload_id)
        return True

    def _reap(self, upload: ChunkUpload) -> int:
        store = self._stores[upload.service]
        if not isinstance(store, Reaping):
            return 0
        return store.reap(upload, lambda: self._path_is_quiet(upload))

    def _path_is_quiet(self, upload: ChunkUpload) -> bool:
        """True if no upload to the same path is alive."""
        newest = self._ledger.records.find(upload.service, upload.filepath)
        return newest is None or newest.has_ended
