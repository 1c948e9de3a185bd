"""The fixed part grid: which bytes of a file belong to which part. Pure arithmetic.

Part *n* of an upload always holds the same bytes, whoever uploads it and however often, so a
repeat by a worker that lost its lease is harmless on every store. The bounds are those of S3
multipart uploads (parts of 5 MiB to 5 GiB, the last one of any size, at most 10 000 of them),
which also satisfy Azure's 50 000 blocks; the multiple of 256 KiB is Google Cloud Storage's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chunkferry.errors import InvalidArgument, LengthMismatch

KIB: Final = 1024
MIB: Final = 1024 * KIB
TIB: Final = 1024**4

#: Smallest part a store must accept before the last one (S3).
MIN_PART_SIZE: Final = 5 * MIB
#: Largest part (S3).
MAX_PART_SIZE: Final = 5 * 1024 * MIB
#: Part sizes are multiples of this (GCS resumable uploads).
PART_SIZE_UNIT: Final = 256 * KIB
#: Most parts of one upload (S3).
MAX_PARTS: Final = 10_000
#: Largest file.
MAX_LENGTH: Final = 5 * TIB

#: Largest stream entry in bytes. Just under 4 MiB, so that entry and header fit one allocator
#: class of 4 MiB; above 7 MiB Redis' handling of single values falls off a cliff.
MAX_ENTRY: Final = 4 * MIB - 4 * KIB

#: A grid of unknown length grows after each run of this many parts …
_RUN: Final = 500
#: … by this factor: 20 runs from 5 MiB reach more than 5 TiB.
_GROWTH: Final = (140, 100)


@dataclass(frozen=True, slots=True)
class Grid:
    """The parts of one upload.

    ``growing`` grids serve uploads whose length is not known: parts keep their first size for
    500 parts and then grow by 40 % after each 500, so that 10 000 parts hold 5 TiB.
    """

    #: Size of the first part in bytes.
    part_size: int
    growing: bool = False

    def boundary(self, offset: int) -> int:
        """End of the part that holds the byte at ``offset``."""
        start, size = self._run_at(offset)
        return start + ((offset - start) // size + 1) * size

    def begins(self, offset: int) -> bool:
        """True if a part starts at ``offset``."""
        start, size = self._run_at(offset)
        return (offset - start) % size == 0

    def number(self, offset: int) -> int:
        """Number (from 1) of the part that starts at ``offset``.

        Raises:
            InvalidArgument: no part starts there.
        """
        if not self.growing:
            number, rest = divmod(offset, self.part_size)
            number += 1
        else:
            start, size, number = 0, self.part_size, 1
            while offset >= start + size * _RUN:
                start, size, number = start + size * _RUN, _grown(size), number + _RUN
            steps, rest = divmod(offset - start, size)
            number += steps
        if rest:
            msg = f"no part starts at byte {offset}"
            raise InvalidArgument(msg)
        return number

    def ranges(self, length: int) -> Iterator[tuple[int, int]]:
        """All (start, end) of a file of ``length`` bytes, end exclusive, in order."""
        start = 0
        while start < length:
            end = min(self.boundary(start), length)
            yield start, end
            start = end

    def _run_at(self, offset: int) -> tuple[int, int]:
        start, size = 0, self.part_size
        while self.growing and offset >= start + size * _RUN:
            start, size = start + size * _RUN, _grown(size)
        return start, size

    def dump(self) -> str:
        """The grid as it is kept with the upload: ``"8388608"`` or, growing, ``"8388608+"``."""
        return f"{self.part_size}{'+' if self.growing else ''}"

    @classmethod
    def load(cls, text: str) -> Grid:
        """The grid that ``dump`` wrote."""
        return cls(int(text.rstrip("+")), growing=text.endswith("+"))


def plan(length: int | None, preferred: int) -> Grid:
    """The grid for a file of ``length`` bytes (None: not known yet).

    ``preferred`` is the part size to use wherever it suffices; see ``check_part_size``.

    Raises:
        LengthMismatch: ``length`` is over 5 TiB.
        InvalidArgument: ``length`` is negative, or ``preferred`` unusable.
    """
    check_part_size(preferred)
    if length is None:
        return Grid(preferred, growing=True)
    if length < 0:
        msg = f"length must be 0 or more bytes, not {length}"
        raise InvalidArgument(msg)
    if length > MAX_LENGTH:
        msg = f"length is {length} bytes; the most a store takes is {MAX_LENGTH}"
        raise LengthMismatch(msg)
    return Grid(max(preferred, _round_up(-(-length // MAX_PARTS))))


def check_part_size(size: int) -> int:
    """``size`` if it can be a part size.

    Raises:
        InvalidArgument: under 5 MiB, over 5 GiB, or no multiple of 256 KiB.
    """
    if not MIN_PART_SIZE <= size <= MAX_PART_SIZE or size % PART_SIZE_UNIT:
        msg = (
            f"part size must be {MIN_PART_SIZE} to {MAX_PART_SIZE} bytes and a multiple of "
            f"{PART_SIZE_UNIT}, not {size}"
        )
        raise InvalidArgument(msg)
    return size


def entries(grid: Grid, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """How ``length`` bytes from ``offset`` are cut into stream entries: (start, end), in order.

    No entry crosses a part boundary, so storing a part frees exactly its entries.
    """
    end = offset + length
    while offset < end:
        cut = min(end, grid.boundary(offset), offset + MAX_ENTRY)
        yield offset, cut
        offset = cut


def _grown(size: int) -> int:
    return min(_round_up(size * _GROWTH[0] // _GROWTH[1]), MAX_PART_SIZE)


def _round_up(size: int) -> int:
    return -(-size // PART_SIZE_UNIT) * PART_SIZE_UNIT
