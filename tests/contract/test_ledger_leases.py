"""The workers' moves, in Redis and in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.ledgers import DATA, GRID, World, outcome_of

from chunkferry.errors import IntegrityError, LeaseLost, UploadClosed, UploadNotFound
from chunkferry.moves import Acquisition, Deferral, Ending, Recording, Release, Standing
from chunkferry.services import StoredPart
from chunkferry.state import State

UNKNOWN = f"1-{'0' * 32}"
PART = StoredPart(number=1, size=8, crc32c=1, receipt="etag-1")


def acquire(world: World, upload_id: str, nonce: str = "n1") -> Acquisition:
    """Try to take the lease."""
    return world.ledger.leases.acquire(upload_id, nonce, f"worker of {nonce}")


def commit(world: World, upload_id: str, start: int = 0, part: StoredPart = PART) -> Standing:
    """Commit a part as n1, whatever the truth is."""
    boundary = GRID.boundary(start + part.size)
    return world.ledger.leases.commit(
        upload_id, "n1", start, part, crc32c=part.crc32c, boundary=boundary
    )


def defer(world: World, upload_id: str, seconds: float = 5) -> Deferral:
    """Put the next try off as n1."""
    backoff = timedelta(seconds=seconds)
    return world.ledger.leases.defer(upload_id, "n1", backoff, "store_unavailable", "503")


# --- acquire ----------------------------------------------------------------------------------


def test_the_lease_shows_its_holder(world: World) -> None:
    """Who it is, and which lease this is."""
    upload_id = world.begun()
    assert acquire(world, upload_id) == Acquisition.ACQUIRED
    upload = world.get(upload_id)
    assert (upload.holder, upload.epoch, upload.is_processing) == ("worker of n1", 1, True)


def test_only_one_worker_holds_an_upload(world: World) -> None:
    """Another one is sent away while the lease lasts."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.advance(29)
    assert acquire(world, upload_id, "n2") == Acquisition.HELD


def test_a_lease_that_ran_out_is_taken_over(world: World) -> None:
    """By the next worker that comes; the epoch counts on."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.advance(30)
    assert not world.get(upload_id).is_processing
    assert acquire(world, upload_id, "n2") == Acquisition.TAKEN_OVER
    assert world.get(upload_id).epoch == 2


def test_an_upload_without_work_is_not_leased(world: World) -> None:
    """Half a part is nothing to do; a stale wake-up ends here."""
    assert acquire(world, world.begun(7)) == Acquisition.IDLE


def test_an_ended_or_unknown_upload_is_gone(world: World) -> None:
    """A late wake-up ends here, too."""
    assert acquire(world, world.complete()) == Acquisition.GONE
    assert acquire(world, UNKNOWN) == Acquisition.GONE


def test_a_failed_upload_is_not_leased(world: World) -> None:
    """It waits for requeue."""
    assert acquire(world, world.failed()) == Acquisition.FAILED


def test_a_stale_wake_up_skips_no_backoff(world: World) -> None:
    """A deferred upload is left alone until its time has come."""
    upload_id = world.begun()
    world.hold(upload_id)
    defer(world, upload_id, 5)
    assert acquire(world, upload_id, "n2") == Acquisition.EARLY
    world.advance(5)
    assert acquire(world, upload_id, "n2") == Acquisition.ACQUIRED


def test_an_upload_that_kills_its_workers_is_quarantined(world: World) -> None:
    """After as many deaths as are allowed it has failed; requeue forgets them."""
    upload_id = world.begun()
    for life in range(3):
        world.hold(upload_id, f"n{life}")
        world.advance(30)
    assert acquire(world, upload_id, "n4") == Acquisition.QUARANTINED
    upload = world.get(upload_id)
    assert (upload.state, upload.error_code, upload.error) == (
        State.FAILED,
        "quarantined",
        "3 workers died on this upload one after another",
    )
    world.ledger.intake.requeue(upload_id)
    assert acquire(world, upload_id, "n5") == Acquisition.ACQUIRED


def test_a_removal_is_never_quarantined(world: World) -> None:
    """Giving up would leave something at the store for ever."""
    upload_id = world.aborting()
    for life in range(5):
        world.advance(30)
        world.hold(upload_id, f"m{life}")


@pytest.mark.parametrize("let_go", ["commit", "release", "defer"])
def test_a_worker_that_lets_go_did_not_die(world: World, let_go: str) -> None:
    """Nor did one that stored a part: any number of turns is fine."""
    upload_id = world.begun(24, 24)
    for turn in range(2):
        world.hold(upload_id)
        match let_go:
            case "commit":
                world.store(upload_id)
                world.advance(30)
            case "release":
                world.ledger.leases.release(upload_id, "n1")
            case _:
                defer(world, upload_id, 0)
        world.hold(upload_id, f"dead{turn}")
        world.advance(30)
    world.hold(upload_id)


def test_the_last_life_can_be_asked_for_twice(world: World) -> None:
    """A repeated acquire is no second death: it must not quarantine its own holder."""
    upload_id = world.begun()
    for life in range(2):
        world.hold(upload_id, f"n{life}")
        world.advance(30)
    acquisitions = [acquire(world, upload_id, "n3") for _ in range(3)]
    assert acquisitions == [Acquisition.TAKEN_OVER, Acquisition.ACQUIRED, Acquisition.ACQUIRED]
    assert world.get(upload_id).epoch == 3


# --- renew, sessions --------------------------------------------------------------------------


def test_renewing_keeps_the_lease(world: World) -> None:
    """For another term from now on; the answer tells what has come in since."""
    upload_id = world.begun(8, 24)
    world.hold(upload_id)
    world.append(upload_id, 8, DATA[8:12])
    world.advance(29)
    assert world.ledger.leases.renew(upload_id, "n1") == Standing(
        state=State.RECEIVING, received=12, length=24
    )
    world.advance(29)
    assert acquire(world, upload_id, "n2") == Acquisition.HELD


def test_a_late_holder_keeps_what_nobody_took(world: World) -> None:
    """Time alone takes nothing away: only another worker does."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.advance(1000)
    world.ledger.leases.renew(upload_id, "n1")
    assert acquire(world, upload_id, "n2") == Acquisition.HELD


