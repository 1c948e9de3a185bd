"""The moves of the sweep and the questions of anybody, in Redis and in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.ledgers import DATA, RedisWorld, World

from chunkferry import keys
from chunkferry.errors import UploadNotFound
from chunkferry.moves import Acquisition, Ending, Rousing
from chunkferry.state import State

UNKNOWN = f"1-{'0' * 32}"


def rouse(world: World, upload_id: str) -> Rousing:
    """Look at an upload, as the sweep does."""
    return world.ledger.agenda.rouse(upload_id)


def sweep(world: World) -> dict[str, Rousing]:
    """Look at all that is due."""
    return {upload_id: rouse(world, upload_id) for upload_id in world.ledger.agenda.due()}


# --- what is due ------------------------------------------------------------------------------


def test_nothing_is_due_before_its_time(world: World) -> None:
    """An upload that was just begun waits for its producer."""
    upload_id = world.begin()
    world.advance(99.9)
    assert world.ledger.agenda.due() == []
    world.advance(0.1)
    assert world.ledger.agenda.due() == [upload_id]


def test_the_agenda_has_a_limit_per_shard(world: World) -> None:
    """A long agenda is worked off bit by bit."""
    for number in range(20):
        world.begin(filepath=f"file{number}")
    world.advance(100)
    assert len(world.ledger.agenda.due(limit=1)) == 4
    assert len(world.ledger.agenda.due()) == 20


def test_an_upload_that_ended_is_not_due(world: World) -> None:
    """Nobody looks at it any more."""
    world.complete()
    world.advance(200)
    assert world.ledger.agenda.due() == []


def test_too_early_is_left_alone(world: World) -> None:
    """Two sweeps at once do no harm."""
    upload_id = world.begun(3)
    assert rouse(world, upload_id) == Rousing.EARLY


def test_the_ended_and_the_unknown_are_gone(world: World) -> None:
    """There is nothing to look at."""
    assert rouse(world, world.complete()) == Rousing.GONE
    assert rouse(world, UNKNOWN) == Rousing.GONE


def test_a_held_upload_is_looked_at_after_its_lease(world: World) -> None:
    """Plus some slack."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.advance(29)
    assert rouse(world, upload_id) == Rousing.HELD
    world.advance(2)
    assert world.ledger.agenda.due() == []
    world.advance(1)
    assert sweep(world) == {upload_id: Rousing.WAKE}


def test_a_lost_wake_up_is_sent_again_with_growing_pauses(world: World) -> None:
    """15 s, 30 s, …: at most five minutes; a worker's release begins anew."""
    upload_id = world.begun()
    pauses = []
    for _ in range(7):
        pause = 0
        while not world.ledger.agenda.due():
            world.advance(1)
            pause += 1
        pauses.append(pause)
        assert sweep(world) == {upload_id: Rousing.WAKE}
    assert pauses == [15, 15, 30, 60, 120, 240, 300]
    world.hold(upload_id)
    world.ledger.leases.release(upload_id, "n1")
    world.advance(15)
    assert sweep(world) == {upload_id: Rousing.WAKE}


