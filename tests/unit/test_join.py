"""Joining over in-memory twins: order, waiting, every way to fail, and what is tidied up."""

from __future__ import annotations

import io
import random
from datetime import timedelta
from typing import Any

import pytest
from tests.faults import FaultyStore, raises
from tests.producing import PART, OneStore, small_parts

from chunkferry import ChunkManager, ChunkUpload, State
from chunkferry.config import APPEND_BATCH, Settings
from chunkferry.errors import (
    ConfigError,
    InvalidArgument,
    InvalidPath,
    LengthMismatch,
    RedisUnavailable,
    StoreRefused,
    StoreUnavailable,
    UploadClosed,
    UploadInProgress,
    UploadNotFound,
)
from chunkferry.filepath import PARTIALS
from chunkferry.parts import MAX_LENGTH
from chunkferry.services import ChunkStore
from chunkferry.sources import MAX_SOURCES
from chunkferry.storage.capabilities import can_concatenate
from chunkferry.testing import ManualClock, MemoryLedger, MemoryStore, RecordingWaker
from chunkferry_worker.drain import Drain
from chunkferry_worker.join import Join, Joining
from chunkferry_worker.sweep import Sweep, SweepReport

CONTENT = random.Random(7).randbytes(2 * APPEND_BATCH + 9)
HEAD, TAIL = CONTENT[: PART + 1], CONTENT[PART + 1 : PART + 8]


class World:
    """A manager, a store, and workers that answer what they are asked for."""

    def __init__(self, **changes: Any) -> None:
        self.settings: Settings = small_parts(**changes)
        self.clock = ManualClock()
        self.waker = RecordingWaker()
        self.store = FaultyStore()
        self.ledger = MemoryLedger(self.settings, clock=self.clock)
        self.manager = ChunkManager(settings=self.settings, ledger=self.ledger, waker=self.waker)
        self.book = self.ledger.intake._book
        self.stopping = False
        self.outcomes: list[str] = []

    def join(self, upload_id: str, store: ChunkStore | None = None) -> Joining:
        """One turn of a worker at joining."""
        stores = OneStore(store or self.store, self.settings)
        join = Join(
            self.ledger, stores, self.waker, self.settings, should_stop=lambda: self.stopping
        )
        outcome = Joining(join.run(upload_id).outcome)
        self.outcomes.append(outcome)
        return outcome

    def work(self) -> None:
        """Answer all wake-ups until there is none; no sweep, and no time goes by."""
        stores = OneStore(self.store, self.settings)
        drain = Drain(self.ledger, stores, self.waker, self.settings, worker="w")
        while (arrived := self.waker.take()) or self.waker.joins:
            for upload_id in arrived:
                drain.run(upload_id)
            for upload_id in self.waker.take_joins():
                self.join(upload_id)

    def sweep(self, seconds: float = 20) -> SweepReport:
        """Let time pass, sweep, and work."""
        self.clock.advance(timedelta(seconds=seconds))
        stores = OneStore(self.store, self.settings)
        report = Sweep(self.ledger, stores, self.waker, self.settings).run()
        self.work()
        return report

    def partial(self, content: bytes | None, **changes: Any) -> str:
        """A partial upload: complete, or just begun for None."""
        length = None if content is None else len(content)
        upload_id = self.manager.create_partial(changes.pop("length", length), **changes).upload_id
        if content is not None:
            for at in range(0, max(1, len(content)), PART):
                self.manager.append(upload_id, at, content[at : at + PART])
                self.work()
            assert self.state(upload_id) is State.COMPLETE
        return upload_id

    def concatenate(self, *upload_ids: str, filepath: str = "a/b", **changes: Any) -> str:
        """Begin a join."""
        return self.manager.concatenate(filepath, upload_ids, **changes).upload_id

    def state(self, upload_id: str) -> State:
        """Where the upload stands."""
        return self.manager.get(upload_id).state

    def stored(self, filepath: str = "a/b") -> bytes:
        """The object at a path."""
        return self.store.contents[filepath].data

    def leftovers(self) -> list[str]:
        """Objects of partial uploads."""
        return [path for path in self.store.contents if path.startswith(PARTIALS)]


@pytest.fixture
def world() -> World:
    """A fresh world."""
    return World()


@pytest.fixture
def hasty() -> World:
    """One whose uploads expire after 100 s: five sweeps, so that none is missed on the way."""
    return World(incomplete_upload_expiry=timedelta(seconds=100))


