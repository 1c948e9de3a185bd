"""``Transfer``: one source on its way to one path, begun anew or taken up where it stopped.

What tells that an unfinished upload is of the same file is kept in its metadata, so that any
later process finds it. Knows nothing of terminals.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from chunkferry import ChunkManager, Notifier
from chunkferry.errors import (
    Backpressure,
    ChunkferryError,
    NotDurable,
    OffsetMismatch,
    RedisUnavailable,
    UploadClosed,
    UploadError,
    UploadInProgress,
)
from chunkferry.state import State
from chunkferry.status import UploadStatus, UploadStatusCode
from chunkferry.upload import ChunkUpload
from chunkferry_worker.cli.patience import Interrupted, Patience
from chunkferry_worker.cli.progress import Meter
from chunkferry_worker.cli.source import Source, SourceChanged

#: The metadata that names the source's identity.
IDENTITY: Final = "chunkferry-source"
#: How often the end is looked for, and a lost Redis asked again, in seconds.
_LOOK: Final = 0.1
_AGAIN: Final = 1.0
#: How long one append waits for room, in seconds: how soon Ctrl-C is noticed.
_ROOM: Final = 0.5
#: Told while the workers are silent.
_NOTHING_STORED: Final = "nothing is being stored: `chunkferry doctor` tells whether workers run"

T = TypeVar("T")


class OtherSource(ChunkferryError):
    """The path is being uploaded from another source."""

    code = "upload_in_progress"
    http_status = 409

    def __init__(self, upload: ChunkUpload) -> None:
        super().__init__(
            f"another file is being uploaded to {upload.filepath!r} (state {upload.state}): "
            f"`chunkferry cancel {upload.upload_id}` it, or give --restart to replace it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to become of a source."""

    filepath: str
    service: str
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: Cancel an upload to the path instead of taking it up.
    restart: bool = False
    #: Stay until the object is complete.
    wait: bool = True


