"""The drain over in-memory twins: every turn, every outcome, every fault at every call."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from tests.faults import FaultyStore, raises

from chunkferry import ChunkManager, State
from chunkferry.config import Settings, load
from chunkferry.errors import (
    LeaseLost,
    RedisUnavailable,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from chunkferry.moves import Acquisition, Deferral, Release
from chunkferry.parts import MIB
from chunkferry.storage import Stores
from chunkferry.testing import ManualClock, MemoryLedger, RecordingWaker
from chunkferry_worker.drain import Drain
from chunkferry_worker.sweep import Sweep
from chunkferry_worker.turn import DrainReport

PART = 5 * MIB
CONTENT = random.Random(1).randbytes(2 * PART + 7)
AN_HOUR = timedelta(hours=1)


class OneStore(Stores):
    """A single store under the name "default"."""

    def __init__(self, store: FaultyStore) -> None:
        super().__init__({"default": "memory://unused"})
        self._store = store

    def __getitem__(self, service: str) -> FaultyStore:
        assert service == "default"
        return self._store


@dataclass
class World:
    """A ledger, a store, and workers at them."""

    clock: ManualClock = field(default_factory=ManualClock)
    waker: RecordingWaker = field(default_factory=RecordingWaker)
    store: FaultyStore = field(default_factory=FaultyStore)
    settings: Settings = field(
        default_factory=lambda: load(chunk_size_limit=PART, services={"default": "memory://unused"})
    )

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(self.settings, clock=self.clock)
        self.manager = ChunkManager(settings=self.settings, ledger=self.ledger, waker=self.waker)
        self.sweep = Sweep(self.ledger, OneStore(self.store), self.waker, self.settings)
        self.stopping = False

    def worker(self, name: str = "w1") -> Drain:
        """A worker process."""
        return Drain(
            self.ledger,
            OneStore(self.store),
            self.waker,
            self.settings,
            worker=name,
            should_stop=lambda: self.stopping,
        )

    def upload(self, content: bytes = CONTENT, filepath: str = "a/b") -> str:
        """Begin an upload and send all of it."""
        upload_id = self.manager.create(filepath, len(content)).upload_id
        self.manager.append(upload_id, 0, content)
        return upload_id

    def drain(self, upload_id: str) -> DrainReport:
        """One turn of a worker."""
        return self.worker().run(upload_id)

    def state(self, upload_id: str) -> State:
        """Where the upload stands."""
        return self.manager.get(upload_id).state

    def settle(self, upload_id: str) -> State:
        """Let time pass, sweep and drain until the upload stands still."""
        for _ in range(50):
            self.clock.advance(timedelta(seconds=40))
            self.sweep.run()
            for woken in self.waker.take():
                self.worker("settler").run(woken)
            if self.manager.get(upload_id).has_ended or self.state(upload_id) is State.FAILED:
                break
        return self.state(upload_id)

    def look_after_graves(self) -> None:
        """Let the sweep look at the stores of ended uploads."""
        for _ in range(3):
            self.clock.advance(timedelta(seconds=61))
            self.sweep.run()

    def is_whole(self, filepath: str = "a/b", content: bytes = CONTENT) -> bool:
        """True if exactly this object is there and nothing unfinished."""
        return self.store.contents[filepath].data == content and not self.store.sessions


@pytest.fixture
def world() -> World:
    """A fresh world."""
    return World()


def test_all_parts_and_the_completion_fit_one_turn(world: World) -> None:
    """A turn stores what waits, in parts of the grid, and completes the object."""
    report = world.drain(world.upload())
    assert (State.COMPLETE, 3, len(CONTENT)) == (report.outcome, report.parts, report.size)
    assert world.is_whole()


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1])
def test_every_size_completes(world: World, size: int) -> None:
    """Nothing is special about empty files and the borders of parts."""
    upload_id = world.upload(CONTENT[:size])
    assert world.drain(upload_id).outcome == State.COMPLETE
    assert world.is_whole(content=CONTENT[:size])


def test_a_part_that_is_not_whole_waits(world: World) -> None:
    """Without the end of the file in sight only whole parts are stored."""
    upload_id = world.manager.create("a/b", len(CONTENT)).upload_id
    world.manager.append(upload_id, 0, CONTENT[: PART + 1])
    report = world.drain(upload_id)
    assert (report.outcome, report.parts, report.stored) == (Release.IDLE, 1, PART)


def test_a_needless_wake_up_does_nothing(world: World) -> None:
    """Duplicates end at the lease."""
    upload_id = world.upload()
    world.drain(upload_id)
    assert world.drain(upload_id).outcome == Acquisition.GONE
    assert world.store.calls["upload_part"] == 3


def test_a_turn_ends_after_its_bytes(world: World) -> None:
    """A large upload goes to the end of the queue after each turn: others get theirs."""
    world.settings = world.settings.changed(slice_bytes=PART)
    world.waker.take()
    upload_id = world.upload()
    world.waker.take()
    assert world.drain(upload_id).outcome == Release.MORE
    assert world.waker.take() == [upload_id]


def test_a_stopping_worker_hands_over_after_its_part(world: World) -> None:
    """SIGTERM ends a drain after the part it is at, and asks for another worker."""
    world.stopping = True
    upload_id = world.upload()
    report = world.drain(upload_id)
    assert (report.outcome, report.parts) == (Release.MORE, 1)
    assert upload_id in world.waker.take()


CALLS = ["initialize_chunk", "upload_part", "complete_upload"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_transient_error_is_tried_again(world: World, call: str, when: str) -> None:
    """A store that fails once, before or after the effect, costs time and nothing else."""
    getattr(world.store, when)(call, raises(StoreUnavailable("503")))
    upload_id = world.upload()
    report = world.drain(upload_id)
    assert report.outcome == Deferral.DEFERRED
    assert world.settle(upload_id) == State.COMPLETE
    world.look_after_graves()
    assert world.is_whole()


@pytest.mark.parametrize("call", CALLS)
def test_a_refusal_fails_the_upload_until_it_is_requeued(world: World, call: str) -> None:
    """Nothing accepted is lost: after the cause is mended, requeue completes it."""
    world.store.before(call, raises(StoreRefused("403")))
    upload_id = world.upload()
    assert world.drain(upload_id).outcome == Deferral.FAILED
    failed = world.manager.get(upload_id)
    assert State.FAILED is failed.state
    assert "403" in failed.error
    world.manager.requeue(upload_id)
    assert world.settle(upload_id) == State.COMPLETE
    assert world.is_whole()


def test_attempts_have_an_end(world: World) -> None:
    """A store that is down for good fails the upload, visibly."""
    world.settings = world.settings.changed(max_attempts=3)
    world.__post_init__()
    world.store.before("upload_part", *[raises(StoreUnavailable("down"))] * 3)
    upload_id = world.upload()
    assert world.settle(upload_id) == State.FAILED
    assert world.manager.get(upload_id).error_code == "store_unavailable"


def test_an_unforeseen_error_is_tried_again(world: World) -> None:
    """What a third party's store raises by mistake does not kill the worker."""
    world.store.before("upload_part", raises(ZeroDivisionError()))
    upload_id = world.upload()
    assert world.drain(upload_id).error == "unexpected"
    assert world.settle(upload_id) == State.COMPLETE