def test_renewing_tells_of_a_removal(world: World) -> None:
    """The holder is the one to clean up."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.ledger.intake.cancel(upload_id)
    assert world.ledger.leases.renew(upload_id, "n1").state == State.ABORTING


def test_an_unknown_length_is_told_as_none(world: World) -> None:
    """Not as a number that means it."""
    upload_id = world.begun(8, None)
    world.hold(upload_id)
    assert world.ledger.leases.renew(upload_id, "n1").length is None


def test_a_session_is_recorded_once(world: World) -> None:
    """Who comes second learns which one counts; replacing it takes knowing it."""
    upload_id = world.begun()
    world.hold(upload_id)
    record = world.ledger.leases.record_session
    outcomes = [
        record(upload_id, "n1", "", "first"),
        record(upload_id, "n1", "", "first"),
        record(upload_id, "n1", "", "second"),
        record(upload_id, "n1", "first", "second"),
    ]
    assert outcomes == [Recording.RECORDED, Recording.RECORDED, "first", Recording.RECORDED]
    assert world.get(upload_id).session == "second"


def test_no_session_is_recorded_for_a_removal(world: World) -> None:
    """The worker removes what only it knows."""
    record = world.ledger.leases.record_session
    assert record(world.aborting(), "n1", "", "s") == Recording.CLOSED


# --- commit -----------------------------------------------------------------------------------


def test_a_commit_counts_and_frees(world: World) -> None:
    """The part is stored, its bytes are gone, the next ones are not."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.store(upload_id)
    assert world.get(upload_id).stored == 8
    assert b"".join(world.ledger.leases.read(upload_id, 8, 24)) == DATA[8:24]
    with pytest.raises(IntegrityError, match="bytes 0 to 8 are missing"):
        list(world.ledger.leases.read(upload_id, 0, 8))


