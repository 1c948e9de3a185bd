"""``Sender``: gets bytes of uploads accepted, piece by piece, and waits where there is no room.

Begins no upload and tells no news; whoever uses it has checked that Redis is usable.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import BinaryIO, Final

from chunkferry import checksums, chunks, families
from chunkferry.config import Settings
from chunkferry.errors import (
    Backpressure,
    InvalidArgument,
    LengthMismatch,
    OffsetMismatch,
    UploadClosed,
)
from chunkferry.moves import Accepted
from chunkferry.parts import Grid
from chunkferry.services import Ledger
from chunkferry.state import State
from chunkferry.tally import Tally
from chunkferry.upload import ChunkUpload

#: Shortest and longest pause between two looks for room, in seconds.
_MIN_PAUSE: Final = 0.02
_MAX_PAUSE: Final = 1.0
#: Grids remembered.
_GRIDS: Final = 4096


class Sender:
    """Sends to any number of uploads. Thread-safe."""

    def __init__(
        self, ledger: Ledger, settings: Settings, wake: Callable[[str], object], tally: Tally
    ) -> None:
        """Send through ``ledger``.

        Args:
            ledger: where uploads are.
            settings: how long to wait for room.
            wake: gets the id of an upload that workers can go on with.
            tally: counts the bytes.
        """
        self._tally: Final = tally
        self._intake: Final = ledger.intake
        self._settings: Final = settings
        self._wake: Final = wake
        self._records: Final = ledger.records
        self._grids: Final = OrderedDict[str, Grid]()

    def append(
        self,
        upload_id: str,
        offset: int,
        data: bytes | bytearray | memoryview,
        *,
        checksum: str | None = None,
        wait: float | None = None,
        durable: bool = True,
    ) -> int:
        """Accept ``data``; see ``ChunkManager.append`` for all of it."""
        if offset < 0:
            raise InvalidArgument(f"offset must be 0 or more, not {offset}")
        view = memoryview(data).cast("B")
        if checksum is not None:
            checksums.verify(view, checksum)
        seconds = self._settings.append_wait_seconds if wait is None else wait
        deadline = time.monotonic() + seconds
        at = offset
        while True:
            try:
                received = self._append_all(upload_id, at, view[at - offset :], deadline)
                if durable:
                    # Once, for all batches: what is written last is safe last.
                    self._intake.ensure_durable(upload_id, received)
            except OffsetMismatch as exc:
                # A Redis that lost its newest bytes in a crash wants some of these once more.
                if not offset <= exc.expected < exc.actual:
                    raise
                at = exc.expected
            else:
                return received

    def send(self, upload: ChunkUpload, start: int, reader: BinaryIO) -> None:
        """Append what ``reader`` holds, whose first byte is the file's byte ``start``.

        Raises:
            LengthMismatch: it is more than was announced.
            ChunkferryError: as ``append``.
        """
        offset = start
        for chunk in chunks.of_reader(reader, self._settings.chunk_size_limit):
            # No append may both repeat bytes and go on after them.
            known = max(0, upload.received - offset)
            for piece in filter(None, (chunk[:known], chunk[known:])):
                self._send_piece(upload, offset, piece)
                offset += len(piece)
        self._intake.ensure_durable(upload.upload_id, offset)

    def _send_piece(self, upload: ChunkUpload, offset: int, piece: bytes) -> None:
        try:
            self.append(upload.upload_id, offset, piece, durable=False)
        except UploadClosed as exc:
            if exc.state != State.COMPLETE or offset != upload.length:
                raise
            # The workers were quicker than the reader's surplus.
            raise LengthMismatch(
                f"the file was announced with {upload.length} bytes, but there are more"
            ) from exc

    def know(self, upload: ChunkUpload) -> None:
        """Remember what never changes of an upload that was just looked at."""
        if not upload.sources:
            self._grids[upload.upload_id] = upload.grid
            if len(self._grids) > _GRIDS:
                self._grids.popitem(last=False)

    def _grid(self, upload_id: str) -> Grid:
        """The grid of an upload that takes a producer's data."""
        if (known := self._grids.get(upload_id)) is not None:
            return known
        upload = self._records.get(upload_id)
        if upload.sources:
            raise InvalidArgument(f"upload {upload_id} is joined from others, and takes no data")
        self.know(upload)
        return upload.grid

    def _append_all(self, upload_id: str, offset: int, view: memoryview, deadline: float) -> int:
        """Accept ``view``, batch by batch; return the new offset."""
        received, grid = offset, self._grid(upload_id)
        for start, pieces in chunks.batches(grid, offset, view):
            accepted = self._append(upload_id, start, pieces, grid, deadline)
            self._tally.count(families.BYTES_RECEIVED, by=accepted.added)
            if accepted.wake:
                self._wake(upload_id)
            received = accepted.received
        return received

    def _append(
        self, upload_id: str, start: int, pieces: list[memoryview], grid: Grid, deadline: float
    ) -> Accepted:
        """Accept one batch, waiting for room until ``deadline``."""
        pause = _MIN_PAUSE
        while True:
            try:
                return self._intake.append(upload_id, start, pieces, grid)
            except Backpressure:
                if time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(pause * 1.5, _MAX_PAUSE)
