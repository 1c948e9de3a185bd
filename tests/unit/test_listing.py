"""The newest uploads: who sees which, and how many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.ledgers import GRID

from chunkferry.state import State
from chunkferry.tus.listing import LIMIT, newest
from chunkferry.upload import ChunkUpload

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def upload(age: int, *, owner: str = "", state: State = State.RECEIVING) -> ChunkUpload:
    """An upload that began ``age`` seconds before the others' epoch."""
    begun = EPOCH - timedelta(seconds=age)
    return ChunkUpload(
        upload_id=f"0-{age}",
        filepath=f"file {age}",
        service="default",
        state=state,
        length=1,
        grid=GRID,
        created_at=begun,
        expiry=begun,
        notes={"principal": owner} if owner else {},
    )


def ids(uploads: tuple[ChunkUpload, ...]) -> list[str]:
    """Of uploads in their order."""
    return [upload.upload_id for upload in uploads]


def test_the_newest_come_first() -> None:
    """Whatever order they are read in."""
    found = newest([upload(2), upload(0), upload(1)], [None])
    assert ids(found[None][None]) == ["0-0", "0-1", "0-2"]


def test_a_list_is_bounded_and_says_that_there_are_more() -> None:
    """One more than fits is kept, of the newest."""
    found = newest([upload(age) for age in range(LIMIT + 50)], [None])
    assert ids(found[None][None]) == [f"0-{age}" for age in range(LIMIT + 1)]


def test_each_sees_their_own_and_one_sees_all() -> None:
    """None stands for whoever may see all."""
    uploads = [upload(0, owner="alice"), upload(1, owner="bob"), upload(2)]
    found = newest(uploads, [None, "alice", "nobody"])
    assert ids(found[None][None]) == ["0-0", "0-1", "0-2"]
    assert ids(found["alice"][None]) == ["0-0"]
    assert ids(found["nobody"][None]) == []
    assert "bob" not in found


def test_a_state_is_looked_for_among_all() -> None:
    """A failed upload is found behind however many newer ones."""
    uploads = [*(upload(age) for age in range(LIMIT + 50)), upload(9999, state=State.FAILED)]
    found = newest(uploads, [None])
    assert ids(found[None][State.FAILED]) == ["0-9999"]
    assert ids(found[None][State.COMPLETE]) == []
