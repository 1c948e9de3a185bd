"""How a producer's data is cut up on its way into the stream. Pure, but for reading readers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from chunkferry import parts
from chunkferry.config import APPEND_BATCH
from chunkferry.errors import InvalidArgument
from chunkferry.parts import Grid


def batches(grid: Grid, offset: int, view: memoryview) -> Iterator[tuple[int, list[memoryview]]]:
    """Cut ``view`` into (start, pieces) of ``APPEND_BATCH`` bytes at most; at least one.

    No batch holds bytes of two parts: under memory pressure the rest of a begun part is accepted,
    and must not be refused for what follows it.
    """
    start, size, pieces = offset, 0, list[memoryview]()
    for begin, end in parts.entries(grid, offset, len(view)):
        ends_a_part = bool(pieces) and begin == grid.boundary(begin - 1)
        if ends_a_part or size + end - begin > APPEND_BATCH:
            yield start, pieces
            start, size, pieces = begin, 0, []
        pieces.append(view[begin - offset : end - offset])
        size += end - begin
    yield start, pieces


def of_reader(reader: BinaryIO, size: int) -> Iterator[bytes]:
    """All that ``reader`` holds, in chunks of ``size`` bytes; the last may be shorter.

    What was read before the reader raises is yielded first: it is good data.
    """
    pieces, missing = list[bytes](), size
    try:
        while piece := _require_bytes(reader.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
            if missing <= 0:
                chunk, pieces, missing = b"".join(pieces), [], size
                yield chunk
    except Exception:
        if pieces:
            yield b"".join(pieces)
        raise
    if pieces:
        yield b"".join(pieces)


def _require_bytes(piece: object) -> bytes:
    if not isinstance(piece, bytes):
        # Also None, by which a non-blocking reader says "not now": it must not pass for the end.
        raise InvalidArgument(f"reader must return bytes, not {type(piece).__name__}")
    return piece