def test_commits_are_remembered_in_order(world: World) -> None:
    """One receipt per part, with what the store answered."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.store(upload_id, count=3)
    receipts = [(part.number, part.size, part.receipt) for part in _stored(world, upload_id)]
    assert receipts == [(1, 8, "etag-1"), (2, 8, "etag-2"), (3, 8, "etag-3")]


def _stored(world: World, upload_id: str) -> list[StoredPart]:
    return world.ledger.leases.stored_parts(upload_id)


def test_a_commit_keeps_the_lease_and_ends_the_trouble(world: World) -> None:
    """It renews, and what went wrong before is forgotten."""
    upload_id = world.begun()
    world.hold(upload_id)
    defer(world, upload_id, 1)
    world.advance(1)
    world.hold(upload_id)
    assert (world.get(upload_id).attempts, world.get(upload_id).error) == (1, "503")
    world.advance(20)
    world.store(upload_id)
    world.advance(20)
    upload = world.get(upload_id)
    assert (upload.attempts, upload.error, upload.is_processing) == (0, "", True)


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (8, StoredPart(number=2, size=8, crc32c=1, receipt="e")),
        (0, StoredPart(number=1, size=16, crc32c=1, receipt="e")),
    ],
    ids=["not where the stored bytes end", "more than was received"],
)
def test_a_commit_out_of_line_is_refused(world: World, start: int, part: StoredPart) -> None:
    """Redis may have come back with less than the worker saw: it must not guess."""
    upload_id = world.begun(12)
    world.hold(upload_id)
    before = world.get(upload_id)
    with pytest.raises(LeaseLost):
        commit(world, upload_id, start, part)
    assert world.get(upload_id) == before


def test_another_receipt_for_a_stored_part_is_refused(world: World) -> None:
    """Only the very same commit may be repeated."""
    upload_id = world.begun()
    world.hold(upload_id)
    commit(world, upload_id)
    with pytest.raises(LeaseLost):
        commit(world, upload_id, 0, StoredPart(number=1, size=8, crc32c=1, receipt="other"))


def test_a_commit_learns_of_a_removal(world: World) -> None:
    """Nothing is counted any more."""
    upload_id = world.aborting()
    assert commit(world, upload_id).state == State.ABORTING
    assert world.get(upload_id).stored == 0


def test_nothing_is_committed_once_completion_has_begun(world: World) -> None:
    """The parts are what they are."""
    upload_id = world.completing()
    with pytest.raises(LeaseLost):
        commit(world, upload_id, 24)


def test_reading_across_entries_cuts_at_both_ends(world: World) -> None:
    """However the producer's pieces lay."""
    upload_id = world.begin()
    for start in range(0, 18, 3):
        world.append(upload_id, start, DATA[start : start + 3])
    assert b"".join(world.ledger.leases.read(upload_id, 2, 17)) == DATA[2:17]
    with pytest.raises(IntegrityError, match="from 18 in the stream"):
        list(world.ledger.leases.read(upload_id, 0, 19))


# --- release, defer, fail ---------------------------------------------------------------------


def test_a_release_finds_work_that_came_meanwhile(world: World) -> None:
    """Looked for in the same breath, so that no wake-up gets lost."""
    upload_id = world.begun(8, 24)
    world.hold(upload_id)
    world.store(upload_id)
    assert not world.append(upload_id, 8, DATA[8:16]).wake
    assert world.ledger.leases.release(upload_id, "n1") == Release.MORE


def test_after_an_idle_release_the_next_part_wakes(world: World) -> None:
    """The upload waits for its producer again."""
    upload_id = world.begun(8, 24)
    world.hold(upload_id)
    world.store(upload_id)
    assert world.ledger.leases.release(upload_id, "n1") == Release.IDLE
    assert world.append(upload_id, 8, DATA[8:16]).wake


def test_the_last_attempt_fails_the_upload(world: World) -> None:
    """The error that all attempts met is the upload's."""
    upload_id = world.begun()
    outcomes = []
    for _ in range(3):
        world.hold(upload_id)
        outcomes.append(defer(world, upload_id, 0))
    assert outcomes == [Deferral.DEFERRED, Deferral.DEFERRED, Deferral.FAILED]
    upload = world.get(upload_id)
    assert (upload.state, upload.error_code, upload.error, upload.attempts) == (
        State.FAILED,
        "store_unavailable",
        "503",
        3,
    )


def test_a_removal_is_tried_for_ever(world: World) -> None:
    """Giving up would leave something at the store for ever."""
    upload_id = world.aborting()
    for _ in range(5):
        assert defer(world, upload_id, 0) == Deferral.DEFERRED
        world.hold(upload_id)


def test_cancelling_skips_the_backoff(world: World) -> None:
    """The removal need not wait for a try that will never come."""
    upload_id = world.begun()
    world.hold(upload_id)
    defer(world, upload_id, 500)
    world.ledger.intake.cancel(upload_id)
    assert acquire(world, upload_id) == Acquisition.ACQUIRED