def test_a_deferred_upload_is_woken_after_its_backoff(world: World) -> None:
    """Not before."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.ledger.leases.defer(upload_id, "n1", timedelta(seconds=40), "code", "error")
    world.advance(39)
    assert rouse(world, upload_id) == Rousing.EARLY
    world.advance(1)
    assert sweep(world) == {upload_id: Rousing.WAKE}
    assert world.ledger.leases.acquire(upload_id, "n2", "w") == Acquisition.ACQUIRED


# --- expiry -----------------------------------------------------------------------------------


def test_a_silent_producer_expires_its_upload(world: World) -> None:
    """What was accepted of it is let go; a worker cleans up at the store."""
    upload_id = world.begun(3)
    world.advance(100)
    assert sweep(world) == {upload_id: Rousing.EXPIRED}
    assert world.get(upload_id).state == State.ABORTING
    world.hold(upload_id)
    assert world.finish(upload_id, Ending.ABORTED) == State.EXPIRED


def test_an_active_producer_expires_nothing(world: World) -> None:
    """Fault of the original: inverted expiry test."""
    upload_id = world.begin()
    for second in range(3):
        world.advance(99)
        world.append(upload_id, second, DATA[second : second + 1])
    assert rouse(world, upload_id) == Rousing.EARLY
    world.advance(99)
    assert world.ledger.agenda.due() == []


def test_a_deadline_that_moved_is_noticed(world: World) -> None:
    """A producer that waited for room kept its upload alive: look again later."""
    upload_id = world.begun(8, 48)
    world.hold(upload_id)
    world.store(upload_id)
    world.ledger.leases.release(upload_id, "n1")
    world.advance(60)
    world.press()
    with pytest.raises(Exception, match="window full"):
        world.append(upload_id, 8, DATA[8:9])
    world.advance(40)
    assert sweep(world) == {upload_id: Rousing.IDLE}
    world.advance(60)
    assert sweep(world) == {upload_id: Rousing.EXPIRED}


def test_silence_is_forgiven_after_an_outage(world: World) -> None:
    """Nobody swept for 90 s, and a producer could not be heard: it gets as long again."""
    agenda = world.ledger.agenda
    agenda.attend()
    upload_id = world.begun(3)
    world.advance(50)
    agenda.attend()
    world.advance(90)
    forgiven_ms = agenda.attend()
    assert forgiven_ms == 90_000
    assert agenda.rouse(upload_id, forgiven_ms) == Rousing.IDLE
    world.advance(50)
    assert agenda.due() == []
    assert agenda.attend() == 40_000
    world.advance(40)
    assert agenda.due() == [upload_id]
    assert agenda.rouse(upload_id, agenda.attend()) == Rousing.EXPIRED


@pytest.mark.parametrize("skew", [-3_600_000, 3_600_000])
def test_forgiveness_is_by_no_other_servers_clock(cluster_world: RedisWorld, skew: int) -> None:
    """The clock that sweeps go by is an hour late, or early, beside that of the upload's server."""
    agenda, client = cluster_world.ledger.agenda, cluster_world.client
    upload_id = cluster_world.begun(3)
    cluster_world.advance(101)
    now = cluster_world.clock()
    client.set(f"{{{keys.SWEPT}}}:clock", now + skew)
    client.hset(keys.SWEPT, "at", now + skew - 90_000)
    assert agenda.rouse(upload_id, agenda.attend()) == Rousing.IDLE
    assert client.zscore(keys.due(keys.shard_of(upload_id)), upload_id) == now + 90_000


def test_a_jump_of_the_clock_is_forgiven_up_to_an_expiry(world: World) -> None:
    """However far it jumps; back again, too, nothing is forgiven for ever."""
    agenda = world.ledger.agenda
    agenda.attend()
    upload_id = world.failed()
    world.advance(1_000_000)
    forgiven_ms = agenda.attend()
    assert forgiven_ms == 100_000
    assert agenda.rouse(upload_id, forgiven_ms) == Rousing.FAILED
    world.advance(-1_000_000)
    assert agenda.attend() == 100_000


def test_regular_sweeps_forgive_nothing(world: World) -> None:
    """Up to a minute without one is regular."""
    for _ in range(3):
        world.advance(59)
        assert world.ledger.agenda.attend() == 0


@pytest.mark.parametrize(("received", "length"), [(8, 24), (24, 24), (0, 0)])
def test_accepted_work_never_expires(world: World, received: int, length: int) -> None:
    """It is ours to store, however long no worker comes."""
    upload_id = world.begun(received, length)
    world.advance(100_000)
    assert rouse(world, upload_id) == Rousing.WAKE


def test_a_held_upload_never_expires(world: World) -> None:
    """Even where the client has been silent for too long."""
    upload_id = world.begun(12, 24)
    world.hold(upload_id)
    world.store(upload_id)
    for _ in range(10):
        world.advance(29)
        assert rouse(world, upload_id) == Rousing.HELD
        world.ledger.leases.renew(upload_id, "n1")


def test_a_dead_holder_without_work_left_is_forgotten(world: World) -> None:
    """It died between storing the last whole part and letting go."""
    upload_id = world.begun(12, 24)
    world.hold(upload_id)
    world.store(upload_id)
    world.advance(32)
    assert sweep(world) == {upload_id: Rousing.IDLE}
    assert world.append(upload_id, 12, DATA[12:16]).wake


def test_a_failed_upload_waits_for_requeue(world: World) -> None:
    """Longer than others, but not for ever."""
    upload_id = world.failed()
    world.advance(599)
    assert world.ledger.agenda.due() == []
    world.advance(1)
    assert sweep(world) == {upload_id: Rousing.EXPIRED}


