"""How a producer's data is cut up."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkferry import chunks
from chunkferry.config import APPEND_BATCH
from chunkferry.errors import InvalidArgument
from chunkferry.parts import MIB, Grid

#: Content is not looked at: any bytes will do, and need not be made each time.
ZEROS = memoryview(bytes(24 * MIB))


class Script(io.BytesIO):
    """A reader that returns, or raises, what it is told to."""

    def __init__(self, *answers: bytes | Exception) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[int | None] = []

    def read(self, size: int | None = -1, /) -> bytes:
        """The next answer."""
        self.asked.append(size)
        answer = self.answers.pop(0) if self.answers else b""
        if isinstance(answer, Exception):
            raise answer
        return answer


@given(
    grid=st.builds(Grid, st.sampled_from([5 * MIB, 8 * MIB, 64 * MIB]), growing=st.booleans()),
    offset=st.integers(0, 20 * MIB),
    length=st.integers(0, len(ZEROS)),
)
def test_batches_are_the_data(grid: Grid, offset: int, length: int) -> None:
    """In order, none too large, none with bytes of two parts."""
    at = offset
    for start, pieces in chunks.batches(grid, offset, ZEROS[:length]):
        assert start == at
        at += sum(map(len, pieces))
        assert at - start <= APPEND_BATCH
        assert at <= grid.boundary(start)
    assert at == offset + length


def test_batches_do_not_copy() -> None:
    """The pieces are views of what was given."""
    ((_, pieces),) = chunks.batches(Grid(8 * MIB), 0, ZEROS[: 5 * MIB])
    assert {piece.obj is ZEROS.obj for piece in pieces} == {True}


def test_no_data_is_one_empty_batch() -> None:
    """It asks for the offset."""
    assert list(chunks.batches(Grid(8 * MIB), 7, memoryview(b""))) == [(7, [])]


@given(
    content=st.binary(max_size=50),
    size=st.integers(1, 20),
    reads=st.lists(st.integers(1, 7), max_size=60),
)
def test_short_reads_fill_whole_chunks(content: bytes, size: int, reads: list[int]) -> None:
    """However little the reader gives at a time, only the last chunk is shorter."""
    source = io.BytesIO(content)
    pieces = iter(reads)

    class Stuttering(io.BytesIO):
        def read(self, missing: int | None = -1, /) -> bytes:
            assert missing is not None
            return source.read(min(missing, next(pieces, 3)))

    found = list(chunks.of_reader(Stuttering(), size))
    assert b"".join(found) == content
    assert {len(chunk) for chunk in found[:-1]} <= {size}
    assert all(found)


def test_a_reader_is_never_asked_for_more_than_a_chunk() -> None:
    """What is missing, and not a byte that would have to be kept."""
    reader = Script(b"abc", b"d", b"efgh")
    assert list(chunks.of_reader(reader, 4)) == [b"abcd", b"efgh"]
    assert reader.asked == [4, 1, 4, 4]


def test_bytes_that_come_with_the_end_are_kept() -> None:
    """Fault of the original: the last ones were dropped."""
    assert list(chunks.of_reader(io.BytesIO(b"abcde"), 4)) == [b"abcd", b"e"]


def test_an_empty_reader_has_no_chunks() -> None:
    """Not even an empty one."""
    assert list(chunks.of_reader(io.BytesIO(), 4)) == []


def test_what_was_read_before_an_error_comes_first() -> None:
    """It is good data; then the error."""
    found: list[bytes] = []
    reading = chunks.of_reader(Script(b"abcd", b"e", OSError("disk gone")), 4)
    with pytest.raises(OSError, match="disk gone"):
        found.extend(reading)
    assert found == [b"abcd", b"e"]


def test_a_reader_of_text_is_refused() -> None:
    """Before anything of it is sent."""
    with pytest.raises(InvalidArgument, match="reader must return bytes, not str"):
        list(chunks.of_reader(io.StringIO("abc"), 4))  # type: ignore[arg-type]  # wrong on purpose