def test_partials_are_joined_in_the_order_given(world: World) -> None:
    """Whatever the order of their beginning; empty ones and repeated ones too."""
    tail, empty, head = world.partial(TAIL), world.partial(b""), world.partial(HEAD)
    upload_id = world.concatenate(head, empty, tail, head, content_type="text/plain")
    world.work()
    assert world.state(upload_id) is State.COMPLETE
    assert world.stored() == HEAD + TAIL + HEAD
    assert world.store.contents["a/b"].content_type == "text/plain"


def test_the_length_is_known_at_once_if_that_of_all_is(world: World) -> None:
    """So the joined upload has the grid of any other of its size."""
    upload_id = world.concatenate(world.partial(HEAD), world.partial(TAIL))
    upload = world.manager.get(upload_id)
    assert upload.length == len(HEAD + TAIL)
    assert upload.grid == world.manager.create("other", upload.length).grid


def test_empty_partials_make_an_empty_object(world: World) -> None:
    """There is nothing to be taken."""
    upload_id = world.concatenate(world.partial(b""), world.partial(b""))
    world.work()
    assert world.state(upload_id) is State.COMPLETE
    assert world.stored() == b""


def test_unfinished_partials_are_waited_for(world: World) -> None:
    """What is there is taken, and the end of another is enough to go on: no sweep is needed."""
    head = world.partial(HEAD)
    late, tail = world.partial(None), world.partial(None, length=len(TAIL))
    upload_id = world.concatenate(head, late, tail)
    world.work()
    upload = world.manager.get(upload_id)
    assert (upload.received, upload.length) == (len(HEAD), None)
    world.manager.append(tail, 0, TAIL)
    world.work()
    assert world.manager.get(upload_id).received == len(HEAD)
    world.manager.append(late, 0, HEAD)
    world.manager.set_length(late, len(HEAD))
    world.work()
    assert world.state(upload_id) is State.COMPLETE
    assert world.stored() == HEAD + HEAD + TAIL


def test_waiting_does_not_expire_before_those_waited_for(hasty: World) -> None:
    """A slow partial upload keeps the joined one alive, and those that are there."""
    slow = hasty.partial(None, length=len(TAIL))
    upload_id = hasty.concatenate(slow, hasty.partial(HEAD))
    for at in range(len(TAIL)):
        for _ in range(4):
            hasty.sweep()
        hasty.manager.append(slow, at, TAIL[at : at + 1])
    hasty.work()
    assert hasty.state(upload_id) is State.COMPLETE
    assert hasty.stored() == TAIL + HEAD


def test_a_cancelled_partial_fails_the_join_at_once(world: World) -> None:
    """With an error that names it."""
    late = world.partial(None)
    upload_id = world.concatenate(world.partial(HEAD), late)
    world.work()
    world.manager.cancel(late)
    world.work()
    upload = world.manager.get(upload_id)
    assert (upload.state, upload.error_code) == (State.FAILED, "upload_closed")
    assert upload.error == (
        f"it cannot be joined: upload {late} cannot be joined: its state is cancelled"
    )


def test_a_part_taken_back_after_it_was_joined_is_not_missed(world: World) -> None:
    """Its bytes are taken; one taken back before that fails the join."""
    head, late = world.partial(HEAD), world.partial(None, length=len(TAIL))
    upload_id = world.concatenate(head, late)
    too_late = world.concatenate(late, head, filepath="too late")
    world.work()
    partial = world.manager.get(head)
    world.manager.terminate(partial, deleted=False)
    world.store.delete(partial.filepath)
    world.manager.terminate(partial, deleted=True)
    world.manager.append(late, 0, TAIL)
    world.work()
    assert (world.state(upload_id), world.stored()) == (State.COMPLETE, HEAD + TAIL)
    failed = world.manager.get(too_late)
    assert (failed.state, failed.error_code) == (State.FAILED, "integrity")


def test_an_expired_partial_fails_the_join(hasty: World) -> None:
    """Its producer went silent: nothing more is to come."""
    late = hasty.partial(None)
    upload_id = hasty.concatenate(late)
    for _ in range(7):
        hasty.sweep()
    assert (hasty.state(late), hasty.state(upload_id)) == (State.EXPIRED, State.FAILED)


def test_a_failed_partial_fails_the_join_until_both_are_requeued(world: World) -> None:
    """Nothing is lost by that."""
    late = world.partial(None, length=len(HEAD))
    upload_id = world.concatenate(world.partial(TAIL), late)
    world.store.before("initialize_chunk", raises(StoreRefused("no such bucket")))
    world.manager.append(late, 0, HEAD)
    world.work()
    assert (world.state(late), world.state(upload_id)) == (State.FAILED, State.FAILED)
    world.manager.requeue(late)
    world.manager.requeue(upload_id)
    world.sweep()
    assert world.state(upload_id) is State.COMPLETE
    assert world.stored() == TAIL + HEAD


