"""The join: one worker's turn at taking an upload's bytes from the partial ones it is made of.

Works as a producer does, without a lease: the offset is the lock, so two turns at once, repeated
or killed ones do no harm. Storing what was taken is the drain's business.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from chunkferry import chunks, keys, sources
from chunkferry.config import APPEND_BATCH, Settings
from chunkferry.errors import (
    Backpressure,
    ChunkferryError,
    ConfigError,
    IntegrityError,
    LengthMismatch,
    OffsetMismatch,
    RedisUnavailable,
    StoreRefused,
    StoreUnavailable,
    UnknownService,
    UploadClosed,
    UploadNotFound,
)
from chunkferry.services import Ledger, RangeService, Waker
from chunkferry.state import State
from chunkferry.storage import Stores
from chunkferry.upload import ChunkUpload
from chunkferry_worker import unforeseen

log = logging.getLogger(__name__)

#: Pause between two looks at an upload of which all is taken, or which has failed: what moves it
#: has it looked at sooner, but for a Redis that came back without its newest bytes.
_REST: Final = timedelta(minutes=5)
#: A request counts as lost after so many times ``rewake_seconds``: many may wait at once, and a
#: look at each costs as much as a short turn.
_PATIENCE: Final = 4


class Joining(StrEnum):
    """What came of a turn."""

    GONE = "gone"  #: there is nothing to be joined under this id
    ENDED = "ended"  #: the upload has ended; those it is made of may go
    CLOSED = "closed"  #: it takes no data just now
    TAKEN = "taken"  #: all bytes are taken
    MORE = "more"  #: the turn was over; there will be another
    FULL = "full"  #: no room before more is stored
    WAITING = "waiting"  #: others are still being received or stored
    OVERTAKEN = "overtaken"  #: somebody else is at it
    DEFERRED = "deferred"  #: the store does not answer; tried again later
    FAILED = "failed"  #: it cannot be joined
    INTERRUPTED = "interrupted"  #: Redis went away


@dataclass(slots=True, kw_only=True)
class JoinReport:
    """What one turn did: the result of the Celery task, as Flower shows it."""

    upload_id: str
    outcome: str = ""
    filepath: str = ""
    service: str = ""
    #: Bytes taken in this turn.
    size: int = 0
    #: Bytes of the upload that are taken now.
    received: int = 0
    #: What went wrong, by its code.
    error: str = ""


class _OvertakenError(Exception):
    """Another turn, or a move, was quicker."""


class Join:
    """Joins uploads, one turn a call. Thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        stores: Stores,
        waker: Waker,
        settings: Settings,
        *,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Join through ``ledger`` what lies in ``stores``; see ``drain.Drain``."""
        self._ledger = ledger
        self._stores = stores
        self._waker = waker
        self._settings = settings
        self._should_stop = should_stop
        turn, again = settings.slice_seconds, settings.rewake_seconds
        # Whoever waits must be looked at before it counts as silent.
        longest = settings.incomplete_upload_expiry / 4
        #: When the sweep looks. During a turn: once the next one should have begun.
        self._pauses: Final = {
            Joining.MORE: timedelta(seconds=turn + again),
            Joining.FULL: timedelta(seconds=settings.sweep_seconds),
            Joining.WAITING: min(patience(settings), longest),
            Joining.DEFERRED: timedelta(seconds=again),
        }
        # A worker of the last release tells nobody that it has ended one: its record must be there.
        self._rest: Final = min(_REST, longest, settings.result_ttl / 2)

    def run(self, upload_id: str) -> JoinReport:
        """Take one turn at the upload. A duplicate, late or needless request ends here.

        Raises:
            RedisUnavailable: before anything was begun.
        """
        report = JoinReport(upload_id=upload_id, outcome=Joining.GONE)
        if not keys.is_upload_id(upload_id):
            return report  # whoever can reach the broker can send any text
        try:
            upload = self._ledger.records.get(upload_id)
        except UploadNotFound:
            self._ledger.joins.forget(upload_id)
            return report
        if not upload.sources:
            return report
        report.filepath, report.service = upload.filepath, upload.service
        report.received = upload.received
        try:
            report.outcome = self._look(upload, report)
        except UploadNotFound:
            report.outcome = Joining.GONE  # forgotten meanwhile
        except RedisUnavailable as exc:
            report.outcome, report.error = Joining.INTERRUPTED, exc.code
            log.warning(
                "Redis went away during a join; it goes on once it is back.",
                extra={"action": "join", "upload_id": upload_id},
            )
        return report

    def _look(self, upload: ChunkUpload, report: JoinReport) -> Joining:
        joins, upload_id = self._ledger.joins, upload.upload_id
        found = self._ledger.records.get_all(upload.sources)
        partials = [source for source in found if source is not None]
        strangers = [part.upload_id for part in partials if upload_id not in part.finals]
        if strangers and not upload.has_ended:
            # The manager died before it said so; or this turn is so late that all is over.
            upload = self._ledger.records.get(upload_id)
            if not upload.has_ended:
                joins.link(strangers, upload_id)
        if upload.has_ended:
            joins.spend(partials, upload_id, whole=upload.is_complete)
            joins.forget(upload_id)
            return Joining.ENDED
        joins.linger(upload_id, self._pauses[Joining.MORE])
        complete = [partial for partial in partials if partial.is_complete]
        joins.keep(complete, self._settings.incomplete_upload_expiry, upload_id)
        outcome = Joining.CLOSED
        if upload.state is State.RECEIVING:
            outcome = self._guarded(upload, found, report)
        if outcome is not Joining.OVERTAKEN:  # the other one says when
            pause = self._pauses.get(outcome, self._rest)
            # Neither whom it waits for nor a store that is away is its client's silence.
            waits = outcome is Joining.WAITING or report.error == StoreUnavailable.code
            joins.linger(upload_id, pause, waiting=waits)
        if outcome is Joining.MORE:
            self._waker.join(upload_id)
        return outcome

    def _guarded(
        self, upload: ChunkUpload, found: Sequence[ChunkUpload | None], report: JoinReport
    ) -> Joining:
        try:
            return self._turn(upload, sources.check(upload.sources, found, upload.service), report)
        except _OvertakenError:
            return Joining.OVERTAKEN
        except RedisUnavailable:
            raise
        except Exception as exc:
            return self._settle(upload, exc, report)

    def _turn(
        self, upload: ChunkUpload, partials: Sequence[ChunkUpload], report: JoinReport
    ) -> Joining:
        """Take what is there, in order, until the turn is over."""
        self._tell_length(upload, sources.total_length(partials))
        store = self._store(upload.service)
        deadline = time.monotonic() + self._settings.slice_seconds
        begin, at = 0, upload.received
        for partial in partials:
            length = partial.length
            if length is not None and at >= begin + length:
                begin += length
                continue
            if length is None or not partial.is_complete:
                return Joining.WAITING
            while at < begin + length:
                finish = min(at + APPEND_BATCH, begin + length)
                data = _read(store, partial, at - begin, finish - begin)
                try:
                    self._append(upload, at, data, deadline)
                except Backpressure:
                    return Joining.FULL
                report.size += finish - at
                report.received = at = finish
                if self._is_over(report, deadline):
                    return Joining.MORE
            begin += length
        return Joining.TAKEN

    def _is_over(self, report: JoinReport, deadline: float) -> bool:
        return (
            report.size >= self._settings.slice_bytes
            or time.monotonic() >= deadline
            or self._should_stop()
        )

    def _tell_length(self, upload: ChunkUpload, length: int | None) -> None:
        if upload.length is None and length is not None:
            if length > upload.max_size:
                raise LengthMismatch(
                    f"the partial uploads have {length} bytes, and it may have {upload.max_size}"
                )
            try:
                if self._ledger.intake.set_length(upload.upload_id, length):
                    self._waker.wake(upload.upload_id)
            except (UploadNotFound, UploadClosed) as exc:
                raise _OvertakenError from exc

    def _store(self, service: str) -> RangeService:
        store = self._stores[service]
        if not isinstance(store, RangeService):
            raise StoreRefused(
                f"the store of {service!r} cannot read ranges of objects, which joining takes"
            )
        return store

    def _append(self, upload: ChunkUpload, start: int, data: memoryview, deadline: float) -> None:
        """Have the upload take ``data``, whose first byte is its byte ``start``.

        Raises:
            Backpressure: there is no room, and nobody is making some.
        """
        for begin, pieces in chunks.batches(upload.grid, start, data):
            finish = begin + sum(map(len, pieces))
            while True:
                try:
                    accepted = self._ledger.intake.append(
                        upload.upload_id, begin, pieces, upload.grid
                    )
                    break
                except Backpressure as exc:
                    if not self._may_wait(upload, deadline):
                        raise
                    time.sleep(exc.retry_after)
                except (OffsetMismatch, UploadNotFound, UploadClosed) as exc:
                    raise _OvertakenError from exc
            if accepted.wake:
                self._waker.wake(upload.upload_id)
            if accepted.received != finish:
                raise _OvertakenError

    def _may_wait(self, upload: ChunkUpload, deadline: float) -> bool:
        """True while somebody stores what was taken before, and the turn is not over."""
        if time.monotonic() >= deadline or self._should_stop():
            return False
        try:
            return self._ledger.records.get(upload.upload_id).is_processing
        except UploadNotFound as exc:
            raise _OvertakenError from exc

    def _settle(self, upload: ChunkUpload, error: Exception, report: JoinReport) -> Joining:
        """Decide what an error means for the upload: another try, or none."""
        ours = error if isinstance(error, ChunkferryError) else None
        code = report.error = ours.code if ours else "unexpected"
        text = str(ours) if ours else f"{type(error).__name__} while it was joined"
        log.warning(
            "A join failed: %s",
            text,
            extra={"action": "join", "upload_id": upload.upload_id, "error": code},
            exc_info=None if ours else unforeseen.untold(error),
        )
        # A worker whose settings lack a service may be older or newer than the others.
        elsewhere = isinstance(error, ConfigError | UnknownService)
        if ours is None or ours.retryable or elsewhere:
            return Joining.DEFERRED
        self._ledger.joins.give_up(upload.upload_id, code, f"it cannot be joined: {text}"[:500])
        return Joining.FAILED


def patience(settings: Settings) -> timedelta:
    """After how long a request to join counts as lost."""
    return timedelta(seconds=_PATIENCE * settings.rewake_seconds)


def _read(store: RangeService, partial: ChunkUpload, start: int, finish: int) -> memoryview:
    """Bytes [start, finish) of the object of a partial upload.

    Raises:
        IntegrityError: they are not there.
        StoreError: the store does not say.
    """
    buffer = io.BytesIO()
    try:
        with unforeseen.of_store(partial.service):
            try:
                store.download_range(partial.filepath, buffer, start, finish)
            except FileNotFoundError as exc:
                msg = f"the object of partial upload {partial.upload_id} is gone"
                raise IntegrityError(msg) from exc
    finally:
        size = buffer.tell()
    if size != finish - start:
        raise IntegrityError(
            f"expected bytes {start} to {finish} of partial upload {partial.upload_id}, "
            f"found {size}"
        )
    return buffer.getbuffer()
