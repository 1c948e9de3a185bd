"""``PartBody``: a part as the file that HTTP clients want, beating while it is read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chunkferry.services import Heartbeat

#: Least that one read returns: http.client would ask for 16 KiB at a time.
_PIECE: Final = 256 * 1024


class _Carrier(BaseException):
    """Carries a heartbeat's error through the SDK of a store.

    They wrap every ``Exception`` in one of their own and try again; what is none passes.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def no_heartbeat() -> None:
    """Beat for nobody: there is no lease to keep, or what is sent takes no time to speak of."""


class PartBody:
    """A readable, seekable view of ``data``; copies nothing.

    SDKs refuse a ``memoryview``, and rewind the body for each of their own retries.
    """

    def __init__(self, data: memoryview, heartbeat: Heartbeat) -> None:
        self._data: Final = data
        self._heartbeat: Final = heartbeat
        self._position = 0

    def __len__(self) -> int:
        return len(self._data)

    def read(self, size: int | None = -1) -> memoryview:
        """Up to ``size`` bytes; all that are left if negative or None.

        Each call is a heartbeat: the socket takes the next bytes only when the earlier ones
        have moved.
        """
        try:
            self._heartbeat()
        except Exception as exc:
            raise _Carrier(exc) from exc
        end = len(self._data) if size is None or size < 0 else self._position + max(size, _PIECE)
        piece = self._data[self._position : end]
        self._position += len(piece)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to ``offset``; return the new position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._data)}
        self._position = start[whence] + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position


@contextmanager
def sent_with(data: memoryview, heartbeat: Heartbeat) -> Iterator[PartBody]:
    """The body for one request; what ``heartbeat`` raises during it comes out unchanged."""
    try:
        yield PartBody(data, heartbeat)
    except _Carrier as carrier:
        raise carrier.error from None