@pytest.mark.parametrize("content", [None, b"short"])
def test_an_object_that_is_not_whole_fails_the_join(world: World, content: bytes | None) -> None:
    """Somebody removed it from the store, or replaced it."""
    head = world.partial(HEAD)
    path = world.manager.get(head).filepath
    if content is None:
        world.store.delete(path)
    else:
        world.store.put(path, io.BytesIO(content))
    upload_id = world.concatenate(head)
    world.work()
    upload = world.manager.get(upload_id)
    assert (upload.state, upload.error_code) == (State.FAILED, "integrity")
    assert head in upload.error


@pytest.mark.parametrize(
    "error", [StoreUnavailable("down"), ConfigError("not here"), OSError("unforeseen")]
)
def test_a_store_that_may_come_back_is_tried_again(world: World, error: Exception) -> None:
    """The sweep has it looked at; an error that nobody foresaw is one of the store."""
    upload_id = world.concatenate(world.partial(HEAD))
    world.store.before("download_range", raises(error))
    world.work()
    if isinstance(error, OSError):
        assert world.manager.get(upload_id).error_code == "store_error"
        world.manager.requeue(upload_id)
    else:
        assert world.state(upload_id) is State.RECEIVING
        assert world.outcomes == [Joining.DEFERRED]
    world.sweep()
    assert world.state(upload_id) is State.COMPLETE


def test_a_store_that_is_away_for_long_costs_nothing(hasty: World) -> None:
    """Its silence is not the client's: the upload does not expire."""
    upload_id = hasty.concatenate(hasty.partial(HEAD))
    hasty.waker.take_joins()
    hasty.store.before("download_range", *[raises(StoreUnavailable("down"))] * 20)
    for _ in range(10):  # each asks twice
        hasty.sweep()
    assert hasty.outcomes == [Joining.DEFERRED] * 20
    hasty.sweep()
    assert hasty.state(upload_id) is State.COMPLETE
    assert hasty.stored() == HEAD


def test_a_store_that_refuses_fails_the_join(world: World) -> None:
    """It waits for whoever mends that, and for requeue."""
    upload_id = world.concatenate(world.partial(HEAD))
    world.store.before("download_range", raises(StoreRefused("no permission")))
    world.work()
    assert world.manager.get(upload_id).error_code == "store_refused"
    world.manager.requeue(upload_id)
    world.sweep()
    assert world.stored() == HEAD


class WithoutRanges:
    """A store that takes uploads, and reads nothing."""

    def __init__(self, store: MemoryStore) -> None:
        self.chunk_file_service = store.chunk_file_service


def test_a_store_that_cannot_read_ranges_fails_the_join(world: World) -> None:
    """It says so; a front door asks before."""
    store = WithoutRanges(world.store)
    assert (can_concatenate(world.store), can_concatenate(store)) == (True, False)
    upload_id = world.concatenate(world.partial(HEAD))
    assert world.join(upload_id, store) is Joining.FAILED
    assert "cannot read ranges" in world.manager.get(upload_id).error


def test_two_turns_at_once_take_each_byte_once(world: World) -> None:
    """The offset is the lock: the slower one ends, and asks for no more turns."""
    upload_id = world.concatenate(world.partial(CONTENT))
    world.waker.take_joins()
    quicker: list[Joining] = []
    world.store.after("download_range", lambda: quicker.append(world.join(upload_id)))
    assert world.join(upload_id) is Joining.OVERTAKEN
    assert quicker == [Joining.TAKEN]
    assert world.waker.joins == []
    world.work()
    assert world.stored() == CONTENT


def test_a_doubled_request_changes_nothing(world: World) -> None:
    """Nor do those for uploads that are no joins, or that never were uploads."""
    world.waker.copies = 2
    upload_id = world.concatenate(world.partial(HEAD), world.partial(TAIL))
    world.work()
    assert world.stored() == HEAD + TAIL
    other = world.manager.create("other").upload_id
    assert [world.join(id_) for id_ in (other, "1-" + "0" * 32, "../etc")] == [Joining.GONE] * 3
    assert world.join(upload_id) is Joining.ENDED


def test_without_any_request_the_sweep_has_it_joined(world: World) -> None:
    """Messages may all get lost on the way from the manager."""
    head, late = world.partial(HEAD), world.partial(None, length=len(TAIL))
    upload_id = world.concatenate(head, late)
    world.manager.append(late, 0, TAIL)
    world.waker.take()
    world.waker.take_joins()
    for _ in range(5):
        world.sweep()
    assert world.state(upload_id) is State.COMPLETE