def test_a_part_stored_but_not_committed_is_not_sent_again(world: World) -> None:
    """The successor of a dead worker finds the part at the store."""
    world.store.after("upload_part", raises(KeyboardInterrupt()))  # type: ignore[arg-type]
    upload_id = world.upload()
    with pytest.raises(KeyboardInterrupt):
        world.drain(upload_id)
    assert world.settle(upload_id) == State.COMPLETE
    assert world.store.calls["upload_part"] == 3
    assert world.is_whole()


def test_parts_that_redis_has_forgotten_are_not_sent_again(world: World) -> None:
    """Redis comes back without its newest commits: the store knows those parts."""
    world.settings = world.settings.changed(slice_bytes=PART)
    upload_id = world.upload()
    world.drain(upload_id)
    known = copy.deepcopy(world.ledger._book._entries[upload_id])
    world.drain(upload_id)
    world.ledger._book._entries[upload_id] = known
    assert world.settle(upload_id) == State.COMPLETE
    assert world.store.calls["upload_part"] == 3
    assert world.is_whole()


def test_a_store_that_does_not_tell_its_parts_gets_them(world: World) -> None:
    """Without the right to look, or where it is not offered, a part is sent: that is no harm."""
    world.settings = world.settings.changed(slice_bytes=PART)
    upload_id = world.upload()
    world.store.before("find_part", *[raises(StoreRefused("403"))] * 2)
    assert world.drain(upload_id).outcome == Release.MORE
    assert world.drain(upload_id).outcome == Release.MORE
    assert world.drain(upload_id).outcome == State.COMPLETE
    assert (world.store.calls["find_part"], world.store.calls["upload_part"]) == (2, 3)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_may_die_anywhere(world: World, call: str, when: str) -> None:
    """A kill before or after any effect at the store leaves a whole object and nothing else."""
    getattr(world.store, when)(call, raises(KeyboardInterrupt()))  # type: ignore[arg-type]
    upload_id = world.upload()
    with pytest.raises(KeyboardInterrupt):
        world.drain(upload_id)
    assert world.settle(upload_id) == State.COMPLETE
    world.look_after_graves()
    assert world.is_whole()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_zombie_changes_nothing(world: World, call: str, when: str) -> None:
    """A worker that wakes up after its successor has finished is fenced everywhere."""
    upload_id = world.upload()
    getattr(world.store, when)(call, lambda: world.settle(upload_id))
    report = world.drain(upload_id)
    assert report.outcome in {"lost", State.COMPLETE}
    assert State.COMPLETE is world.state(upload_id)
    world.look_after_graves()
    assert world.is_whole()


