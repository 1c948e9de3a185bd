"""Uploads that are joined from others, in Redis and in its twin."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.ledgers import DATA, RedisWorld, World

from chunkferry import filepath, keys
from chunkferry.errors import UploadNotFound
from chunkferry.moves import Ending, Rousing
from chunkferry.state import State

#: How long a partial upload waits here, in seconds.
KEEP = 500
#: For how long its record stays after that: by itself, and once a join has looked.
STAYS = KEEP + 1005
STAYS_AFTER_A_LOOK = 100 + 1005
#: Two leases.
GRAVE = 60
#: Ids of joined uploads, known or not.
ONE, TWO = keys.new_upload_id(1), keys.new_upload_id(2)


def partial(world: World, length: int | None = 24, **changes: Any) -> str:
    """A new partial upload."""
    return world.begin(length, filepath.new_partial(), keep=timedelta(seconds=KEEP), **changes)


def complete_partial(world: World) -> str:
    """A partial upload that has ended well."""
    upload_id = partial(world)
    world.append(upload_id, 0, DATA[:24])
    world.hold(upload_id)
    world.store(upload_id, count=3)
    assert world.ledger.leases.begin_complete(upload_id, "n1")
    world.finish(upload_id, Ending.COMPLETE, size=24)
    return upload_id


def final(world: World, *sources: str, **changes: Any) -> str:
    """A new upload that is joined from others."""
    return world.begin(24, "joined", sources=sources, **changes)


def test_a_partial_upload_is_marked(world: World) -> None:
    """And no other upload is."""
    found = world.get(partial(world))
    assert (found.is_partial, found.sources, found.finals) == (True, (), ())
    assert not world.get(world.begin()).is_partial


def test_a_joined_upload_knows_its_sources_in_order(world: World) -> None:
    """The same one may come twice."""
    first, second = partial(world), partial(world)
    upload_id = final(world, second, first, second)
    assert world.get(upload_id).sources == (second, first, second)


def test_a_joined_upload_is_looked_at_until_it_is_forgotten(world: World) -> None:
    """From a wake-up's time after its beginning on, and again after each pause."""
    upload_id = final(world, partial(world))
    assert world.ledger.joins.due() == []
    world.advance(15)
    assert world.ledger.joins.due() == [upload_id]
    world.ledger.joins.linger(upload_id, timedelta(seconds=40))
    assert world.ledger.joins.due() == []
    world.advance(40)
    assert world.ledger.joins.due() == [upload_id]
    world.ledger.joins.forget(upload_id)
    world.ledger.joins.linger(upload_id, timedelta(0))
    assert world.ledger.joins.due() == []


def test_only_joined_uploads_are_looked_at(world: World) -> None:
    """Lingering makes no entry, neither for others nor for unknown ones."""
    world.ledger.joins.linger(world.begin(), timedelta(0))
    world.ledger.joins.linger(keys.new_upload_id(1), timedelta(0))
    assert world.ledger.joins.due() == []


def test_waiting_for_others_is_not_silence(world: World) -> None:
    """The upload expires as long after its last look as after a producer's last byte."""
    upload_id = final(world, partial(world))
    world.advance(90)
    world.ledger.joins.linger(upload_id, timedelta(seconds=15), waiting=True)
    world.advance(99)
    assert world.ledger.agenda.rouse(upload_id) is Rousing.IDLE
    world.advance(1)
    assert world.ledger.agenda.rouse(upload_id) is Rousing.EXPIRED


def test_a_look_alone_keeps_nothing_alive(world: World) -> None:
    """An upload whose store never answers expires one day."""
    upload_id = final(world, partial(world))
    world.advance(90)
    world.ledger.joins.linger(upload_id, timedelta(seconds=15))
    world.advance(10)
    assert world.ledger.agenda.rouse(upload_id) is Rousing.EXPIRED


def test_waiting_ends_with_the_end_of_its_time(world: World) -> None:
    """An absolute end is one for joined uploads, too."""
    upload_id = final(world, partial(world), lasting=timedelta(seconds=110))
    world.advance(90)
    world.ledger.joins.linger(upload_id, timedelta(seconds=15), waiting=True)
    world.advance(20)
    assert world.ledger.agenda.rouse(upload_id) is Rousing.EXPIRED


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_what_moves_a_joined_upload_has_it_looked_at(world: World, state: str) -> None:
    """Its end, and a requeue."""
    upload_id = final(world, partial(world))
    world.ledger.joins.linger(upload_id, timedelta(hours=1))
    if state == "failed":
        assert world.ledger.joins.give_up(upload_id, "gone", "no more")
        world.ledger.intake.requeue(upload_id)
    else:
        world.append(upload_id, 0, DATA[:24])
        world.hold(upload_id)
        world.finish(upload_id, Ending.ADOPTED, size=24)
    assert world.ledger.joins.due() == [upload_id]


