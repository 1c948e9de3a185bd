"""Reads an upload's parts out of its stream, in order, one part ahead of the store.

Knows nothing of leases or stores. Buffers are used again: a worker needs two parts and one
stream entry of memory for each upload it is at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

import google_crc32c

from chunkferry.errors import IntegrityError
from chunkferry.parts import MIB
from chunkferry.services import Part
from chunkferry.upload import ChunkUpload

#: Buffers kept for the next upload …
_KEPT: Final = 4
#: … but none of the giant parts of a giant file.
_LARGEST_KEPT: Final = 64 * MIB


class Buffers:
    """Part buffers of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[bytearray] = []

    def take(self, size: int) -> bytearray:
        """A buffer of ``size`` bytes or more; its content is anything."""
        with self._lock:
            for i, buffer in enumerate(self._free):
                if len(buffer) >= size:
                    return self._free.pop(i)
        return bytearray(size)

    def give_back(self, buffer: bytearray) -> None:
        """Nobody uses ``buffer`` any more."""
        if len(buffer) > _LARGEST_KEPT:
            return
        with self._lock:
            self._free.append(buffer)
            # Large ones serve every size: they are kept.
            self._free.sort(key=len)
            del self._free[: max(0, len(self._free) - _KEPT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPart:
    """A part in memory."""

    part: Part
    #: CRC32C of the file up to the end of this part.
    crc32c_so_far: int
    buffer: bytearray


class PartReader:
    """The parts of one upload from what is stored on. Use it as a context manager."""

    def __init__(
        self, read: Callable[[int, int], Iterator[bytes]], upload: ChunkUpload, buffers: Buffers
    ) -> None:
        """Read with ``read(start, end)``, from ``upload.stored`` on, into ``buffers``."""
        self._read = read
        self._grid = upload.grid
        self._buffers = buffers
        #: CRC32C of the file up to the end of the newest part.
        self.crc32c = upload.crc32c
        self._loaded_crc32c = upload.crc32c
        self._ahead: tuple[int, int, Future[LoadedPart]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chunkferry-read")

    @contextmanager
    def part(self, start: int, end: int, then: tuple[int, int] | None) -> Iterator[Part]:
        """The part [start, end); its data is valid inside the ``with`` block only.

        Args:
            start: where the last part ended.
            end: where this one ends.
            then: the part to read meanwhile, if its bytes are all there.

        Raises:
            IntegrityError: bytes are missing.
            RedisUnavailable: Redis is.
        """
        if self._ahead is not None and self._ahead[:2] == (start, end):
            loaded = self._ahead[2].result()
        else:
            loaded = self._load(start, end)
        self._ahead = None
        if then is not None:
            self._ahead = (*then, self._thread.submit(self._load, *then))
        self.crc32c = loaded.crc32c_so_far
        try:
            yield loaded.part
        finally:
            self._buffers.give_back(loaded.buffer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._ahead is not None and self._ahead[2].done():
            unused = self._ahead[2]
            if not unused.cancelled() and unused.exception() is None:
                self._buffers.give_back(unused.result().buffer)

    def _load(self, start: int, end: int) -> LoadedPart:
        """Read one part. Parts are loaded in order, so the checksum of the file goes along."""
        size = end - start
        buffer = self._buffers.take(size)
        # Through a view: a bytearray copies what it is given before it takes it.
        data = memoryview(buffer)[:size]
        at, crc32c, so_far = 0, 0, self._loaded_crc32c
        for piece in self._read(start, end):
            data[at : at + len(piece)] = piece
            crc32c = google_crc32c.extend(crc32c, piece)
            so_far = google_crc32c.extend(so_far, piece)
            at += len(piece)
            del piece  # not to be held while the next one is read
        if at != size:
            raise IntegrityError(f"expected {size} bytes of the part at {start}, read {at}")
        self._loaded_crc32c = so_far
        part = Part(
            number=self._grid.number(start),
            offset=start,
            data=data,
            crc32c=crc32c,
        )
        return LoadedPart(part=part, crc32c_so_far=so_far, buffer=buffer)
