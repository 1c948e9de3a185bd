"""``Notifier``: the news of one upload, for whoever wants to read them.

It only reads the upload's events from Redis. It never slows an uploader down, any number of them
can be open in any process, and one that nobody reads costs nothing.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from chunkferry.errors import (
    ChunkferryError,
    InitError,
    UploadClosed,
    UploadError,
    UploadNotFound,
)
from chunkferry.news import News
from chunkferry.services import Records
from chunkferry.state import State
from chunkferry.status import UPLOAD_COMPLETE, UploadStatus, UploadStatusCode
from chunkferry.stream import Event

#: How long one read waits for news: also how soon ``close`` and ``fail`` are noticed.
_BLOCK_MS: Final = 500


class Notifier:
    """Iterates over ``UploadStatus``; ends after the one that is last.

    ``RedisUnavailable`` may be raised while iterating; iterating again goes on where it stopped.
    """

    def __init__(self, records: Records, upload_id: str, after: str | None = None) -> None:
        """Watch ``upload_id``.

        Args:
            records: where to ask.
            upload_id: the upload.
            after: ``event_id`` of the last known status; "0" for all that are kept; None to
                begin with how the upload stands now.
        """
        self.upload_id = upload_id
        self._records = records
        self._news = News(records, upload_id, after)
        self._pending: deque[UploadStatus] = deque()
        self._ended = False
        self._closed = threading.Event()
        self._failure: Exception | None = None

    def __iter__(self) -> Iterator[UploadStatus]:
        return self

    def __next__(self) -> UploadStatus:
        """The next status; waits for it.

        Raises:
            RedisUnavailable: try again.
        """
        while True:
            if (status := self._next(_BLOCK_MS)) is not None:
                return status
            if self._ended or self._closed.is_set():
                raise StopIteration

    def wait(self, timeout: float | None = None) -> UploadStatus:
        """The last status; skips all others.

        Args:
            timeout: in seconds; None to wait as long as it takes.

        Raises:
            TimeoutError: it did not come in time.
            RuntimeError: the notifier was closed, or read to its end, before.
            RedisUnavailable: try again.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not (self._ended or self._closed.is_set()):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"upload {self.upload_id} did not end within {timeout:g} s")
            status = self._next(int(min(_BLOCK_MS, left * 1000) + 1))
            if status is not None and status.is_last:
                return status
        raise RuntimeError("this notifier has ended")

    def fail(self, error: Exception) -> None:
        """End with ``error``: the producer in this process could not send its data."""
        self._failure = error

    def close(self) -> None:
        """End the iteration; the upload is not touched. Safe from any thread, repeatedly."""
        self._closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _next(self, block_ms: int) -> UploadStatus | None:
        """The next status, or None if there is none within ``block_ms``."""
        if self._ended or self._closed.is_set():
            return None
        if not self._pending:
            failed = self._failure
            self._pending.extend([self._error(failed)] if failed else self._told(block_ms))
        if not self._pending:
            return None
        status = self._pending.popleft()
        if status.is_last:
            self._ended = True
            self._pending.clear()
        return status

    def _told(self, block_ms: int) -> list[UploadStatus]:
        try:
            events = self._news.look(block_ms)
            statuses = [self._status(event) for event in events]
        except UploadNotFound as exc:
            return [self._error(exc)]
        # Last of all: Redis may go away above, and no news be lost by it.
        if events:
            self._news.after = events[-1].event_id
        return statuses

    def _status(self, event: Event) -> UploadStatus:
        code, message = UploadStatusCode.PROGRESS, ""
        error: ChunkferryError | None = None
        total = "?" if event.length is None else event.length
        match event.state:
            case State.COMPLETE:
                code, message = UploadStatusCode.OK, UPLOAD_COMPLETE
            case State.FAILED if self._has_failed():
                kind = InitError if event.error_code == InitError.code else UploadError
                error = kind(event.error)
            case State.EXPIRED | State.CANCELLED:
                error = UploadClosed(self.upload_id, event.state, "be completed")
            case _:
                message = f"{event.stored} of {total} bytes stored, {event.received} received"
        if error is not None:
            code, message = UploadStatusCode.ERROR, str(error)
        return UploadStatus(
            code=code,
            message=message,
            error=error,
            uploaded=event.stored,
            received=event.received,
            total=event.length,
            state=event.state,
            event_id=event.event_id,
        )

    def _has_failed(self) -> bool:
        """True unless the failure is history: the upload was requeued since."""
        return self._records.get(self.upload_id).state is State.FAILED

    def _error(self, error: Exception) -> UploadStatus:
        return UploadStatus(
            code=UploadStatusCode.ERROR,
            message=str(error),
            error=error,
            event_id=self._news.after or "0",
        )