def test_a_full_window_ends_the_turn_and_room_begins_the_next(world: World) -> None:
    """More than fits, one worker, no sweep: joining and storing take turns."""
    world = World(window=PART + APPEND_BATCH)
    upload_id = world.concatenate(world.partial(CONTENT), world.partial(CONTENT))
    world.work()
    assert world.state(upload_id) is State.COMPLETE
    assert world.stored() == CONTENT * 2
    assert Joining.FULL in world.outcomes


@pytest.mark.parametrize("stopping", [False, True])
def test_a_turn_ends_and_asks_for_the_next(stopping: bool) -> None:
    """At its bound, or when its process is to end."""
    world = World(slice_bytes=10**9 if stopping else 1)
    upload_id = world.concatenate(world.partial(CONTENT))
    world.waker.take_joins()
    world.stopping = stopping
    assert world.join(upload_id) is Joining.MORE
    assert world.waker.joins == [upload_id]
    assert world.manager.get(upload_id).received == APPEND_BATCH
    world.work()
    assert world.stored() == CONTENT


def test_redis_away_is_nobodys_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn ends, and the sweep asks for another."""
    world.concatenate(world.partial(HEAD))

    def away(*_: object) -> None:
        raise RedisUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger.intake, "append", away)
        world.work()
    assert world.outcomes == [Joining.INTERRUPTED]
    world.sweep(60)
    assert world.stored() == HEAD


def test_partials_go_after_the_join(world: World) -> None:
    """Objects and records, with the next sweep after their graves were looked at."""
    upload_id = world.concatenate(world.partial(HEAD), world.partial(TAIL))
    world.work()
    assert len(world.leftovers()) == 2
    assert sum(world.sweep(60).discarded for _ in range(3)) == 2
    assert world.leftovers() == []
    assert (world.book.joins, world.book.partials, world.book.graves) == ({}, {}, {})
    assert [upload.upload_id for upload in world.manager.list_uploads()] == [upload_id]
    assert world.store.sessions == {}


def test_an_unused_partial_goes_in_the_end(world: World) -> None:
    """Its object is there for as long as an upload may take, and no longer."""
    world.partial(HEAD)
    world.sweep(timedelta(hours=23).total_seconds())
    assert len(world.leftovers()) == 1
    world.sweep(timedelta(hours=2).total_seconds())
    for _ in range(130):
        world.sweep(60)
    assert world.leftovers() == []
    assert world.book.partials == {}


def test_an_unfinished_partial_goes_by_its_own_silence(hasty: World) -> None:
    """Nothing of it is at the store then, and nothing is left to be looked at."""
    upload_id = hasty.partial(None)
    hasty.manager.append(upload_id, 0, HEAD)
    for _ in range(20):
        hasty.sweep()
    assert hasty.state(upload_id) is State.EXPIRED
    assert (hasty.leftovers(), hasty.store.sessions, hasty.book.partials) == ([], {}, {})


def test_a_long_outage_does_not_cost_a_join_its_parts(hasty: World) -> None:
    """No worker looked for longer than parts are kept: the first sweep has them joined."""
    hasty.sweep()
    upload_id = hasty.concatenate(hasty.partial(HEAD), hasty.partial(TAIL))
    hasty.waker.take_joins()
    hasty.sweep(150)
    for _ in range(3):
        hasty.sweep()
    assert hasty.state(upload_id) is State.COMPLETE
    assert hasty.stored() == HEAD + TAIL


def test_a_part_stays_while_a_join_needs_it(hasty: World) -> None:
    """However long no turn at the join took place, though sweeps went on."""
    upload_id = hasty.concatenate(hasty.partial(HEAD))
    hasty.waker.take_joins()
    for _ in range(5):
        hasty.ledger.joins.linger(upload_id, timedelta(seconds=50), waiting=True)
        hasty.sweep(40)
    hasty.sweep(40)
    assert hasty.stored() == HEAD


def test_silence_is_forgiven_before_a_join_too(hasty: World) -> None:
    """While everything was down, nobody could have joined: as long again is time for that."""
    hasty.sweep()
    head = hasty.partial(HEAD)
    hasty.sweep(150)
    hasty.sweep(50)
    upload_id = hasty.concatenate(head)
    hasty.work()
    assert hasty.state(upload_id) is State.COMPLETE


def test_an_object_that_cannot_be_removed_is_tried_again(world: World) -> None:
    """With each sweep, until the store lets it go."""
    world.partial(HEAD)
    world.store.before("delete", raises(StoreUnavailable("down")))
    world.sweep(timedelta(hours=24.1).total_seconds())
    assert len(world.leftovers()) == 1
    world.sweep(3)
    assert world.leftovers() == []


def test_one_partial_can_be_joined_into_two(world: World) -> None:
    """The earlier join leaves it to the later one."""
    head = world.partial(HEAD)
    first = world.concatenate(head, filepath="one")
    late = world.partial(None, length=1)
    second = world.concatenate(late, head, filepath="two")
    for _ in range(10):
        world.sweep(61)
    assert world.state(first) is State.COMPLETE
    world.manager.append(late, 0, b"x")
    world.work()
    assert world.state(second) is State.COMPLETE
    assert (world.stored("one"), world.stored("two")) == (HEAD, b"x" + HEAD)
    for _ in range(4):
        world.sweep(60)
    assert world.leftovers() == []


def test_a_cancelled_join_leaves_its_partials_alone(world: World) -> None:
    """Another join may want them."""
    head, late = world.partial(HEAD), world.partial(None, length=1)
    upload_id = world.concatenate(head, late)
    world.work()
    world.manager.cancel(upload_id)
    world.sweep()
    world.sweep()
    assert world.state(upload_id) is State.CANCELLED
    assert world.book.joins == {}
    world.concatenate(head)
    world.work()
    assert world.stored() == HEAD


def test_a_joined_upload_takes_no_data(world: World) -> None:
    """A client's bytes would come between those of its parts."""
    upload_id = world.concatenate(world.partial(None, length=1))
    with pytest.raises(InvalidArgument, match="joined from others"):
        world.manager.append(upload_id, 0, b"x")


