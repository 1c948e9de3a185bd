"""Who is told of which change, and what could not be told, in Redis and in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.ledgers import DATA, RedisWorld, World

from chunkferry import keys
from chunkferry.errors import UploadNotFound
from chunkferry.moves import Ending, Letter, Told, Turn
from chunkferry.state import State

TURN = timedelta(seconds=30)
UNKNOWN = f"1-{'0' * 32}"
#: Kept of an ended upload of which nobody was told yet: three days and ``result_ttl``.
UNTOLD = 3 * 86400 + 1005


@pytest.fixture
def told_world(world: World) -> World:
    """A world where somebody is to be told."""
    world.change(on_complete="package:function")
    return world


def begin(world: World, upload_id: str, nonce: str = "t1") -> Turn:
    """Take the turn."""
    turn = world.ledger.telling.begin(upload_id, nonce, TURN)
    assert turn is not None
    return turn


def states(world: World, upload_id: str) -> list[tuple[int, State]]:
    """The history without its moments."""
    return [(change.index, change.state) for change in world.get(upload_id).history]


# --- the history ------------------------------------------------------------------------------


def test_every_change_of_state_is_noted(world: World) -> None:
    """With a number and its moment, by the move that makes it."""
    upload_id = world.begin()
    began = datetime.fromtimestamp(world.clock() / 1000, UTC)
    world.advance(5)
    world.append(upload_id, 0, DATA[:24])
    world.hold(upload_id)
    world.ledger.leases.fail(upload_id, "n1", "code", "error")
    world.ledger.intake.requeue(upload_id)
    world.hold(upload_id)
    world.store(upload_id, count=3)
    assert world.ledger.leases.begin_complete(upload_id, "n1")
    assert world.ledger.leases.begin_complete(upload_id, "n1")
    world.finish(upload_id, Ending.COMPLETE, size=24)
    expected = ["receiving", "received", "failed", "received", "completing", "complete"]
    assert states(world, upload_id) == [
        (number, State(state)) for number, state in enumerate(expected, 1)
    ]
    times = [change.time for change in world.get(upload_id).history]
    assert times[:2] == [began, began + timedelta(seconds=5)]


def test_an_empty_upload_begins_like_any_other(world: World) -> None:
    """It is created, and then it is received."""
    assert states(world, world.begin(0)) == [(1, State.RECEIVING), (2, State.RECEIVED)]


def test_the_length_may_be_what_was_missing(world: World) -> None:
    """Said last, it makes the upload received."""
    upload_id = world.begun(8, None)
    world.ledger.intake.set_length(upload_id, 8)
    assert states(world, upload_id)[-1] == (2, State.RECEIVED)


def test_a_removal_is_noted(world: World) -> None:
    """Both its beginning and its end."""
    upload_id = world.aborting()
    world.finish(upload_id, Ending.ABORTED)
    assert [state for _, state in states(world, upload_id)][2:] == ["aborting", "cancelled"]


def test_a_long_history_keeps_its_numbers(world: World) -> None:
    """The first change and the newest 63; the middle goes."""
    upload_id = world.failed()
    for _ in range(40):
        world.ledger.intake.requeue(upload_id)
        world.hold(upload_id)
        world.ledger.leases.fail(upload_id, "n1", "code", "error")
    numbers = [number for number, _ in states(world, upload_id)]
    assert numbers == [1, *range(21, 84)]


def test_the_object_s_etag_is_remembered(world: World) -> None:
    """As the store told it."""
    assert world.get(world.complete()).etag == "e"


# --- turns ------------------------------------------------------------------------------------


def test_nothing_is_to_be_told_where_nobody_listens(world: World) -> None:
    """Uploads are as they ever were."""
    world.complete()
    assert world.ledger.telling.due() == []


def test_each_change_is_due_at_once(told_world: World) -> None:
    """As soon as an upload has begun, and again with each change."""
    telling = told_world.ledger.telling
    upload_id = told_world.begin()
    assert telling.due() == [upload_id]
    assert telling.end(begin(told_world, upload_id), "told", None) is Told.LATER
    assert telling.due() == []
    told_world.append(upload_id, 0, DATA[:8])
    assert telling.due() == []
    told_world.append(upload_id, 8, DATA[8:24])
    assert telling.due() == [upload_id]
    assert begin(told_world, upload_id).told == "told"


def test_one_teller_at_a_time(told_world: World) -> None:
    """Until its time is over; then its notes are refused."""
    telling = told_world.ledger.telling
    upload_id = told_world.begin()
    turn = begin(told_world, upload_id)
    assert telling.begin(upload_id, "t2", TURN) is None
    assert telling.due() == []
    told_world.advance(29)
    assert telling.note(turn, "first", TURN)
    told_world.advance(29)
    assert telling.begin(upload_id, "t2", TURN) is None
    told_world.advance(1)
    assert telling.due() == [upload_id]
    assert begin(told_world, upload_id, "t2").told == "first"
    assert not telling.note(turn, "second", TURN)
    assert telling.end(turn, "second", None) is Told.FENCED
    assert telling.end(begin(told_world, upload_id, "t2"), "first", None) is Told.LATER


def test_a_change_in_the_middle_of_a_turn_is_not_overlooked(told_world: World) -> None:
    """The turn ends, and the upload is due at once."""
    upload_id = told_world.begin()
    turn = begin(told_world, upload_id)
    told_world.append(upload_id, 0, DATA[:24])
    assert told_world.ledger.telling.end(turn, "", None) is Told.MORE
    assert told_world.ledger.telling.due() == [upload_id]


def test_a_failure_is_tried_again_after_its_pause(told_world: World) -> None:
    """Not before."""
    telling = told_world.ledger.telling
    upload_id = told_world.begin()
    turn = begin(told_world, upload_id)
    assert telling.end(turn, "", timedelta(seconds=40)) is Told.LATER
    told_world.advance(39.9)
    assert telling.due() == []
    told_world.advance(0.1)
    assert telling.due() == [upload_id]


def test_without_news_the_looks_grow_rare(told_world: World) -> None:
    """Each as far off as the last change: a minute at least, half of ``result_ttl`` at most."""
    telling = told_world.ledger.telling
    upload_id = told_world.begin(expiry=timedelta(days=1))
    pauses = []
    for _ in range(8):
        assert telling.end(begin(told_world, upload_id), "", None) is Told.LATER
        pause = 0
        while not telling.due():
            told_world.advance(60)
            pause += 1
        pauses.append(pause)
    assert pauses == [1, 1, 2, 4, 8, 9, 9, 9]


def test_an_upload_that_is_gone_is_not_looked_for(told_world: World) -> None:
    """It leaves the set."""
    telling = told_world.ledger.telling
    upload_id = told_world.complete()
    told_world.advance(UNTOLD + 1)
    assert telling.due() == [upload_id]
    assert telling.begin(upload_id, "t1", TURN) is None
    assert telling.due() == []
    assert telling.begin(UNKNOWN, "t1", TURN) is None


# --- how long a record stays ------------------------------------------------------------------


def test_a_record_stays_while_somebody_is_to_be_told(told_world: World) -> None:
    """As long as anybody would try, and not for ever."""
    upload_id = told_world.complete()
    told_world.advance(UNTOLD - 1)
    assert told_world.get(upload_id).state is State.COMPLETE
    assert told_world.ledger.records.find("default", "a") is not None
    assert [u.upload_id for u in told_world.ledger.records.list_uploads()] == [upload_id]
    told_world.advance(1)
    with pytest.raises(UploadNotFound):
        told_world.get(upload_id)


def test_a_told_record_has_its_usual_time(told_world: World) -> None:
    """What is left of ``result_ttl``."""
    upload_id = told_world.complete()
    told_world.advance(1000)
    assert told_world.ledger.telling.end(begin(told_world, upload_id), "", None) is Told.OVER
    assert told_world.ledger.telling.due() == []
    told_world.advance(64)
    assert told_world.get(upload_id).state is State.COMPLETE
    told_world.advance(1)
    with pytest.raises(UploadNotFound):
        told_world.get(upload_id)
    assert told_world.ledger.records.find("default", "a") is None
    assert list(told_world.ledger.records.list_uploads()) == []


def test_no_key_outlasts_a_told_record(redis_world: RedisWorld) -> None:
    """Nor does the set it is in."""
    redis_world.change(on_complete="package:function")
    upload_id = redis_world.complete()
    turn = begin(redis_world, upload_id)
    assert redis_world.ledger.telling.end(turn, "", None) is Told.OVER
    left = redis_world.expiring()
    assert keys.ended(keys.shard_of(upload_id)) in left
    assert max(left.values()) <= 3_600_000


def test_an_upload_from_before_is_told_of_when_it_ends(world: World) -> None:
    """It began where nobody listened."""
    upload_id = world.completing()
    world.change(on_complete="package:function")
    world.finish(upload_id, Ending.COMPLETE, size=24)
    assert world.ledger.telling.due() == [upload_id]
    world.advance(UNTOLD - 1)
    assert world.get(upload_id).state is State.COMPLETE


# --- beside the last release ------------------------------------------------------------------


def test_changes_of_the_last_release_get_their_numbers(redis_world: RedisWorld) -> None:
    """Before anybody is told of them; they keep them."""
    redis_world.change(on_complete="package:function")
    upload_id = redis_world.begun()
    redis_world.hold(upload_id)
    redis_world.store(upload_id, count=3)
    redis_world.client.hset(keys.intake(upload_id), "state", "completing")
    turn = begin(redis_world, upload_id)
    assert turn.upload.history[-1].state is State.COMPLETING
    redis_world.finish(upload_id, Ending.COMPLETE, size=24)
    assert states(redis_world, upload_id)[2:] == [(3, State.COMPLETING), (4, State.COMPLETE)]


def test_a_change_that_nobody_noted_is_noted_with_the_next(redis_world: RedisWorld) -> None:
    """Two changes, two numbers."""
    upload_id = redis_world.completing()
    redis_world.client.hset(keys.intake(upload_id), "state", "failed")
    redis_world.ledger.intake.requeue(upload_id)
    assert states(redis_world, upload_id)[3:] == [(4, State.FAILED), (5, State.RECEIVED)]


def test_an_upload_of_the_last_release_has_no_history(redis_world: RedisWorld) -> None:
    """And gets one as soon as there is something to note."""
    upload_id = redis_world.completing()
    redis_world.client.hdel(keys.intake(upload_id), "history")
    assert redis_world.get(upload_id).history == ()
    redis_world.finish(upload_id, Ending.COMPLETE, size=24)
    assert states(redis_world, upload_id) == [(1, State.COMPLETE)]


# --- dead letters -----------------------------------------------------------------------------


def letter(world: World, number: int = 1) -> Letter:
    """About an upload that has failed."""
    upload = world.get(world.failed())
    return Letter(
        event_id=f"{upload.upload_id}.{number}",
        kind="upload.failed",
        sink="https://example.org",
        sink_name="webhook:1",
        index=number,
        error="answered 500",
        attempts=7,
        time=datetime(2030, 1, 1, 12, 30, 0, 250_000, tzinfo=UTC),
        upload=upload,
    )


def test_a_dead_letter_is_kept_as_it_was(world: World) -> None:
    """With the upload, but without what its store keeps secret."""
    sent = letter(world)
    world.ledger.letters.add(replace(sent, upload=replace(sent.upload, session="secret")))
    (found,) = world.ledger.letters.dead()
    assert replace(found, letter_id="") == sent


def test_a_letter_that_is_sent_again_waits(world: World) -> None:
    """Until it is told."""
    letters = world.ledger.letters
    letters.add(letter(world))
    (dead,) = letters.dead()
    letters.send_again(dead)
    (waiting,) = letters.waiting()
    assert (letters.dead(), waiting.event_id) == ([], dead.event_id)
    letters.settle(waiting)
    assert (letters.dead(), letters.waiting()) == ([], [])


def test_a_letter_may_die_again(world: World) -> None:
    """With what went wrong the last time."""
    letters = world.ledger.letters
    letters.add(letter(world))
    letters.send_again(*letters.dead())
    (waiting,) = letters.waiting()
    letters.settle(waiting, error="answered 404")
    (dead,) = letters.dead()
    assert (letters.waiting(), dead.error, dead.attempts) == ([], "answered 404", 8)


def test_the_newest_thousand_letters_are_kept(world: World) -> None:
    """The oldest make room."""
    sent = letter(world)
    for number in range(1003):
        world.ledger.letters.add(replace(sent, index=number))
    assert [found.index for found in world.ledger.letters.dead()] == list(range(3, 1003))


def test_letters_vanish_in_the_end(redis_world: RedisWorld) -> None:
    """A month after the newest."""
    sent = letter(redis_world)
    redis_world.ledger.letters.add(sent)
    redis_world.ledger.letters.send_again(*redis_world.ledger.letters.dead())
    redis_world.ledger.letters.add(sent)
    days = {key: left / 86_400_000 for key, left in redis_world.expiring().items()}
    assert {key: round(left, 2) for key, left in days.items()} == {
        keys.LETTERS: 30,
        keys.AGAIN: 30,
    }


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"upload": {}}'])
def test_a_letter_of_another_release_stands_in_nobodys_way(
    redis_world: RedisWorld, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """It stays where it is, for who can read it; the log names it."""
    letters = redis_world.ledger.letters
    for _ in range(10):
        redis_world.client.xadd(keys.AGAIN, {"letter": text})
    letters.add(letter(redis_world))
    letters.send_again(*letters.dead())
    (waiting,) = letters.waiting()
    letters.settle(waiting)
    assert letters.waiting() == []
    assert redis_world.client.xlen(keys.AGAIN) == 10
    assert "cannot be read" in caplog.text