@pytest.mark.parametrize("make", [World.completing, World.aborting])
def test_an_upload_near_its_end_is_woken_for_ever(
    world: World, make: Callable[[World], str]
) -> None:
    """It neither expires nor is forgotten."""
    upload_id = make(world)
    for _ in range(12):
        world.advance(1000)
        assert sweep(world) == {upload_id: Rousing.WAKE}


# --- graves -----------------------------------------------------------------------------------


def test_the_store_is_looked_after_once_more(world: World) -> None:
    """When late requests of a dead holder have landed; then the grave is forgotten."""
    upload_id = world.complete()
    world.advance(59)
    assert world.ledger.agenda.graves() == []
    world.advance(1)
    assert world.ledger.agenda.graves() == [upload_id]
    world.ledger.agenda.forget_grave(upload_id)
    assert world.ledger.agenda.graves() == []


# --- records ----------------------------------------------------------------------------------


def test_questions_about_unknown_uploads_are_refused(world: World) -> None:
    """All in the same way."""
    with pytest.raises(UploadNotFound):
        world.get(UNKNOWN)
    with pytest.raises(UploadNotFound):
        world.get("../../etc/passwd")
    with pytest.raises(UploadNotFound):
        world.ledger.records.grid(UNKNOWN)


def test_the_listing_has_the_living_and_the_newly_dead(world: World) -> None:
    """Each once."""
    living = [world.begin(filepath=f"file{number}") for number in range(5)]
    ended = world.complete()
    listed = [upload.upload_id for upload in world.ledger.records.list_uploads()]
    assert sorted(listed) == sorted([*living, ended])


def test_the_grid_is_the_one_it_was_begun_with(world: World) -> None:
    """It never changes."""
    upload_id = world.begun()
    assert world.ledger.records.grid(upload_id) == world.get(upload_id).grid


def test_every_change_of_state_is_told(world: World) -> None:
    """From the beginning to the end, and each stored part."""
    upload_id = world.complete()
    told = [
        (event.state, event.received, event.stored, event.length)
        for event in world.ledger.records.events(upload_id, "0")
    ]
    assert told == [
        ("receiving", 0, 0, 24),
        ("received", 24, 0, 24),
        ("received", 24, 8, 24),
        ("received", 24, 16, 24),
        ("received", 24, 24, 24),
        ("complete", 24, 24, 24),
    ]


def test_a_failure_is_told_with_its_error(world: World) -> None:
    """And the requeue that follows without."""
    upload_id = world.failed()
    world.ledger.intake.requeue(upload_id)
    told = [
        (event.state, event.error_code, event.error)
        for event in world.ledger.records.events(upload_id, "0")[2:]
    ]
    assert told == [("failed", "store_refused", "no such bucket"), ("received", "", "")]


def test_progress_of_receiving_is_told_now_and_then(world: World) -> None:
    """Not for each of many small appends."""
    upload_id = world.begin()
    for offset in range(10):
        world.append(upload_id, offset, DATA[offset : offset + 1])
        world.advance(0.05)
    told = [event.received for event in world.ledger.records.events(upload_id, "0")]
    assert told == [0, 1, 5, 9]


def test_events_are_read_from_where_one_stopped(world: World) -> None:
    """Nothing twice, nothing left out."""
    upload_id = world.begun()
    first, second = world.ledger.records.events(upload_id, "0")
    assert world.ledger.records.last_event_id(upload_id) == second.event_id
    assert world.ledger.records.events(upload_id, first.event_id) == [second]
    assert world.ledger.records.events(upload_id, second.event_id) == []


def test_an_unknown_upload_has_no_events(world: World) -> None:
    """Asking is not an error: it may have been forgotten while one watched."""
    assert world.ledger.records.events(UNKNOWN, "0") == []
    assert world.ledger.records.last_event_id(UNKNOWN) == "0"


def test_waiting_for_news_ends_with_the_news(world: World) -> None:
    """Long before the time is up."""
    upload_id = world.begin()
    last = world.ledger.records.last_event_id(upload_id)
    news: list[int] = []

    def wait() -> None:
        for event in world.ledger.records.events(upload_id, last, block_ms=8000):
            news.append(event.received)

    waiting = threading.Thread(target=wait)
    waiting.start()
    world.append(upload_id, 0, DATA[:5])
    waiting.join(timeout=5)
    assert news == [5]


def test_waiting_for_news_ends_with_the_time(world: World) -> None:
    """With nothing."""
    upload_id = world.begin()
    last = world.ledger.records.last_event_id(upload_id)
    assert world.ledger.records.events(upload_id, last, block_ms=20) == []