def test_giving_up_is_failing(world: World) -> None:
    """It says why, waits for requeue, and its holder finds out."""
    upload_id = final(world, partial(world))
    assert world.ledger.joins.give_up(upload_id, "upload_closed", "one was cancelled")
    found = world.get(upload_id)
    assert (found.state, found.error_code, found.error) == (
        State.FAILED,
        "upload_closed",
        "one was cancelled",
    )
    assert not world.ledger.joins.give_up(upload_id, "upload_closed", "again")
    assert world.get(upload_id).error == "one was cancelled"
    assert not world.ledger.joins.give_up(keys.new_upload_id(1), "gone", "unknown")


def test_parts_of_an_upload_know_who_needs_them(world: World) -> None:
    """Each once, until it says otherwise; unknown ones are not made by that."""
    first, second, unknown = partial(world), partial(world), keys.new_upload_id(1)
    one, two, three = ONE, TWO, keys.new_upload_id(3)
    world.ledger.joins.link([first, second, unknown], one)
    world.ledger.joins.link([second], two)
    world.ledger.joins.link([second, second], one)
    world.ledger.joins.link([second], three)
    assert [world.get(id_).finals for id_ in (first, second)] == [(one,), (one, two, three)]
    for whole, final_id in enumerate([two, two]):
        world.ledger.joins.spend([world.get(second)], final_id, whole=bool(whole))
        assert world.get(second).finals == (one, three)
    with pytest.raises(UploadNotFound):
        world.get(unknown)


def test_many_are_read_in_their_order(world: World) -> None:
    """Also one that comes twice, and one that is not known."""
    first, second, unknown = partial(world), partial(world), keys.new_upload_id(1)
    found = world.ledger.records.get_all([second, unknown, first, second])
    assert [upload and upload.upload_id for upload in found] == [second, None, first, second]
    assert world.ledger.records.get_all([]) == []


def test_a_complete_partial_upload_waits_to_be_joined(world: World) -> None:
    """Its record outlives the time after which its object may go."""
    upload_id = complete_partial(world)
    world.advance(KEEP - 1)
    assert world.ledger.joins.spent() == []
    world.advance(1)
    assert world.ledger.joins.spent() == [upload_id]
    world.advance(STAYS - 1)
    assert world.get(upload_id).state is State.COMPLETE
    assert upload_id in [upload.upload_id for upload in world.ledger.records.list_uploads()]
    world.advance(1)
    with pytest.raises(UploadNotFound):
        world.get(upload_id)


def test_others_do_not_cut_its_time_short(world: World) -> None:
    """An upload that ends later has a shorter life, and is in the same listing."""
    upload_id = complete_partial(world)
    world.advance(10)
    shard, names = keys.shard_of(upload_id), map(str, itertools.count())
    world.complete(next(n for n in names if keys.shard_of_path("default", n, 4) == shard))
    world.advance(STAYS + 1)
    assert [upload.upload_id for upload in world.ledger.records.list_uploads()] == [upload_id]


def test_a_join_keeps_what_it_needs(world: World) -> None:
    """Object and record, for as long again."""
    upload_id = complete_partial(world)
    world.advance(KEEP)
    world.ledger.joins.keep([world.get(upload_id)], timedelta(seconds=KEEP))
    assert world.ledger.joins.spent() == []
    world.advance(KEEP)
    assert world.ledger.joins.spent() == [upload_id]
    world.advance(STAYS_AFTER_A_LOOK - 1)
    assert world.get(upload_id).state is State.COMPLETE
    world.advance(1)
    with pytest.raises(UploadNotFound):
        world.get(upload_id)


def test_what_is_joined_goes_once_its_grave_was_looked_at(world: World) -> None:
    """A late request of a dead worker must not make the object anew."""
    upload = world.get(complete_partial(world))
    world.ledger.joins.link([upload.upload_id], ONE)
    world.ledger.joins.spend([upload], ONE, whole=True)
    world.advance(GRAVE - 1)
    assert world.ledger.joins.spent() == []
    world.advance(1)
    assert world.ledger.joins.spent() == [upload.upload_id]
    world.advance(STAYS_AFTER_A_LOOK - 1)
    assert world.get(upload.upload_id).is_complete


def test_what_is_joined_late_goes_at_once(world: World) -> None:
    """Its grave was looked at long before."""
    upload = world.get(complete_partial(world))
    world.advance(GRAVE + 1)
    world.ledger.joins.spend([upload], ONE, whole=True)
    assert world.ledger.joins.spent() == [upload.upload_id]


