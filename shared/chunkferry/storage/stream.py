"""The stream that ``get`` returns: bytes of one answer, as they arrive. Asks for no other answer.

Knows no store: a store brings what reads its answer, cuts it off and closes it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from chunkferry.storage.deadline import Deadline

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Bytes asked for at once.
_BUFFER: Final = 256 * 1024


def _nothing() -> None:
    """Of an answer that holds nothing that had to be let go."""


def arriving(
    read: Callable[[int], bytes],
    action: str,
    timeout: timedelta | None,
    *,
    cut: Callable[[], object] = _nothing,
    close: Callable[[], object] = _nothing,
) -> io.BufferedReader:
    """What ``read`` returns, up to so many bytes at a time, as a file; empty is the end.

    Each read may take ``timeout``; ``action`` begins the text of the error of one that took
    longer. That one is ended by ``cut``, called in another thread; other streams by ``close``.
    """
    return io.BufferedReader(_Arriving(read, action, timeout, cut, close), _BUFFER)


class _Arriving(io.RawIOBase):
    def __init__(
        self,
        read: Callable[[int], bytes],
        action: str,
        timeout: timedelta | None,
        cut: Callable[[], object],
        close: Callable[[], object],
    ) -> None:
        super().__init__()
        self._read: Final = read
        self._action: Final = action
        self._timeout: Final = timeout
        self._cut: Final = cut
        self._close: Final = close
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
            self._close()
        super().close()

    def _give_up(self) -> None:
        self._given_up = True
        self._cut()
