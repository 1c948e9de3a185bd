"""The producers' moves, in Redis and in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.ledgers import BATCH, DATA, GRID, MemoryWorld, World, draft

from chunkferry.errors import (
    Backpressure,
    ContentConflict,
    LengthMismatch,
    NotDurable,
    OffsetMismatch,
    TooManyUploads,
    UploadClosed,
    UploadInProgress,
    UploadNotFound,
)
from chunkferry.moves import Accepted, Created, Ending
from chunkferry.parts import MIB, Grid
from chunkferry.state import State

UNKNOWN = f"1-{'0' * 32}"


# --- create -----------------------------------------------------------------------------------


def test_a_new_upload_shows_what_it_was_begun_with(world: World) -> None:
    """A snapshot holds all that the draft said."""
    upload = world.get(world.begin(24, content_type="text/plain", metadata={"key": "välue"}))
    assert (
        State.RECEIVING,
        24,
        GRID,
        "text/plain",
        {"key": "välue"},
        "default",
        "a",
        100,
        world.clock(),
    ) == (
        upload.state,
        upload.length,
        upload.grid,
        upload.content_type,
        upload.metadata,
        upload.service,
        upload.filepath,
        (upload.expiry - upload.created_at).total_seconds(),
        upload.created_at.timestamp() * 1000,
    )


def test_an_empty_file_is_received_at_once(world: World) -> None:
    """Zero bytes are all there from the beginning: a wake-up is due."""
    created = world.ledger.intake.create(draft(0))
    assert (created.wake, world.get(created.upload_id).state) == (True, State.RECEIVED)


def test_a_path_takes_one_upload_at_a_time(world: World) -> None:
    """A second upload to the path is refused while the first has not ended."""
    first = world.begin()
    with pytest.raises(UploadInProgress) as refused:
        world.begin()
    assert (first, "receiving") == (refused.value.upload_id, refused.value.state)


def test_a_failed_upload_keeps_its_path(world: World) -> None:
    """What can be requeued must not be overtaken."""
    world.failed()
    with pytest.raises(UploadInProgress):
        world.begin()


def test_another_service_has_paths_of_its_own(world: World) -> None:
    """The same path of two services makes two uploads."""
    assert world.begin() != world.begin(service="other")


def test_an_ended_upload_makes_room_for_the_next(world: World) -> None:
    """Its record stays; the path leads to the new one."""
    first = world.complete()
    second = world.begin()
    found = world.ledger.records.find("default", "a")
    assert found is not None
    assert (State.COMPLETE, second) == (world.get(first).state, found.upload_id)


def test_the_same_idempotency_key_is_the_same_upload(world: World) -> None:
    """Beginning twice with one key begins once."""
    first = world.begin(idempotency_key="key")
    again = world.ledger.intake.create(draft(idempotency_key="key"))
    assert Created(upload_id=first, wake=False, existed=True) == again


def test_a_removed_upload_is_begun_anew_with_its_idempotency_key(world: World) -> None:
    """Otherwise the key could never be used again."""
    first = world.begin(idempotency_key="key")
    world.ledger.intake.cancel(first)
    with pytest.raises(UploadInProgress):
        world.ledger.intake.create(draft(idempotency_key="key"))
    world.hold(first)
    world.finish(first, Ending.ABORTED)
    again = world.ledger.intake.create(draft(idempotency_key="key"))
    assert not again.existed
    assert again.upload_id != first


def test_another_idempotency_key_is_another_upload(world: World) -> None:
    """Which the path has no room for."""
    world.begin(idempotency_key="key")
    with pytest.raises(UploadInProgress):
        world.begin(idempotency_key="other")


def test_an_idempotency_key_outlives_the_upload(world: World) -> None:
    """A late repeat finds the ended upload instead of beginning it anew."""
    first = world.begin(idempotency_key="key")
    world.append(first, 0, DATA[:24])
    world.hold(first)
    world.finish(first, Ending.ADOPTED)
    assert world.ledger.intake.create(draft(idempotency_key="key")).existed


def test_only_so_many_uploads_may_be_open(world: World) -> None:
    """One more is refused, with what is the case; an ended one makes room."""
    world.change(max_open_uploads=3)
    world.begun(filepath="b")
    world.failed()
    last = world.begun(filepath="c")
    with pytest.raises(TooManyUploads) as refused:
        world.begin(filepath="d")
    assert (refused.value.open_uploads, refused.value.limit) == (3, 3)
    assert world.ledger.records.find("default", "d") is None
    world.hold(last)
    world.finish(last, Ending.ADOPTED)
    world.begin(filepath="d")


def test_a_repeated_create_is_answered_where_no_other_may_begin(world: World) -> None:
    """It begins nothing; a path that is taken is told as such, too."""
    world.change(max_open_uploads=1)
    first = world.begin(idempotency_key="key")
    again = world.ledger.intake.create(draft(idempotency_key="key"))
    assert Created(upload_id=first, wake=False, existed=True) == again
    with pytest.raises(UploadInProgress):
        world.begin()


def test_any_number_may_be_open_without_a_limit(world: World) -> None:
    """0 is none."""
    world.change(max_open_uploads=0)
    assert len({world.begin(filepath=path) for path in "abc"}) == 3


# --- append -----------------------------------------------------------------------------------


def test_bytes_are_accepted_where_the_received_ones_end(world: World) -> None:
    """The answer is the next offset."""
    upload_id = world.begin()
    assert Accepted(received=3, wake=False) == world.append(upload_id, 0, DATA[:3])
    assert Accepted(received=5, wake=False) == world.append(upload_id, 3, DATA[3:5])


def test_a_whole_part_asks_for_one_wake_up(world: World) -> None:
    """Not before it is whole, and not again while the wake-up is on its way."""
    upload_id = world.begin()
    wakes = [world.append(upload_id, n, DATA[n : n + 4]).wake for n in range(0, 24, 4)]
    assert wakes == [False, True, False, False, False, False]


def test_the_last_byte_makes_it_received(world: World) -> None:
    """All announced bytes are in: the upload waits for nobody any more."""
    upload_id = world.begin(4)
    assert Accepted(received=4, wake=True) == world.append(upload_id, 0, DATA[:4])
    assert world.get(upload_id).state == State.RECEIVED


def test_each_append_puts_the_deadline_off(world: World) -> None:
    """A producer that sends is not silent."""
    upload_id = world.begin()
    world.advance(40)
    world.append(upload_id, 0, DATA[:1])
    assert world.clock() + 100_000 == world.get(upload_id).expiry.timestamp() * 1000


def test_no_append_puts_the_deadline_past_the_end_of_its_time(world: World) -> None:
    """However busy its producer is, an upload lasts as long as it was given, and no longer."""
    lasting = draft(24, lasting=timedelta(seconds=130))
    upload_id = world.ledger.intake.create(lasting).upload_id
    began_at = world.clock()
    world.advance(40)
    world.append(upload_id, 0, DATA[:1])
    assert began_at + 130_000 == world.get(upload_id).expiry.timestamp() * 1000


def test_waiting_does_not_put_the_deadline_past_the_end_of_its_time(world: World) -> None:
    """Also where the producer waits for room."""
    lasting = draft(48, lasting=timedelta(seconds=130))
    upload_id = world.ledger.intake.create(lasting).upload_id
    began_at = world.clock()
    world.append(upload_id, 0, DATA[:24])
    world.advance(60)
    with pytest.raises(Backpressure):
        world.append(upload_id, 24, DATA[24:25])
    assert began_at + 130_000 == world.get(upload_id).expiry.timestamp() * 1000


def test_notes_are_kept_with_the_record(world: World) -> None:
    """Whoever takes uploads in finds what it wrote down."""
    created = world.ledger.intake.create(draft(notes={"principal": "ann"}))
    assert world.get(created.upload_id).notes == {"principal": "ann"}


@pytest.mark.parametrize("start", [2, 4, 20], ids=["overlap", "gap", "far"])
def test_data_elsewhere_is_refused_with_the_right_offset(world: World, start: int) -> None:
    """Neither a gap nor an overlap that goes on further is guessed at."""
    upload_id = world.begun(3)
    before = world.get(upload_id)
    with pytest.raises(OffsetMismatch) as refused:
        world.append(upload_id, start, DATA[start : start + 4])
    assert (3, start) == (refused.value.expected, refused.value.actual)
    assert before == world.get(upload_id)


def test_more_than_announced_is_refused_whole(world: World) -> None:
    """Not even its beginning is accepted."""
    upload_id = world.begun(4, 6)
    with pytest.raises(LengthMismatch, match="with 6 bytes, but this data ends at byte 8"):
        world.append(upload_id, 4, DATA[4:8])
    assert world.get(upload_id).received == 4


def test_an_unknown_upload_takes_nothing(world: World) -> None:
    """Nor does text that never was an id."""
    for upload_id in (UNKNOWN, "nonsense"):
        with pytest.raises(UploadNotFound):
            world.append(upload_id, 0, b"x")


def test_an_empty_append_changes_nothing(world: World) -> None:
    """It tells the offset."""
    upload_id = world.begun(3)
    before = world.get(upload_id)
    assert Accepted(received=3, wake=False) == world.append(upload_id, 3, b"")
    assert before == world.get(upload_id)


def test_an_empty_append_beyond_the_offset_is_a_gap(world: World) -> None:
    """It cannot be right."""
    with pytest.raises(OffsetMismatch):
        world.append(world.begun(3), 4, b"")


@pytest.mark.parametrize("make", [World.failed, World.aborting], ids=["failed", "aborting"])
def test_a_closed_upload_takes_nothing(world: World, make: Callable[[World], str]) -> None:
    """Not even bytes it has had."""
    upload_id = make(world)
    state = world.get(upload_id).state
    with pytest.raises(UploadClosed) as refused:
        world.append(upload_id, 0, DATA[:4])
    assert state == refused.value.state


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (World.begun, LengthMismatch),
        (World.completing, LengthMismatch),
        (World.complete, UploadClosed),
    ],
)
def test_a_whole_upload_takes_no_more(
    world: World, make: Callable[[World], str], error: type[Exception]
) -> None:
    """But it acknowledges once more what it has."""
    upload_id = make(world)
    with pytest.raises(error):
        world.append(upload_id, 24, b"x")
    assert Accepted(received=24, wake=False) == world.append(upload_id, 16, DATA[16:24])


def test_the_newest_append_may_be_repeated(world: World) -> None:
    """The same bytes are acknowledged, wherever they are meanwhile."""
    upload_id = world.begun(8)
    world.hold(upload_id)
    world.store(upload_id)
    assert Accepted(received=8, wake=False) == world.append(upload_id, 0, DATA[:8])
    with pytest.raises(ContentConflict):
        world.append(upload_id, 0, b"12345678")


@pytest.mark.parametrize(("start", "end"), [(0, 12), (0, 4), (3, 9), (4, 16), (7, 8)])
def test_waiting_bytes_are_compared(world: World, start: int, end: int) -> None:
    """However the repeat is cut, a wrong byte in it is found."""
    upload_id = world.begun(16)
    world.append(upload_id, 16, DATA[16:18])
    assert world.append(upload_id, start, DATA[start:end]).received == 18
    with pytest.raises(ContentConflict):
        world.append(upload_id, start, DATA[start : end - 1] + b"\xff")


def test_stored_bytes_are_past_comparing(world: World) -> None:
    """The waiting rest of the same repeat is compared all the same."""
    upload_id = world.begun(12)
    world.append(upload_id, 12, DATA[12:14])
    world.hold(upload_id)
    world.store(upload_id)
    assert world.append(upload_id, 4, b"????" + DATA[8:12]).received == 14
    with pytest.raises(ContentConflict, match="bytes 8 to 12"):
        world.append(upload_id, 4, b"????????")


def test_a_full_window_has_to_wait(world: World) -> None:
    """What workers have not stored yet counts; storing makes room."""
    upload_id = world.begun(24, 48)
    with pytest.raises(Backpressure) as full:
        world.append(upload_id, 24, DATA[24:25])
    assert (full.value.received, world.get(upload_id).received) == (24, 24)
    world.hold(upload_id)
    world.store(upload_id)
    assert world.append(upload_id, 24, DATA[24:32]).received == 32


def test_a_producer_that_has_to_wait_is_active(world: World) -> None:
    """Its deadline moves on, or the upload would expire while it waits."""
    upload_id = world.begun(24, 48)
    world.advance(60)
    with pytest.raises(Backpressure):
        world.append(upload_id, 24, DATA[24:25])
    assert world.clock() + 100_000 == world.get(upload_id).expiry.timestamp() * 1000


def test_the_window_holds_a_part_and_a_batch(world: World) -> None:
    """A larger part than the window fits anyway: it could never be stored otherwise."""
    upload_id = world.begin(128, grid=Grid(64))
    for start in range(0, 64 + BATCH, BATCH):
        data = memoryview(DATA)[start : start + BATCH]
        world.ledger.intake.append(upload_id, start, [data], Grid(64))
    with pytest.raises(Backpressure):
        world.ledger.intake.append(upload_id, 72, [memoryview(DATA)[72:73]], Grid(64))


def test_under_pressure_only_begun_parts_are_filled(world: World) -> None:
    """So that they can be stored and freed; nothing new is begun."""
    begun, fresh = world.begun(3, filepath="begun"), world.begin(filepath="fresh")
    world.press()
    with pytest.raises(Backpressure):
        world.append(fresh, 0, DATA[:1])
    with pytest.raises(Backpressure):
        world.append(begun, 3, DATA[3:9])
    assert Accepted(received=8, wake=True) == world.append(begun, 3, DATA[3:8])
    with pytest.raises(Backpressure):
        world.append(begun, 8, DATA[8:9])


def test_a_memory_limit_is_like_pressure(world: World) -> None:
    """What is begun is filled; nothing that cannot become whole within it is begun."""
    world.change(memory_limit=256 * MIB)
    begun, fresh = world.begun(3, filepath="begun"), world.begin(filepath="fresh")
    world.change(memory_limit=1)
    with pytest.raises(Backpressure):
        world.append(fresh, 0, DATA[:1])
    assert Accepted(received=8, wake=True) == world.append(begun, 3, DATA[3:8])
    with pytest.raises(Backpressure):
        world.append(begun, 8, DATA[8:9])


# --- durability -------------------------------------------------------------------------------

#: Asks for what the shared server, which has no replica, cannot give.
UNSAFE = {"replicas": 1, "durability_wait_seconds": 0.05}


def unsafe(world: World) -> None:
    """Let nothing be durable."""
    world.change(**UNSAFE)
    if isinstance(world, MemoryWorld):
        world.ledger.is_unsafe = True


def test_memory_is_what_is_asked_for_by_default(world: World) -> None:
    """There is nothing to wait for."""
    world.ledger.intake.ensure_durable(world.begun(3), 3)


def test_what_is_not_durable_in_time_is_told_so(world: World) -> None:
    """It stays accepted."""
    upload_id = world.begun(3)
    unsafe(world)
    with pytest.raises(NotDurable) as raised:
        world.ledger.intake.ensure_durable(upload_id, 3)
    assert (upload_id, 3) == (raised.value.upload_id, raised.value.received)
    assert world.get(upload_id).received == 3


def test_bytes_that_are_gone_again_are_not_waited_for(world: World) -> None:
    """A server that took over has fewer: the error says where to go on."""
    upload_id = world.begun(3)
    unsafe(world)
    with pytest.raises(OffsetMismatch) as raised:
        world.ledger.intake.ensure_durable(upload_id, 4)
    assert (raised.value.expected, raised.value.actual) == (3, 4)


def test_a_length_that_is_gone_again_is_not_durable(world: World) -> None:
    """Saying it again mends it."""
    upload_id = world.begun(3, None)
    world.change(**UNSAFE)
    with pytest.raises(NotDurable, match="Redis lost its length again"):
        world.ledger.intake.ensure_durable(upload_id, 0, 4)


def test_an_upload_that_is_gone_again_is_not_waited_for(world: World) -> None:
    """Nothing of it is left to be durable, and nothing new is made by asking."""
    world.change(**UNSAFE)
    with pytest.raises(UploadNotFound):
        world.ledger.intake.ensure_durable(UNKNOWN, 0)


# --- set_length -------------------------------------------------------------------------------


def test_a_length_that_is_reached_makes_it_received(world: World) -> None:
    """All bytes are in; that asks for a wake-up."""
    upload_id = world.begun(3, None)
    assert world.ledger.intake.set_length(upload_id, 3)
    assert (world.get(upload_id).state, world.get(upload_id).length) == (State.RECEIVED, 3)


def test_a_length_ahead_leaves_it_receiving(world: World) -> None:
    """More bytes are to come."""
    upload_id = world.begun(3, None)
    assert not world.ledger.intake.set_length(upload_id, 4)
    assert (world.get(upload_id).state, world.get(upload_id).length) == (State.RECEIVING, 4)


def test_a_length_asks_for_no_second_wake_up(world: World) -> None:
    """One is on its way already."""
    assert not world.ledger.intake.set_length(world.begun(8, None), 8)


def test_the_same_length_may_be_told_again(world: World) -> None:
    """Whatever has become of the upload."""
    assert not world.ledger.intake.set_length(world.complete(), 24)


def test_another_length_is_refused(world: World) -> None:
    """It was announced, and bytes may have been cut by it."""
    with pytest.raises(LengthMismatch, match="announced as 24 bytes, not 25"):
        world.ledger.intake.set_length(world.begin(24), 25)


def test_a_length_below_the_received_bytes_is_refused(world: World) -> None:
    """They were acknowledged."""
    with pytest.raises(LengthMismatch, match="3 bytes are received already"):
        world.ledger.intake.set_length(world.begun(3, None), 2)


def test_a_length_needs_an_upload_that_receives(world: World) -> None:
    """A failed one has to be requeued first; an unknown one has none."""
    with pytest.raises(UploadClosed, match="cannot change its length: its state is failed"):
        world.ledger.intake.set_length(world.failed(8, None), 8)
    with pytest.raises(UploadNotFound):
        world.ledger.intake.set_length(UNKNOWN, 8)


# --- cancel -----------------------------------------------------------------------------------


def test_cancelling_frees_what_was_accepted(world: World) -> None:
    """The upload waits for a worker to clean up at the store."""
    upload_id = world.begun()
    assert world.ledger.intake.cancel(upload_id)
    assert world.get(upload_id).state == State.ABORTING
    world.hold(upload_id)
    assert world.finish(upload_id, Ending.ABORTED) == State.CANCELLED


def test_cancelling_twice_is_asking_once(world: World) -> None:
    """Before its end and after it."""
    upload_id = world.aborting()
    assert not world.ledger.intake.cancel(upload_id)
    world.finish(upload_id, Ending.ABORTED)
    assert not world.ledger.intake.cancel(upload_id)


def test_a_failed_upload_can_be_cancelled(world: World) -> None:
    """Somebody decided that it is not worth mending."""
    assert world.ledger.intake.cancel(world.failed())


@pytest.mark.parametrize("make", [World.completing, World.complete])
def test_what_is_completed_cannot_be_cancelled(world: World, make: Callable[[World], str]) -> None:
    """The direction was fixed before the store was asked."""
    upload_id = make(world)
    with pytest.raises(UploadClosed, match="cannot be cancelled"):
        world.ledger.intake.cancel(upload_id)


def test_what_expires_cannot_be_cancelled(world: World) -> None:
    """It is being removed for another reason, and will say so."""
    upload_id = world.begin()
    world.advance(100)
    world.ledger.agenda.rouse(upload_id)
    with pytest.raises(UploadClosed, match="its state is aborting"):
        world.ledger.intake.cancel(upload_id)


def test_an_unknown_upload_cannot_be_moved(world: World) -> None:
    """Neither cancelled nor requeued."""
    with pytest.raises(UploadNotFound):
        world.ledger.intake.cancel(UNKNOWN)
    with pytest.raises(UploadNotFound):
        world.ledger.intake.requeue(UNKNOWN)


# --- requeue ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "length", "state"), [(24, 24, State.RECEIVED), (8, 24, State.RECEIVING)]
)
def test_requeue_goes_on_from_where_it_stopped(
    world: World, received: int, length: int, state: State
) -> None:
    """With a clean slate, and a wake-up where work waits."""
    upload_id = world.failed(received, length)
    assert world.ledger.intake.requeue(upload_id)
    upload = world.get(upload_id)
    assert (state, received, "", "") == (
        upload.state,
        upload.received,
        upload.error,
        upload.error_code,
    )


def test_a_requeued_upload_without_work_wakes_nobody(world: World) -> None:
    """It waits for its producer again, from now on."""
    upload_id = world.begun(8, 24)
    world.hold(upload_id)
    world.store(upload_id)
    world.ledger.leases.fail(upload_id, "n1", "store_refused", "no such bucket")
    world.advance(500)
    assert not world.ledger.intake.requeue(upload_id)
    assert world.ledger.agenda.due() == []


def test_only_a_failed_upload_can_be_requeued(world: World) -> None:
    """Others are under way or have ended."""
    with pytest.raises(UploadClosed, match="cannot be requeued: its state is received"):
        world.ledger.intake.requeue(world.begun())
