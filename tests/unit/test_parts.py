"""The part grid: which bytes make which part."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chunkferry import parts
from chunkferry.errors import InvalidArgument, LengthMismatch
from chunkferry.parts import (
    MAX_ENTRY,
    MAX_LENGTH,
    MAX_PART_SIZE,
    MAX_PARTS,
    MIB,
    MIN_PART_SIZE,
    PART_SIZE_UNIT,
    Grid,
)

part_sizes = st.integers(MIN_PART_SIZE // PART_SIZE_UNIT, MAX_PART_SIZE // PART_SIZE_UNIT).map(
    lambda units: units * PART_SIZE_UNIT
)
lengths = st.one_of(st.integers(0, MAX_LENGTH), st.integers(0, 100 * MIB))
grids = st.builds(Grid, part_sizes, growing=st.booleans())


@given(length=lengths, preferred=part_sizes)
@example(length=MAX_LENGTH, preferred=MIN_PART_SIZE)
@example(length=0, preferred=MIN_PART_SIZE)
@example(length=1, preferred=MIN_PART_SIZE)
@example(length=MIN_PART_SIZE, preferred=MIN_PART_SIZE)
@example(length=MIN_PART_SIZE + 1, preferred=MIN_PART_SIZE)
def test_the_parts_are_the_file(length: int, preferred: int) -> None:
    """They follow one another from its first byte to its last, within a store's bounds."""
    grid = parts.plan(length, preferred)
    ranges = list(grid.ranges(length))
    ends = [0, *(end for _, end in ranges)]
    assert ends[:-1] == [start for start, _ in ranges]
    assert ends[-1] == length
    assert len(ranges) <= MAX_PARTS
    sizes = {end - start for start, end in ranges[:-1]}
    assert sizes <= {grid.part_size}
    assert MIN_PART_SIZE <= grid.part_size <= MAX_PART_SIZE
    assert grid.part_size % PART_SIZE_UNIT == 0
    assert grid.part_size >= preferred


@settings(max_examples=20)
@given(preferred=part_sizes)
@example(preferred=MIN_PART_SIZE)
def test_a_growing_grid_holds_any_file(preferred: int) -> None:
    """Ten thousand parts reach the largest file, whatever the first part's size."""
    grid = parts.plan(None, preferred)
    ranges = list(itertools.islice(grid.ranges(10 * MAX_LENGTH), MAX_PARTS))
    assert ranges[-1][1] >= MAX_LENGTH
    sizes = [end - start for start, end in ranges]
    assert sizes == sorted(sizes)
    assert sizes[0] == preferred
    assert sizes[-1] <= MAX_PART_SIZE
    assert {size % PART_SIZE_UNIT for size in sizes} == {0}


@given(grid=grids, offset=st.integers(0, MAX_LENGTH))
def test_a_boundary_ends_the_part_of_its_offset(grid: Grid, offset: int) -> None:
    """The same end for every byte of a part, and the next part starts there."""
    boundary = grid.boundary(offset)
    assert offset < boundary
    assert grid.boundary(boundary - 1) == boundary
    assert grid.number(boundary) > 1


@given(grid=grids, index=st.integers(1, 1200))
def test_parts_are_counted_from_one(grid: Grid, index: int) -> None:
    """Number and boundary tell of the same parts."""
    start = 0
    for _ in range(index - 1):
        start = grid.boundary(start)
    assert grid.number(start) == index


@given(grid=grids, offset=st.integers(1, MAX_LENGTH))
def test_only_starts_have_numbers(grid: Grid, offset: int) -> None:
    """A byte inside a part is no part."""
    if grid.boundary(offset - 1) == offset:
        grid.number(offset)
    else:
        with pytest.raises(InvalidArgument, match=f"no part starts at byte {offset}"):
            grid.number(offset)


@given(grid=grids, offset=st.integers(0, MAX_LENGTH), length=st.integers(0, 64 * MIB))
def test_entries_cover_the_data_and_cross_no_boundary(grid: Grid, offset: int, length: int) -> None:
    """Each is small enough for Redis, and belongs to one part."""
    entries = list(parts.entries(grid, offset, length))
    ends = [offset, *(end for _, end in entries)]
    assert ends[:-1] == [start for start, _ in entries]
    assert ends[-1] == offset + length
    for start, end in entries:
        assert 0 < end - start <= MAX_ENTRY
        assert end <= grid.boundary(start)


@given(grid=grids)
def test_a_grid_can_be_kept_as_text(grid: Grid) -> None:
    """And read again."""
    assert Grid.load(grid.dump()) == grid


def test_the_text_of_a_grid_is_stable() -> None:
    """It is in the Redis of running uploads."""
    assert (Grid(8388608).dump(), Grid(8388608, growing=True).dump()) == ("8388608", "8388608+")


@pytest.mark.parametrize(
    "size", [0, -MIB, MIN_PART_SIZE - PART_SIZE_UNIT, MIN_PART_SIZE + 1, MAX_PART_SIZE + MIB]
)
def test_unusable_part_sizes_are_refused(size: int) -> None:
    """Too small, too large, or no multiple."""
    with pytest.raises(InvalidArgument, match="part size must be"):
        parts.plan(1, size)


def test_impossible_lengths_are_refused() -> None:
    """Negative ones, and those that no store takes."""
    with pytest.raises(InvalidArgument):
        parts.plan(-1, MIN_PART_SIZE)
    with pytest.raises(LengthMismatch):
        parts.plan(MAX_LENGTH + 1, MIN_PART_SIZE)