def test_a_late_turn_keeps_nothing(world: World) -> None:
    """One that was overtaken by the end of its join."""
    upload = world.get(complete_partial(world))
    world.ledger.joins.link([upload.upload_id], ONE)
    world.ledger.joins.spend([upload], ONE, whole=True)
    world.ledger.joins.keep([upload], timedelta(seconds=KEEP), ONE)
    world.advance(GRAVE)
    assert world.ledger.joins.spent() == [upload.upload_id]


@pytest.mark.parametrize("whole", [True, False])
def test_what_another_join_needs_stays(world: World, whole: bool) -> None:
    """Whichever of the two is complete first, or is given up."""
    upload = world.get(complete_partial(world))
    world.ledger.joins.link([upload.upload_id], ONE)
    world.ledger.joins.link([upload.upload_id], TWO)
    world.ledger.joins.spend([upload], ONE, whole=whole)
    world.advance(GRAVE)
    assert world.ledger.joins.spent() == []
    world.ledger.joins.spend([upload], TWO, whole=whole)
    assert world.ledger.joins.spent() == [upload.upload_id] * whole
    world.ledger.joins.spend([replace(upload, upload_id=keys.new_upload_id(1))], ONE, whole=True)


def test_a_partial_upload_that_takes_data_is_looked_at_later(world: World) -> None:
    """It is not discarded before its end."""
    upload_id = partial(world)
    upload = world.get(upload_id)
    world.advance(100 + KEEP)
    assert world.ledger.joins.spent() == [upload_id]
    world.ledger.joins.discard(upload)
    world.ledger.joins.keep([upload], timedelta(seconds=7))
    assert world.ledger.joins.spent() == []
    world.advance(7)
    assert world.ledger.joins.spent() == [upload_id]
    assert world.get(upload_id).state is State.RECEIVING


def test_a_discarded_upload_is_forgotten(world: World) -> None:
    """Record, path and agenda; twice does no harm."""
    upload_id = complete_partial(world)
    upload = world.get(upload_id)
    for _ in range(2):
        world.ledger.joins.discard(upload)
        with pytest.raises(UploadNotFound):
            world.get(upload_id)
    assert world.ledger.records.find("default", upload.filepath) is None
    assert list(world.ledger.records.list_uploads()) == []
    world.ledger.joins.keep([upload], timedelta(0))
    world.advance(KEEP)
    assert world.ledger.joins.spent() == []


def test_a_removed_partial_upload_leaves_nothing_to_be_looked_at(world: World) -> None:
    """There is no object that would have to go."""
    upload_id = partial(world)
    world.ledger.intake.cancel(upload_id)
    world.hold(upload_id)
    world.finish(upload_id, Ending.ABORTED)
    world.advance(10 * KEEP)
    assert world.ledger.joins.spent() == []


def test_nothing_is_left_of_a_discarded_upload(redis_world: RedisWorld) -> None:
    """Not a key but its grave, which is looked after by itself."""
    upload_id = complete_partial(redis_world)
    redis_world.ledger.joins.discard(redis_world.get(upload_id))
    assert redis_world.key_names() == [keys.graves(keys.shard_of(upload_id))]


def test_a_discarded_upload_keeps_no_other_longer(redis_world: RedisWorld) -> None:
    """The set of ended uploads goes with the last of them that is left."""
    upload_id = complete_partial(redis_world)
    shard, names = keys.shard_of(upload_id), map(str, itertools.count())
    redis_world.complete(next(n for n in names if keys.shard_of_path("default", n, 4) == shard))
    assert redis_world.client.pttl(keys.ended(shard)) > 1100 * 1000
    redis_world.ledger.joins.discard(redis_world.get(upload_id))
    assert redis_world.client.pttl(keys.ended(shard)) <= 1005 * 1000


def test_what_an_older_worker_ended_is_forgotten(redis_world: RedisWorld) -> None:
    """It keeps the record for too short a time; then the entry goes, and nothing is written."""
    upload_id = complete_partial(redis_world)
    upload = replace(redis_world.get(upload_id))
    redis_world.client.unlink(keys.intake(upload_id), keys.work(upload_id))
    redis_world.ledger.joins.keep([upload], timedelta(0))
    redis_world.ledger.joins.spend([upload], ONE, whole=True)
    redis_world.ledger.joins.forget_partial(upload_id)
    redis_world.advance(10 * KEEP)
    assert redis_world.ledger.joins.spent() == []
    assert redis_world.client.exists(keys.intake(upload_id)) == 0
