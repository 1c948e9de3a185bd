"""The newest uploads: who sees which, and how many."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import anyio
import anyio.to_thread
import pytest
from tests.ledgers import GRID

from chunkferry import ChunkManager
from chunkferry.config import load
from chunkferry.state import State
from chunkferry.testing import MemoryLedger, RecordingWaker
from chunkferry.tus import listing
from chunkferry.tus.door import Door
from chunkferry.tus.hooks import Hooks
from chunkferry.tus.listing import LIMIT, Look, Newest, newest
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


def a_manager() -> ChunkManager:
    """One with uploads in memory."""
    settings = load()
    return ChunkManager(settings=settings, ledger=MemoryLedger(settings), waker=RecordingWaker())


def test_what_is_shown_is_looked_at_again_without_the_others() -> None:
    """Its progress and its state are seen; what is new only by a whole look."""
    manager = a_manager()
    for number in range(20):
        manager.create(f"{number}", 10)
    first = manager.create("first", 10, notes={"principal": "alice"}).upload_id
    second = manager.create("second", 10, notes={"principal": "alice"}).upload_id
    before = listing.look(manager, ["alice"])
    manager.append(first, 0, b"x")
    manager.cancel(second)
    manager.create("third", 10, notes={"principal": "alice"})
    after = before.again(manager)
    assert after is not None
    shown = {upload.upload_id: upload for upload in after.found["alice"][None]}
    assert shown == {first: manager.get(first), second: manager.get(second)}
    assert ids(after.found["alice"][State.ABORTING]) == [second]
    assert len(listing.look(manager, ["alice"]).found["alice"][None]) == 3


def test_a_whole_look_is_taken_where_it_costs_no_more() -> None:
    """Where all that is there is shown, and changes."""
    manager = a_manager()
    manager.create("a", 10)
    assert listing.look(manager, [None]).again(manager) is None


def test_an_answer_lasts_nine_times_as_long_as_it_cost() -> None:
    """So looking takes a tenth of a core at most, whoever asks how often."""
    now = time.monotonic()
    dear = Look(began=now - 5, cost=1.0, found={None: {}})
    assert dear.serves(None, 0.0)
    assert not dear.serves("alice", 0.0)
    assert not Look(began=now - 5, cost=0.5, found={None: {}}).serves(None, 0.0)
    assert Look(began=now - 5, cost=0.5, found={None: {}}).serves(None, 60.0)


def test_who_waits_for_long_is_looked_for_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a look that takes longer than anybody is remembered without asking again."""
    monkeypatch.setattr(listing, "_INTEREST", 0.5)
    settings = load()
    manager = ChunkManager(settings=settings, ledger=MemoryLedger(settings), waker=RecordingWaker())
    looking, may_end = threading.Event(), threading.Event()
    whole = manager.list_uploads

    def slow() -> Iterator[ChunkUpload]:
        looking.set()
        assert may_end.wait(30)
        return whole()

    monkeypatch.setattr(manager, "list_uploads", slow)

    async def ask() -> Newest:
        lists = listing.Listing(Door(manager, Hooks()))
        found = list[Newest]()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lists.newest, "ann")
            await anyio.to_thread.run_sync(looking.wait, 30)
            tasks.start_soon(forget)
            found.append(await lists.newest("bob"))
        return found[0]

    async def forget() -> None:
        await anyio.sleep(listing._INTEREST * 1.2)
        may_end.set()

    assert anyio.run(ask)[None] == ()