class Transfer:
    """One source, one path. ``run`` it once."""

    def __init__(
        self, manager: ChunkManager, source: Source, order: Order, meter: Meter, patience: Patience
    ) -> None:
        self._manager = manager
        self._source = source
        self._order = order
        self._meter = meter
        self._patience = patience
        #: As it was last seen; None before there is one.
        self.upload: ChunkUpload | None = None

    def run(self) -> ChunkUpload:
        """Send the source and, if so ordered, wait for the object; return the upload's last state.

        Raises:
            Interrupted: the user wants to stop; the upload stays as it is.
            ChunkferryError: it failed, or cannot begin.
        """
        with self._source:
            upload = self._begin()
            news = _News(self._manager.watch(upload.upload_id), self._meter, self._patience)
            news.start()
            try:
                self._send(upload)
                if self._order.wait:
                    self._await(news)
            finally:
                news.close()
        upload = self._look(upload.upload_id)
        if self._order.wait and not upload.is_complete:
            raise UploadError(f"upload {upload.upload_id} is {upload.state}, not complete")
        return upload

    def refresh(self) -> None:
        """Look at the upload once more, if it can be seen."""
        if self.upload is not None:
            with suppress(ChunkferryError):
                self.upload = self._manager.get(self.upload.upload_id)

    def _begin(self) -> ChunkUpload:
        """A new upload, or the unfinished one of this source."""
        while True:
            # An upload that is in the way is on its way out, or somebody was quicker.
            with suppress(UploadInProgress, UploadClosed):
                if upload := self._patiently(self._take):
                    return upload
            self._patience.pause(
                _LOOK, hint=f"the earlier upload to {self._order.filepath} has not ended yet"
            )

    def _take(self) -> ChunkUpload | None:
        """One try to begin; None while another upload is in the way."""
        upload = self._manager.get_incomplete_upload(
            self._order.filepath, service=self._order.service
        )
        if upload is None:
            return self._create()
        if not self._is_ours(upload):
            return None
        if upload.state is State.FAILED:
            self._manager.requeue(upload.upload_id)
        return self._look(upload.upload_id)

    def _create(self) -> ChunkUpload | None:
        try:
            self.upload = self._manager.create(
                self._order.filepath,
                self._source.size,
                service=self._order.service,
                content_type=self._order.content_type,
                metadata={**self._order.metadata, IDENTITY: self._source.identity},
            )
        except NotDurable as exc:
            # Begun it is, and found by its path; what is acknowledged next waits for it as well.
            self._patience.pause(_AGAIN, exc)
            return self._take()
        return self.upload

    def _is_ours(self, upload: ChunkUpload) -> bool:
        """True to take ``upload`` up, False to wait until it has ended.

        Raises:
            OtherSource: it is another file's, and not to be cancelled.
        """
        if upload.state is State.ABORTING:
            return False
        if self._order.restart:
            if upload.state is not State.COMPLETING:
                self._manager.cancel(upload.upload_id)
            return False
        if upload.metadata.get(IDENTITY) != self._source.identity:
            raise OtherSource(upload)
        return True

    def _send(self, upload: ChunkUpload) -> None:
        try:
            offset = self._send_from(upload.received, upload)
            if upload.length is None:
                self._patiently(lambda: self._manager.set_length(upload.upload_id, offset))
        except SourceChanged:
            # Nobody can go on with it: the file that began it is no more.
            with suppress(ChunkferryError):
                self._manager.cancel(upload.upload_id)
            raise
        except UploadClosed:
            # It ended in the middle. Who waits is told why by the news.
            if not self._order.wait:
                raise

    def _send_from(self, offset: int, upload: ChunkUpload) -> int:
        self._source.seek(offset)
        while upload.length is None or offset < upload.length:
            self._patience.check()
            data = self._source.read(self._manager.chunk_size)
            if not data:
                break
            try:
                offset = self._append(upload.upload_id, offset, data)
            except OffsetMismatch as exc:
                # Another process sends the same file, or Redis restarted and lost a second.
                offset = exc.expected
                self._source.seek(offset)
            self._patience.moved()
        return offset

    def _append(self, upload_id: str, offset: int, data: bytes) -> int:
        view = memoryview(data)
        while True:
            try:
                return self._manager.append(upload_id, offset, view, wait=_ROOM)
            except Backpressure as exc:
                if exc.received > offset:
                    self._patience.moved()
                    view, offset = view[exc.received - offset :], exc.received
                self._patience.pause(exc.retry_after, exc)
            except ChunkferryError as exc:
                # The same call again: what arrived before the outage is compared and skipped.
                self._pause_for(exc)

    def _await(self, news: _News) -> None:
        """Wait for the end; raises what it failed with."""
        while news.is_alive():
            self._patience.pause(_LOOK, hint=_NOTHING_STORED)
        if news.error is not None:
            raise news.error
        last = news.last
        if last is not None and last.code is UploadStatusCode.ERROR and last.error is not None:
            raise last.error

    def _look(self, upload_id: str) -> ChunkUpload:
        self.upload = self._patiently(lambda: self._manager.get(upload_id))
        return self.upload

    def _patiently(self, call: Callable[[], T]) -> T:
        while True:
            try:
                return call()
            except ChunkferryError as exc:
                self._pause_for(exc)

    def _pause_for(self, error: ChunkferryError) -> None:
        """Wait for what is temporarily unavailable; raise any other error."""
        if not error.retryable:
            raise error
        self._patience.pause(_AGAIN, error)


class _News(threading.Thread):
    """Reads the news of an upload into a meter until it ends."""

    def __init__(self, notifier: Notifier, meter: Meter, patience: Patience) -> None:
        super().__init__(name="chunkferry-news", daemon=True)
        self._notifier = notifier
        self._meter = meter
        self._patience = patience
        self.last: UploadStatus | None = None
        #: Why the news ended early.
        self.error: ChunkferryError | None = None

    def run(self) -> None:
        """Read until the upload ends or ``close``."""
        try:
            while not self._read():
                pass
        except Interrupted:
            pass
        except ChunkferryError as exc:
            self.error = exc

    def close(self) -> None:
        """End the reading."""
        self._notifier.close()

    def _read(self) -> bool:
        """Read on; False to try again."""
        try:
            for status in self._notifier:
                self.last = status
                if status.state:
                    self._meter.move(status.received, status.uploaded, status.total)
                self._patience.moved()
        except RedisUnavailable as exc:
            self._patience.pause(_AGAIN, exc)
            return False
        return True