@pytest.mark.parametrize("call", CALLS[:2])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cancelled_upload_is_removed_by_its_holder(world: World, call: str, when: str) -> None:
    """The holder notices at its next move and leaves nothing behind."""
    upload_id = world.upload()
    getattr(world.store, when)(call, lambda: world.manager.cancel(upload_id))
    report = world.drain(upload_id)
    assert report.outcome == State.CANCELLED
    assert (world.store.sessions, world.store.contents) == ({}, {})


def test_an_upload_being_completed_cannot_be_cancelled(world: World) -> None:
    """The direction is fixed before the store is asked."""
    refused: list[str] = []

    def cancel() -> None:
        try:
            world.manager.cancel(upload_id)
        except Exception as exc:
            refused.append(type(exc).__name__)

    world.store.before("complete_upload", cancel)
    upload_id = world.upload()
    assert world.drain(upload_id).outcome == State.COMPLETE
    assert refused == ["UploadClosed"]


def test_cleaning_up_is_tried_until_it_works(world: World) -> None:
    """A store that is down, or refuses, while an upload is removed: no leak, no end of tries."""
    upload_id = world.upload(CONTENT)
    world.settings = world.settings.changed(slice_bytes=PART)
    world.drain(upload_id)
    world.manager.cancel(upload_id)
    world.store.before("cleanup", raises(StoreUnavailable("down")), raises(StoreRefused("403")))
    assert world.settle(upload_id) == State.CANCELLED
    assert not world.store.sessions


def test_an_object_with_our_id_is_complete_whatever_redis_says(world: World) -> None:
    """Cancelled in Redis, but the object is there with the upload's id: adopted."""

    def complete_unnoticed() -> None:
        raise KeyboardInterrupt

    world.store.after("complete_upload", complete_unnoticed)
    upload_id = world.upload()
    with pytest.raises(KeyboardInterrupt):
        world.drain(upload_id)
    assert State.COMPLETING is world.state(upload_id)
    assert world.settle(upload_id) == State.COMPLETE
    assert world.store.calls["complete_upload"] == 2


def test_a_session_lost_before_the_first_part_begins_anew(world: World) -> None:
    """Nothing was stored, so nothing is lost."""
    world.store.before("upload_part", raises(SessionLost("gone")))
    upload_id = world.upload()
    assert world.drain(upload_id).outcome == Deferral.DEFERRED
    assert world.settle(upload_id) == State.COMPLETE
    assert world.store.calls["initialize_chunk"] == 2


def test_a_session_lost_with_stored_parts_fails_clearly(world: World) -> None:
    """Freed bytes cannot be sent again: the upload says so instead of truncating."""
    world.store.before("upload_part", lambda: None, raises(SessionLost("gone")))
    upload_id = world.upload()
    assert world.drain(upload_id).outcome == Deferral.FAILED
    assert "send the file again" in world.manager.get(upload_id).error