def test_a_part_of_another_session_does_not_count(world: World) -> None:
    """A Redis that forgot the session would complete an object without that part."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.ledger.leases.record_session(upload_id, "n1", "", "session")
    with pytest.raises(LeaseLost):
        world.store(upload_id)
    assert world.get(upload_id).stored == 0


def test_a_whole_file_may_be_completed_before_it_is_stored(world: World) -> None:
    """One request is to store all of it: the direction is fixed first, and nothing may cancel."""
    upload_id = world.begun()
    world.hold(upload_id)
    with pytest.raises(LeaseLost):
        world.ledger.leases.begin_complete(upload_id, "n1")
    assert world.ledger.leases.begin_complete(upload_id, "n1", whole=True)
    with pytest.raises(UploadClosed):
        world.ledger.intake.cancel(upload_id)


def test_failing_keeps_everything(world: World) -> None:
    """Bytes, receipts and session wait for requeue."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.store(upload_id)
    world.ledger.leases.record_session(upload_id, "n1", "", "session")
    world.ledger.leases.fail(upload_id, "n1", "store_refused", "no such bucket")
    upload = world.get(upload_id)
    assert (upload.state, upload.error_code, upload.error, upload.session, upload.holder) == (
        State.FAILED,
        "store_refused",
        "no such bucket",
        "session",
        "",
    )
    assert b"".join(world.ledger.leases.read(upload_id, 8, 24)) == DATA[8:24]


def test_a_removal_cannot_fail(world: World) -> None:
    """The worker that tries to fail it learns that it is no longer its upload to fail."""
    with pytest.raises(LeaseLost):
        world.ledger.leases.fail(world.aborting(), "n1", "store_refused", "no")


# --- the end ----------------------------------------------------------------------------------


def test_completion_begins_once_all_is_stored(world: World) -> None:
    """Not while bytes are missing."""
    upload_id = world.begun()
    world.hold(upload_id)
    world.store(upload_id, count=2)
    with pytest.raises(LeaseLost):
        world.ledger.leases.begin_complete(upload_id, "n1")
    world.store(upload_id)
    assert world.ledger.leases.begin_complete(upload_id, "n1")
    assert world.get(upload_id).state == State.COMPLETING


def test_a_removal_is_not_completed(world: World) -> None:
    """The direction was fixed the other way."""
    assert not world.ledger.leases.begin_complete(world.aborting(), "n1")


def test_a_complete_upload_is_as_long_as_its_object(world: World) -> None:
    """And belongs to nobody."""
    upload = world.get(world.complete())
    assert (upload.state, upload.received, upload.stored, upload.length, upload.holder) == (
        State.COMPLETE,
        24,
        24,
        24,
        "",
    )


@pytest.mark.parametrize(
    "make", [World.begun, World.completing, World.aborting], ids=["received", "completing", ""]
)
def test_an_object_with_our_id_is_proof(world: World, make: Callable[[World], str]) -> None:
    """Whatever Redis remembers, the upload is complete."""
    upload_id = make(world)
    world.hold(upload_id)
    assert world.finish(upload_id, Ending.ADOPTED, size=40) == State.COMPLETE
    assert (world.get(upload_id).stored, world.get(upload_id).length) == (40, 40)


def test_the_version_of_the_object_is_kept(world: World) -> None:
    """With it, nobody takes the object of a later upload for this one's."""
    upload_id = world.completing()
    assert world.get(upload_id).etag == ""
    world.finish(upload_id, Ending.COMPLETE, size=24)
    assert world.get(upload_id).etag == "e"


@pytest.mark.parametrize(
    ("make", "ending"),
    [
        (World.begun, Ending.COMPLETE),
        (World.begun, Ending.ABORTED),
        (World.aborting, Ending.COMPLETE),
        (World.completing, Ending.ABORTED),
    ],
)
def test_an_upload_ends_only_in_its_direction(
    world: World, make: Callable[[World], str], ending: Ending
) -> None:
    """Complete needs ``begin_complete``; aborted needs a removal."""
    upload_id = make(world)
    world.hold(upload_id)
    before = world.get(upload_id)
    with pytest.raises(LeaseLost):
        world.finish(upload_id, ending)
    assert world.get(upload_id) == before


def test_an_ended_upload_is_forgotten_in_time(world: World) -> None:
    """It answers late questions for ``result_ttl``, then its path is free of it."""
    upload_id = world.complete()
    world.advance(1000)
    assert world.get(upload_id).is_complete
    world.advance(10)
    with pytest.raises(UploadNotFound):
        world.get(upload_id)
    assert world.ledger.records.find("default", "a") is None


