"""The backlog, as the ledger in Redis and its twin in memory add it up."""

from __future__ import annotations

from datetime import timedelta

from tests.ledgers import World

from chunkferry.backlog import Backlog
from chunkferry.moves import Rousing
from chunkferry.state import State


def backlog(world: World) -> Backlog:
    """As it is now."""
    return world.ledger.health.backlog()


def test_nothing_adds_up_to_nothing(world: World) -> None:
    """Ended uploads are no backlog; each state of the living is named all the same."""
    world.complete()
    assert backlog(world) == Backlog(
        uploads={
            State.RECEIVING: 0,
            State.RECEIVED: 0,
            State.COMPLETING: 0,
            State.FAILED: 0,
            State.ABORTING: 0,
        },
        received=0,
        stored=0,
        buffered=0,
        oldest_due=0.0,
        waiting=0,
        unanswered=0,
        longest_wait=0.0,
        leases=0,
        failed={},
        failed_bytes=0,
    )


def test_uploads_and_their_bytes_are_counted(world: World) -> None:
    """By state; of what was received, the stored and the rest."""
    world.begin(filepath="begun")
    working = world.begun(20, 24, filepath="working")
    world.hold(working)
    world.store(working)
    world.completing("completing")
    found = backlog(world)
    assert found.uploads == {
        State.RECEIVING: 2,
        State.RECEIVED: 0,
        State.COMPLETING: 1,
        State.FAILED: 0,
        State.ABORTING: 0,
    }
    assert (found.received, found.stored, found.buffered) == (44, 32, 12)
    assert found.leases == 2


def test_failed_uploads_are_counted_by_their_error(world: World) -> None:
    """With what they keep in Redis."""
    world.failed(received=20)
    found = backlog(world)
    assert (found.failed, found.failed_bytes, found.buffered) == ({"store_refused": 1}, 20, 20)
    assert (found.waiting, found.oldest_due) == (0, 0.0)


def test_what_is_being_removed_keeps_no_bytes(world: World) -> None:
    """They were let go when the removal was asked for."""
    world.aborting()
    assert (backlog(world).received, backlog(world).buffered) == (24, 0)


def test_the_oldest_due_is_what_nobody_looked_at(world: World) -> None:
    """No sweep runs: how long the first upload should have been looked at."""
    world.begun()
    world.advance(14)
    world.begun(filepath="b")
    assert backlog(world).oldest_due == 0.0
    world.advance(11)
    assert backlog(world).oldest_due == 10.0


def test_a_wake_up_is_unanswered_after_a_while(world: World) -> None:
    """Waiting begins at once; it is unanswered when the sweep would send another one."""
    world.begun()
    world.advance(14.9)
    found = backlog(world)
    assert (found.waiting, found.unanswered, found.longest_wait) == (1, 0, 14.9)
    world.advance(0.1)
    found = backlog(world)
    assert (found.waiting, found.unanswered, found.longest_wait) == (1, 1, 15.0)


def test_a_sweep_does_not_hide_that_nobody_answers(world: World) -> None:
    """It keeps what is due young, while the wait goes on."""
    upload_id = world.begun()
    for _ in range(10):
        world.advance(400)
        assert world.ledger.agenda.rouse(upload_id) == Rousing.WAKE
    found = backlog(world)
    assert (found.oldest_due, found.unanswered, found.longest_wait) == (0.0, 1, 4000.0)


def test_an_upload_that_waits_for_its_producer_does_not_wait_for_a_worker(world: World) -> None:
    """Nor does one that is held, or has just been released without work left."""
    world.begun(3)
    held = world.begun(12, 24, filepath="held")
    world.hold(held)
    world.advance(20)
    assert (backlog(world).waiting, backlog(world).leases) == (0, 1)
    world.store(held)
    world.ledger.leases.release(held, "n1")
    world.advance(20)
    assert (backlog(world).waiting, backlog(world).leases) == (0, 0)


def test_a_dead_holder_is_missed_from_the_end_of_its_lease(world: World) -> None:
    """Until then it might be at work."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.advance(29.9)
    assert (backlog(world).waiting, backlog(world).leases) == (0, 1)
    world.advance(20.1)
    assert (backlog(world).leases, backlog(world).longest_wait) == (0, 20.0)


def test_each_turn_begins_a_new_wait(world: World) -> None:
    """Released with work left: from then on. Put off: from the end of the pause."""
    upload_id = world.begun()
    world.advance(100)
    world.hold(upload_id)
    world.advance(5)
    world.ledger.leases.release(upload_id, "n1")
    world.advance(7)
    assert backlog(world).longest_wait == 7.0
    world.hold(upload_id, "n2")
    world.ledger.leases.defer(upload_id, "n2", timedelta(seconds=50), "code", "error")
    world.advance(50)
    assert (backlog(world).waiting, backlog(world).longest_wait) == (0, 0.0)
    world.advance(9)
    assert (backlog(world).waiting, backlog(world).longest_wait) == (1, 9.0)


def test_every_request_begins_a_wait(world: World) -> None:
    """Creating an empty file, telling the length, cancelling, requeueing."""
    world.begin(0, "empty")
    told = world.begun(4, None, filepath="told")
    cancelled = world.begun(4, filepath="cancelled")
    world.advance(50)
    world.ledger.intake.set_length(told, 4)
    world.ledger.intake.cancel(cancelled)
    assert (backlog(world).waiting, backlog(world).longest_wait) == (1, 50.0)
    world.advance(3)
    assert (backlog(world).waiting, backlog(world).unanswered) == (3, 1)


def test_a_requeued_upload_begins_a_wait(world: World) -> None:
    """Its earlier ones are history."""
    upload_id = world.failed()
    world.advance(500)
    world.ledger.intake.requeue(upload_id)
    world.advance(2)
    assert (backlog(world).failed, backlog(world).longest_wait) == ({}, 2.0)


def test_a_put_off_upload_begins_its_wake_ups_anew(world: World) -> None:
    """Pauses grow where nobody answers; a store that was down for long makes none longer."""
    upload_id = world.begun(24, 24)
    for number in range(2):
        world.hold(upload_id, f"n{number}")
        world.ledger.leases.defer(upload_id, f"n{number}", timedelta(seconds=40), "code", "why")
        world.advance(40)
        assert world.ledger.agenda.rouse(upload_id) == Rousing.WAKE
    world.advance(15)
    assert world.ledger.agenda.due() == [upload_id]
