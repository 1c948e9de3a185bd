"""The drain: one worker's turn at one upload, from its lease to letting it go.

Decides who may work and what an error means. Knows the ports of ledger and store, and nothing of
Celery; what is stored in a turn is ``turn``'s business.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from chunkferry.config import Settings
from chunkferry.errors import (
    ChunkferryError,
    ConfigError,
    InitError,
    IntegrityError,
    LeaseLost,
    RedisUnavailable,
    UnknownService,
    UploadNotFound,
)
from chunkferry.moves import Acquisition, Deferral, Ending, Release
from chunkferry.services import ChunkFileService, Herald, Ledger, Portable, Waker
from chunkferry.state import TERMINAL, State
from chunkferry.storage import Stores
from chunkferry.upload import ChunkUpload
from chunkferry_worker.lease import Aborting, Lease
from chunkferry_worker.reader import Buffers
from chunkferry_worker.turn import DrainReport, OnPart, Turn
from chunkferry_worker.unforeseen import untold

log = logging.getLogger(__name__)

#: Shortest pause between two tries, in seconds.
_MIN_BACKOFF: Final = 0.05
#: Outcomes after which an upload does not move by itself, and which others wait for: the sweep
#: would have them told some seconds later.
_STANDS_STILL: Final = frozenset({*TERMINAL, Deferral.FAILED})


class Drain:
    """Drains uploads, one call each. Thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        stores: Stores,
        waker: Waker,
        settings: Settings,
        *,
        worker: str,
        should_stop: Callable[[], bool] = lambda: False,
        on_part: OnPart = lambda *_: None,
    ) -> None:
        """Drain through ``ledger`` into ``stores``.

        Args:
            ledger: where uploads are.
            stores: where they go.
            waker: asked for the next turn where work is left.
            settings: for the lengths of leases and turns.
            worker: the name shown as holder.
            should_stop: True once this process is to end; asked after each part.
            on_part: told of each part that a store has taken.
        """
        self._ledger = ledger
        self._stores = stores
        self._waker = waker
        self._settings = settings
        self._worker = worker
        self._should_stop = should_stop
        self._on_part = on_part
        self._buffers = Buffers()

    def run(self, upload_id: str) -> DrainReport:
        """Take one turn at the upload. A duplicate, late or needless wake-up ends here.

        Raises:
            RedisUnavailable: before anything was begun.
        """
        report = DrainReport(upload_id=upload_id)
        nonce = secrets.token_hex(16)
        try:
            acquisition = self._ledger.leases.acquire(upload_id, nonce, self._worker)
        except UploadNotFound:
            acquisition = Acquisition.GONE  # whoever can reach the broker can send any text
        report.outcome = acquisition
        if acquisition not in {Acquisition.ACQUIRED, Acquisition.TAKEN_OVER}:
            return report
        report.taken_over = acquisition is Acquisition.TAKEN_OVER
        try:
            self._hold(nonce, report)
        except LeaseLost as exc:
            report.outcome, report.error = "lost", exc.code
            log.info(
                "Another worker took the upload over, or it moved on.",
                extra={"action": "drain", "upload_id": upload_id},
            )
        except RedisUnavailable as exc:
            report.outcome, report.error = "interrupted", exc.code
            log.warning(
                "Redis went away during a drain; the upload goes on once it is back.",
                extra={"action": "drain", "upload_id": upload_id},
            )
            self._let_go(upload_id, nonce)
        if (
            self._settings.tells
            and report.outcome in _STANDS_STILL
            and isinstance(self._waker, Herald)
        ):
            self._waker.tell()
        return report

    def _let_go(self, upload_id: str, nonce: str) -> None:
        """Release a lease if Redis is back: otherwise this worker would count as dead."""
        with suppress(RedisUnavailable, LeaseLost):
            if self._ledger.leases.release(upload_id, nonce) is Release.MORE:
                self._waker.wake(upload_id)

    def _hold(self, nonce: str, report: DrainReport) -> None:
        upload = self._ledger.records.get(report.upload_id)
        lease = Lease(self._ledger.leases, upload, nonce, seconds=self._settings.lease_seconds)
        report.filepath, report.service = upload.filepath, upload.service
        report.epoch, report.stored = upload.epoch, upload.stored
        try:
            self._turn(lease, report)
        except (LeaseLost, RedisUnavailable):
            raise
        except Exception as exc:
            self._settle(lease, exc, report)
        self._tell_join(upload, report)

    def _tell_join(self, upload: ChunkUpload, report: DrainReport) -> None:
        """Have what waits for this turn go on at once: the sweep would take seconds."""
        with suppress(UploadNotFound, RedisUnavailable):
            if upload.is_partial and report.outcome in _STANDS_STILL:
                for final in self._ledger.records.get(upload.upload_id).finals:
                    self._waker.join(final)
            # There is room for more, or nothing is left to do but to tidy up.
            elif upload.sources and report.outcome in {Release.IDLE, State.COMPLETE}:
                self._waker.join(upload.upload_id)

    def _turn(self, lease: Lease, report: DrainReport) -> None:
        service = self._service(lease.upload)
        if lease.is_aborting:
            self._remove(lease, service, report)
            return
        try:
            ended = self._store(lease, service, report)
        except Aborting:
            self._remove(lease, service, report)
            return
        if ended is not None:
            report.outcome = ended
            return
        released = lease.release()
        report.outcome = released
        if released is Release.MORE:
            self._waker.wake(report.upload_id)

    def _store(self, lease: Lease, service: ChunkFileService, report: DrainReport) -> State | None:
        turn = Turn(
            lease, service, self._settings, self._buffers, self._should_stop, on_part=self._on_part
        )
        try:
            return turn.run(report)
        except IntegrityError:
            # To a former holder, bytes that the next one has stored look lost; so do those of
            # an upload that is being removed. Both are told apart by asking.
            lease.renew()
            if lease.standing.received < turn.reads_up_to:
                return None  # Redis came back without its newest bytes: they will be sent again
            raise

    def _service(self, upload: ChunkUpload) -> ChunkFileService:
        service = self._stores[upload.service].chunk_file_service()
        if not isinstance(service, Portable):
            raise ConfigError(f"service {upload.service!r} is not Portable: no worker can go on")
        service.restore(upload, upload.session)
        return service

    def _remove(self, lease: Lease, service: ChunkFileService, report: DrainReport) -> None:
        """Remove the upload from its store, unless the object turns out to be complete."""
        service.cleanup(lease.confirm)
        found = service.find_object()
        ending = Ending.ABORTED if found is None else Ending.ADOPTED
        report.outcome = lease.finish(ending, found)

    def _settle(self, lease: Lease, error: Exception, report: DrainReport) -> None:
        """Decide what an error means for the upload: another try, or none."""
        upload = lease.upload
        ours = error if isinstance(error, ChunkferryError) else None
        code = report.error = ours.code if ours else "unexpected"
        behind = error.__cause__ if isinstance(error, InitError) else None
        report.cause = behind.code if isinstance(behind, ChunkferryError) else code
        text = str(ours) if ours else f"{type(error).__name__} in service {upload.service!r}"
        log.warning(
            "A drain failed: %s",
            text,
            extra={"action": "drain", "upload_id": upload.upload_id, "error": code},
            exc_info=None if ours else untold(error),
        )
        # A worker whose settings lack a service may be older or newer than the others.
        elsewhere = isinstance(error, ConfigError | UnknownService)
        if lease.is_aborting or ours is None or ours.retryable or elsewhere:
            report.outcome = self._defer(lease, code, text, report)
        else:
            lease.fail(code, text)
            report.outcome = Deferral.FAILED

    def _defer(self, lease: Lease, code: str, text: str, report: DrainReport) -> Deferral:
        # A part that was stored in this turn has ended the row of failures before it.
        attempts = 0 if report.parts else lease.upload.attempts
        longest = min(
            self._settings.backoff_seconds * 2 ** min(attempts, 16),
            self._settings.backoff_max_seconds,
        )
        # Full jitter: the uploads that failed together do not come back together.
        pause = max(_MIN_BACKOFF, random.uniform(0, longest))  # noqa: S311 - no secret
        return lease.defer(timedelta(seconds=pause), code, text)