def test_forgetting_spares_the_next_upload_to_the_path(world: World) -> None:
    """The path leads to the newer one, which is alive."""
    world.complete()
    second = world.begin()
    for _ in range(15):
        world.advance(90)
        world.append(second, 0, DATA[:1])
    found = world.ledger.records.find("default", "a")
    assert found is not None
    assert found.upload_id == second


# --- fencing and repetition -------------------------------------------------------------------

#: Every move of a holder but acquire, as n1 or whoever is named.
MOVES: dict[str, Callable[[World, str, str], object]] = {
    "renew": lambda world, id_, nonce: world.ledger.leases.renew(id_, nonce),
    "record_session": lambda world, id_, nonce: world.ledger.leases.record_session(
        id_, nonce, "", "session"
    ),
    "commit": lambda world, id_, nonce: world.ledger.leases.commit(
        id_, nonce, 0, PART, crc32c=1, boundary=16
    ),
    "release": lambda world, id_, nonce: world.ledger.leases.release(id_, nonce),
    "defer": lambda world, id_, nonce: world.ledger.leases.defer(
        id_, nonce, timedelta(seconds=5), "store_unavailable", "503"
    ),
    "fail": lambda world, id_, nonce: world.ledger.leases.fail(id_, nonce, "code", "error"),
    "begin_complete": lambda world, id_, nonce: world.ledger.leases.begin_complete(id_, nonce),
    "adopt": lambda world, id_, nonce: world.finish(id_, Ending.ADOPTED, nonce=nonce, size=8),
    "complete": lambda world, id_, nonce: world.finish(id_, Ending.COMPLETE, nonce=nonce, size=8),
    "abort": lambda world, id_, nonce: world.finish(id_, Ending.ABORTED, nonce=nonce),
}


def _ready_for(move: str, world: World) -> str:
    """An upload held by n1 that is ready for the move."""
    if move == "abort":
        return world.aborting()
    if move == "complete":
        return world.completing()
    upload_id = world.begun(8, 8)
    world.hold(upload_id)
    if move == "begin_complete":
        world.store(upload_id)
    return upload_id


@pytest.mark.parametrize("move", MOVES)
def test_a_former_holder_moves_nothing(world: World, move: str) -> None:
    """A zombie is told, and the upload is as its successor left it."""
    upload_id = _ready_for(move, world)
    world.advance(30)
    world.hold(upload_id, "n2")
    before = world.get(upload_id)
    with pytest.raises(LeaseLost):
        MOVES[move](world, upload_id, "n1")
    assert world.get(upload_id) == before


@pytest.mark.parametrize("move", MOVES)
def test_nobody_holds_an_upload_that_is_free(world: World, move: str) -> None:
    """Nor one that does not exist."""
    upload_id = _ready_for(move, world)
    held = world.get(upload_id)
    world.ledger.leases.release(upload_id, "n1")
    with pytest.raises(LeaseLost):
        MOVES[move](world, upload_id, "n1")
    if move not in {"adopt", "complete", "abort"}:
        with pytest.raises(LeaseLost):
            MOVES[move](world, UNKNOWN, "n1")
    assert world.get(upload_id).stored == held.stored


@pytest.mark.parametrize("move", MOVES)
def test_a_repeated_move_changes_nothing(world: World, move: str) -> None:
    """A lost answer makes clients ask again: they hear the same, or that they hold nothing."""
    upload_id = _ready_for(move, world)
    first = MOVES[move](world, upload_id, "n1")
    after = world.get(upload_id)
    again = outcome_of(lambda: MOVES[move](world, upload_id, "n1"))
    assert isinstance(again, LeaseLost) or again == first
    assert world.get(upload_id) == after


@pytest.mark.parametrize("request_", ["set_length", "cancel"])
def test_a_repeated_request_of_a_producer_changes_nothing(world: World, request_: str) -> None:
    """The second answer asks for no wake-up: the sweep sends one if the first was lost."""
    upload_id = world.begun(7, None)
    requests: dict[str, Callable[[], bool]] = {
        "set_length": lambda: world.ledger.intake.set_length(upload_id, 7),
        "cancel": lambda: world.ledger.intake.cancel(upload_id),
    }
    first = requests[request_]()
    after = world.get(upload_id)
    assert (first, requests[request_]()) == (True, False)
    assert world.get(upload_id) == after