def test_the_place_of_partials_is_reserved(world: World) -> None:
    """For uploads of their own and for joins; some file systems ignore case."""
    with pytest.raises(InvalidPath, match="reserved"):
        world.manager.create(".partials/x", 1)
    with pytest.raises(InvalidPath, match="reserved"):
        world.concatenate(world.partial(HEAD), filepath=".Partials/x")


def test_what_cannot_be_joined_is_refused(world: World) -> None:
    """Before anything is begun."""
    head = world.partial(HEAD)
    gone = world.partial(None)
    world.manager.cancel(gone)
    taken_back = world.partial(TAIL)
    world.manager.terminate(world.manager.get(taken_back), deleted=True)
    ordinary = world.manager.create("ordinary").upload_id
    joined = world.concatenate(head, filepath="joined")
    elsewhere = world.manager.create_partial(1, service="other").upload_id
    huge = [world.partial(None, length=MAX_LENGTH), world.partial(None, length=1)]
    for upload_ids, error in (
        ([], InvalidArgument),
        ([head] * (MAX_SOURCES + 1), InvalidArgument),
        ([head, ordinary], InvalidArgument),
        ([joined], InvalidArgument),
        ([elsewhere], InvalidArgument),
        ([gone], UploadClosed),
        ([head, taken_back], UploadClosed),
        ([head, "1-" + "0" * 32], UploadNotFound),
        (["no id"], UploadNotFound),
        (huge, LengthMismatch),
    ):
        with pytest.raises(error):
            world.concatenate(*upload_ids)
    assert world.manager.find_upload("a/b") is None


def test_too_long_a_join_fails_once_that_is_known(world: World) -> None:
    """Lengths may be told late."""
    ids = [world.partial(None), world.partial(None)]
    upload_id = world.concatenate(*ids)
    world.manager.set_length(ids[0], MAX_LENGTH)
    world.manager.set_length(ids[1], 1)
    world.sweep()
    assert world.manager.get(upload_id).error_code == "length_mismatch"


def test_the_same_key_is_the_same_join(world: World) -> None:
    """For the same partials only; without a key the path is taken."""
    head, tail = world.partial(HEAD), world.partial(TAIL)
    upload_id = world.concatenate(head, tail, idempotency_key="k")
    assert world.concatenate(head, tail, idempotency_key="k") == upload_id
    with pytest.raises(InvalidArgument, match="idempotency key"):
        world.concatenate(tail, head, idempotency_key="k")
    with pytest.raises(UploadInProgress):
        world.concatenate(head, tail)


def test_partials_carry_their_notes(world: World) -> None:
    """Whose they are is for the caller to compare."""
    upload: ChunkUpload = world.manager.create_partial(
        1, notes={"principal": "ann"}, metadata={"a": "b"}
    )
    assert (dict(upload.notes), dict(upload.metadata)) == ({"principal": "ann"}, {"a": "b"})
    assert upload.filepath.startswith(PARTIALS)
