"""An object as the stream that ``get`` returns. Knows one answer, and asks for no other."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Final

from chunkferry.storage.deadline import Deadline
from chunkferry.storage.s3 import errors
from chunkferry.storage.s3.ranges import cut

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody

#: Bytes asked for at once.
_BUFFER: Final = 256 * 1024


def reader(body: StreamingBody, action: str, timeout: timedelta | None) -> IO[bytes]:
    """``body`` as a file; ``action`` begins the texts of its errors."""
    return io.BufferedReader(_Stream(body, action, timeout), _BUFFER)


class _Stream(io.RawIOBase):
    """An object's bytes as they arrive, with errors translated and a deadline for each read."""

    def __init__(self, body: StreamingBody, action: str, timeout: timedelta | None) -> None:
        super().__init__()
        self._body = body
        self._action = action
        self._timeout = timeout
        self._given_up = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        deadline = Deadline(self._action, self._timeout)
        with deadline.cutting(self._give_up):
            data = deadline.run(lambda: self._read(len(view)))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        # Closing would wait for a read that was given up.
        if not self._given_up:
            self._body.close()
        super().close()

    def _read(self, size: int) -> bytes:
        with errors.translated(self._action):
            return self._body.read(size)

    def _give_up(self) -> None:
        self._given_up = True
        cut(self._body)
