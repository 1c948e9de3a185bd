"""Transfers of whole objects: ranges fetched side by side, written in order. Knows no store.

A store brings the size of an object and a function that fetches a range of exactly this version
of it. Whatever fails, a file appears whole or not at all.
"""

from __future__ import annotations

import io
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Final

from chunkferry.errors import IntegrityError, InvalidArgument, LengthMismatch
from chunkferry.services import DownloadParams, Progress
from chunkferry.storage.deadline import Deadline, spawn

#: Bytes of one range. With ``CONCURRENCY`` of them a download takes 32 MiB of memory.
RANGE: Final = 8 * 1024 * 1024
#: Ranges fetched at the same time, unless something else is asked for.
CONCURRENCY: Final = 4
#: Bytes of the first range of ``spans``: what whoever wants but the beginning waits for.
SPAN: Final = 1024 * 1024
#: Bytes of the largest: all that a slow reader keeps in memory.
LARGEST_SPAN: Final = 8 * 1024 * 1024
#: Bytes read at once where nobody says how many.
_PIECE: Final = 1024 * 1024

#: Returns the bytes [start, finish) of one version of an object, all of them.
Fetch = Callable[[int, int], bytes]


def check_concurrency(concurrency: int) -> int:
    """``concurrency`` if there can be so many connections.

    Raises:
        InvalidArgument: it is not 1 or more.
    """
    if concurrency < 1:
        msg = f"concurrency must be 1 or more, not {concurrency}"
        raise InvalidArgument(msg)
    return concurrency


def chosen(params: DownloadParams | None, concurrency: int = CONCURRENCY) -> int:
    """The concurrency that ``params`` asks for; ``concurrency`` if it asks for none.

    Raises:
        InvalidArgument: it is not 1 or more.
    """
    if params is None or params.concurrency is None:
        return concurrency
    return check_concurrency(params.concurrency)


def check_range(start: int, finish: int) -> tuple[int, int]:
    """``[start, finish)`` if it is a range.

    Raises:
        InvalidArgument: it begins before 0, or ends before it begins.
    """
    if not 0 <= start <= finish:
        msg = f"a range is [start, finish) with 0 <= start <= finish, not [{start}, {finish})"
        raise InvalidArgument(msg)
    return start, finish


def spans(start: int, finish: int) -> Iterator[tuple[int, int]]:
    """``[start, finish)`` as ranges, one after the other.

    They grow from ``SPAN`` to ``LARGEST_SPAN`` bytes: each is a request of its own, which at some
    stores takes longer than a small range's bytes.
    """
    size = SPAN
    while start < finish:
        until = min(start + size, finish)
        yield start, until
        start, size = until, min(size * 2, LARGEST_SPAN)


def changed(filepath: str) -> IntegrityError:
    """What a read raises that finds another version."""
    msg = f"{filepath!r} is not the object any more that it was when reading began"
    return IntegrityError(msg)


def download(
    size: int,
    fetch: Fetch,
    writer: BinaryIO | PathLike[str],
    deadline: Deadline,
    *,
    concurrency: int = CONCURRENCY,
    progress: Progress | None = None,
) -> None:
    """Write the ``size`` bytes that ``fetch`` returns, range by range, into ``writer``."""
    copy(_in_order(size, fetch, deadline, concurrency), writer, progress)


def copy(
    pieces: Iterable[bytes], writer: BinaryIO | PathLike[str], progress: Progress | None = None
) -> None:
    """Write ``pieces`` into ``writer``, or into a file at that path: whole or not at all."""
    with sink(writer) as file:
        for piece in pieces:
            write(file, piece)
            if progress is not None:
                progress(len(piece))


def _in_order(size: int, fetch: Fetch, deadline: Deadline, concurrency: int) -> Iterator[bytes]:
    spans = ((start, min(start + RANGE, size)) for start in range(0, size, RANGE))
    fetching = (spawn(partial(fetch, start, finish)) for start, finish in spans)
    waiting = deque(islice(fetching, concurrency))
    while waiting:
        data = deadline.wait_for(waiting.popleft())
        # Taken from the generator, hence begun, only now: no more than these are in memory.
        waiting.extend(islice(fetching, 1))
        yield data


@contextmanager
def sink(writer: BinaryIO | PathLike[str]) -> Iterator[BinaryIO]:
    """``writer`` itself; or for a path a file that takes its place if nothing is raised."""
    if not isinstance(writer, PathLike):
        yield writer
        return
    target = Path(writer)
    temporary = target.with_name(f".chunkferry-{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def source(reader: BinaryIO | PathLike[str]) -> Iterator[BinaryIO]:
    """``reader`` itself, or the file at that path."""
    if not isinstance(reader, PathLike):
        yield reader
        return
    with Path(reader).open("rb") as file:
        yield file


def write(writer: BinaryIO, data: bytes) -> None:
    """Write all of ``data``; raw files may take less at once than they are given."""
    view = memoryview(data)
    while view:
        count: int | None = writer.write(view)
        if count is None:
            if isinstance(writer, io.RawIOBase):
                raise BlockingIOError("the writer takes nothing now, and would not wait")
            # A writer of the caller's own that takes all and says nothing.
            count = len(view)
        view = view[count:]


class Reader:
    """What a reader holds, for an SDK that takes a short read for the end.

    Every ``read`` returns as much as was asked for; only the last returns less. Before the end
    is told, the size is compared: an SDK that did not see the end has not made an object yet.
    """

    def __init__(
        self,
        reader: BinaryIO,
        *,
        size: int | None = None,
        progress: Progress | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        """Read ``size`` bytes, if that is announced, within ``deadline``, if there is one.

        Raises:
            InvalidArgument: ``size`` is negative.
        """
        if size is not None and size < 0:
            msg = f"a size must be 0 or more bytes, not {size}"
            raise InvalidArgument(msg)
        self._reader: Final = reader
        self._deadline: Final = deadline
        self._size: Final = size
        self._progress: Final = progress
        self._ended = False
        #: Bytes read so far.
        self.count = 0

    def read(self, size: int | None = -1) -> bytes:
        """The next ``size`` bytes; all that are left if negative or None.

        Raises:
            LengthMismatch: the reader ended before ``size``, or went on after it.
            InvalidArgument: it returned something else than bytes.
            StoreUnavailable: the call's time is up; the reader is not touched any more.
        """
        wanted = size if size is not None and size >= 0 else None
        pieces, missing = list[bytes](), wanted
        while not self._ended and missing != 0:
            piece = self._piece(_PIECE if missing is None else missing)
            pieces.append(piece)
            missing = None if missing is None else missing - len(piece)
        # As soon as the announced bytes are there: an SDK that counts would not ask for the end.
        if self.count == self._size and not self._ended:
            self._piece(1)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _piece(self, size: int) -> bytes:
        if self._deadline is not None:
            self._deadline.check()
        piece: object = self._reader.read(size)
        if not isinstance(piece, bytes | bytearray | memoryview):
            # Also None, by which a non-blocking reader says "not now": no end either.
            msg = f"a reader must return bytes, not {type(piece).__name__}"
            raise InvalidArgument(msg)
        if self._deadline is not None:
            self._deadline.check()
        self._ended = not piece
        self.count += len(piece)
        self._check_size()
        if piece and self._progress is not None:
            self._progress(len(piece))
        return bytes(piece)

    def _check_size(self) -> None:
        if self._size is None:
            return
        if self.count > self._size or (self._ended and self.count < self._size):
            held = "more" if self.count > self._size else f"only {self.count}"
            msg = f"expected {self._size} bytes, but the reader holds {held}"
            raise LengthMismatch(msg)