def test_redis_going_away_leaves_the_upload_to_the_next_turn(world: World) -> None:
    """Nobody can be told; the lease runs out and another worker goes on."""

    def go_away() -> None:
        raise RedisUnavailable("gone")

    world.store.before("upload_part", go_away)
    upload_id = world.upload()
    assert world.drain(upload_id).outcome == "interrupted"
    assert world.settle(upload_id) == State.COMPLETE


def test_workers_dying_again_and_again_are_spared(world: World) -> None:
    """A poisoned upload fails after a bounded number of deaths; requeue completes it."""
    deaths = world.settings.max_deaths
    world.store.before("upload_part", *[raises(KeyboardInterrupt())] * deaths)  # type: ignore[arg-type]
    upload_id = world.upload()
    for _ in range(deaths):
        with pytest.raises(KeyboardInterrupt):
            world.drain(upload_id)
        world.clock.advance(timedelta(seconds=60))
    assert world.drain(upload_id).outcome == Acquisition.QUARANTINED
    assert world.manager.get(upload_id).error_code == "quarantined"
    world.manager.requeue(upload_id)
    assert world.settle(upload_id) == State.COMPLETE


def test_a_call_that_hangs_loses_the_lease(world: World) -> None:
    """Without progress nothing is renewed: another worker goes on."""
    seen: list[str] = []

    def hang() -> None:
        for _ in range(3):
            world.clock.advance(timedelta(seconds=world.settings.lease_seconds / 2))
            seen.append(world.worker("other").run(upload_id).outcome)

    world.store.before("upload_part", hang)
    upload_id = world.upload()
    # It finds the object of its own upload, complete.
    assert world.drain(upload_id).outcome == State.COMPLETE
    assert world.store.calls["complete_upload"] == 1
    assert seen == [Acquisition.HELD, State.COMPLETE, Acquisition.GONE]


def test_an_expired_upload_is_removed_and_told(world: World) -> None:
    """After its producer's silence an upload is aborted at the store and freed."""
    upload_id = world.manager.create("a/b", len(CONTENT)).upload_id
    world.manager.append(upload_id, 0, CONTENT[:PART])
    world.drain(upload_id)
    world.clock.advance(world.settings.incomplete_upload_expiry + AN_HOUR)
    report = world.sweep.run()
    assert report.expired == 1
    for woken in world.waker.take():
        world.drain(woken)
    assert State.EXPIRED is world.state(upload_id)
    assert not world.store.sessions


def test_received_bytes_never_expire(world: World) -> None:
    """All bytes are in: they are ours to store, however long the store is down."""
    upload_id = world.upload()
    world.clock.advance(world.settings.incomplete_upload_expiry * 3)
    assert world.sweep.run().expired == 0
    assert world.settle(upload_id) == State.COMPLETE


def test_a_lost_wake_up_is_sent_again(world: World) -> None:
    """The sweep finds work that nobody took up."""
    world.waker.copies = 0
    upload_id = world.upload()
    assert world.waker.take() == []
    world.waker.copies = 1
    assert world.settle(upload_id) == State.COMPLETE


def test_an_ended_upload_leaves_no_grave(world: World) -> None:
    """A session that a dead worker opened and nobody recorded is removed after the end."""
    world.store.after("initialize_chunk", raises(KeyboardInterrupt()))  # type: ignore[arg-type]
    upload_id = world.upload()
    with pytest.raises(KeyboardInterrupt):
        world.drain(upload_id)
    world.settle(upload_id)
    assert len(world.store.sessions) == 1
    world.clock.advance(timedelta(seconds=61))
    assert world.sweep.run().reaped == 1
    assert world.is_whole()
    assert world.ledger.agenda.graves() == []


def test_losing_the_lease_is_an_outcome_not_an_error(world: World) -> None:
    """The task of a fenced worker ends in peace."""
    world.store.before("upload_part", raises(LeaseLost("taken")))
    assert world.drain(world.upload()).outcome == "lost"


def test_a_wake_up_for_nonsense_does_nothing(world: World) -> None:
    """Whoever can reach the broker can send any text."""
    assert world.drain("../../etc/passwd").outcome == Acquisition.GONE
