"""What only the ledger in Redis has: keys, TTLs, freed memory, number formats, races.

The last test looks back at the whole suite: the other ``test_ledger_…`` modules come before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.client import Pipeline
from tests.ledgers import CLOCK, DATA, GRID, RedisWorld, World, draft, outcome_of

from chunkferry import keys, lua, stream
from chunkferry.errors import (
    ContentConflict,
    OffsetMismatch,
    RedisUnavailable,
    UploadClosed,
    UploadInProgress,
)
from chunkferry.ledger import RedisLedger, scripts
from chunkferry.ledger.intake import RedisIntake
from chunkferry.moves import Accepted, Ending, Rousing
from chunkferry.parts import Grid
from chunkferry.services import StoredPart
from chunkferry.state import State


def fields_of(world: RedisWorld, upload_id: str) -> dict[str, str]:
    """Both hashes of an upload."""
    return {**world.hash(keys.intake(upload_id)), **world.hash(keys.work(upload_id))}


# --- keys and memory --------------------------------------------------------------------------


def test_a_living_upload_has_no_ttl(redis_world: RedisWorld) -> None:
    """Accepted bytes never vanish by themselves."""
    redis_world.begun()
    assert redis_world.expiring() == {}


@pytest.mark.parametrize("ending", [Ending.COMPLETE, Ending.ABORTED])
def test_an_ended_upload_leaves_only_its_record(redis_world: RedisWorld, ending: Ending) -> None:
    """For ``result_ttl``; bytes and receipts are gone at once."""
    aborted = ending is Ending.ABORTED
    upload_id = redis_world.aborting() if aborted else redis_world.completing()
    redis_world.finish(upload_id, ending)
    shard = keys.shard_of(upload_id)
    record = {
        keys.intake(upload_id),
        keys.work(upload_id),
        keys.events(upload_id),
        keys.path(shard, "default", "a"),
        keys.ended(shard),
    }
    assert set(redis_world.key_names()) == {*record, keys.graves(shard)}
    times = redis_world.expiring()
    assert set(times) == record
    assert all(1_000_000 < left <= 1_005_000 for left in times.values())


def test_nothing_is_left_once_all_is_over(redis_world: RedisWorld) -> None:
    """No key at all."""
    redis_world.complete("complete")
    redis_world.begun(filepath="cancelled")
    redis_world.end_all()
    redis_world.advance(1010)
    assert redis_world.key_names() == []


def test_the_next_upload_keeps_its_path(redis_world: RedisWorld) -> None:
    """The TTL that the path got when its last upload ended is taken back."""
    first = redis_world.complete()
    redis_world.begin()
    path = keys.path(keys.shard_of(first), "default", "a")
    assert path not in redis_world.expiring()


def test_all_keys_of_an_upload_share_one_slot(redis_world: RedisWorld) -> None:
    """That of its shard's hash tag."""
    upload_id = redis_world.completing()
    tags = {key.partition("}")[0] for key in redis_world.key_names()}
    assert tags == {f"{{cf:{keys.shard_of(upload_id)}"}


def test_a_commit_frees_its_bytes(redis_world: RedisWorld) -> None:
    """The entries of the part leave the stream, and their memory with them."""
    upload_id = redis_world.begin(1 << 20, grid=Grid(1 << 17))
    redis_world.ledger.intake.append(upload_id, 0, [memoryview(bytes(1 << 17))], Grid(1 << 17))
    name = keys.parts(upload_id)
    assert (redis_world.client.memory_usage(name) or 0) > 1 << 17
    redis_world.hold(upload_id)
    size = 1 << 17
    redis_world.ledger.leases.commit(
        upload_id,
        "n1",
        0,
        StoredPart(number=1, size=size, crc32c=0, receipt="etag"),
        crc32c=0,
        boundary=2 * size,
    )
    assert redis_world.client.xlen(name) == 0
    assert (redis_world.client.memory_usage(name) or 0) < 1 << 10


def test_the_news_of_an_upload_are_capped(redis_world: RedisWorld) -> None:
    """However long its history is; Redis cuts it in whole nodes of 100."""
    upload_id = redis_world.failed()
    for _ in range(200):
        redis_world.ledger.intake.requeue(upload_id)
        redis_world.hold(upload_id)
        redis_world.ledger.leases.fail(upload_id, "n1", "code", "error")
    assert 200 <= redis_world.client.xlen(keys.events(upload_id)) <= 300


# --- numbers ----------------------------------------------------------------------------------


def test_offsets_of_terabytes_stay_whole_numbers(redis_world: RedisWorld) -> None:
    """Lua would write 5e+12: whatever the moves leave behind and answer is digits only."""
    start = 5_000_000_000_000 - 8
    world, upload_id = redis_world, redis_world.begin(5_000_000_000_008)
    world.client.hset(keys.intake(upload_id), "received", str(start))
    world.client.hset(
        keys.work(upload_id), mapping={"stored": str(start), "ripe_at": str(start + 8)}
    )
    with pytest.raises(OffsetMismatch) as refused:
        world.append(upload_id, start + 8, b"x")
    assert refused.value.expected == start
    assert world.append(upload_id, start, DATA[:8]) == Accepted(received=start + 8, wake=True)
    assert world.append(upload_id, start, DATA[:8]) == Accepted(received=start + 8, wake=False)
    world.hold(upload_id)
    part = StoredPart(number=1, size=8, crc32c=1, receipt="etag")
    standing = world.ledger.leases.commit(
        upload_id, "n1", start, part, crc32c=1, boundary=start + 16
    )
    assert (standing.received, standing.length) == (start + 8, start + 16)
    world.append(upload_id, start + 8, DATA[:8])
    world.ledger.leases.fail(upload_id, "n1", "code", "error")
    world.ledger.intake.requeue(upload_id)
    world.hold(upload_id)
    part = StoredPart(number=2, size=8, crc32c=1, receipt="etag")
    world.ledger.leases.commit(upload_id, "n1", start + 8, part, crc32c=1, boundary=start + 24)
    assert world.ledger.leases.begin_complete(upload_id, "n1")
    world.finish(upload_id, Ending.COMPLETE, size=start + 16)
    assert fields_of(world, upload_id)["stored"] == "5000000000008"
    told = [(event.received, event.stored) for event in world.ledger.records.events(upload_id, "0")]
    assert told[-1] == (start + 16, start + 16)
    odd = {
        name: value
        for name, value in fields_of(world, upload_id).items()
        if "e+" in value or value.startswith("-") or value.endswith(".0")
    }
    assert odd == {}


# --- races and lost answers -------------------------------------------------------------------


def before_each(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, act: Callable[[], object]
) -> None:
    """Do ``act`` once, just before the next call of a method."""
    original = getattr(owner, name)
    acts = [act]

    def interrupted(*args: Any, **options: Any) -> Any:
        if acts:
            acts.pop()()
        return original(*args, **options)

    monkeypatch.setattr(owner, name, interrupted)


def another_producer(world: RedisWorld) -> RedisIntake:
    """The same ledger, as another process has it."""
    return RedisLedger(world.client, world.settings, clock=CLOCK).intake


def test_of_two_creators_one_wins(redis_world: RedisWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever saw the path free but comes second finds it taken."""
    get = redis_world.client.get
    rivals: list[str] = []

    def stale_get(name: str) -> Any:
        found = get(name)
        if not rivals and ":path:" in name:
            rivals.append("")
            rivals[0] = redis_world.begin()
        return found

    monkeypatch.setattr(redis_world.client, "get", stale_get)
    with pytest.raises(UploadInProgress) as refused:
        redis_world.begin()
    assert [refused.value.upload_id] == rivals


def test_a_repeated_create_is_one_create(redis_world: RedisWorld) -> None:
    """Its answer was lost: the second time it is created already."""
    intake, upload_id = redis_world.ledger.intake, keys.new_upload_id(0)
    path = keys.path(0, "default", "a")
    answers_ = [intake._create(draft(), upload_id, path, "", full=False) for _ in range(2)]
    assert answers_ == [["created", "0"], ["created", "0"]]
    assert len(redis_world.ledger.records.events(upload_id, "0")) == 1


@pytest.mark.parametrize("theirs", [DATA[:8], b"12345678"], ids=["same", "other"])
def test_two_senders_do_not_interleave(
    redis_world: RedisWorld, monkeypatch: pytest.MonkeyPatch, theirs: bytes
) -> None:
    """Fault of the original: of two transactions one is undone whole, and asks again."""
    upload_id = redis_world.begin()
    rival = another_producer(redis_world)
    before_each(
        monkeypatch,
        stream,
        "push",
        lambda: rival.append(upload_id, 0, [memoryview(theirs)], GRID),
    )
    outcome = outcome_of(lambda: redis_world.append(upload_id, 0, DATA[:8]))
    if theirs == DATA[:8]:
        # Perhaps the first transaction was its own, and its answer was lost with a wake-up.
        assert outcome == Accepted(received=8, wake=True)
    else:
        assert isinstance(outcome, ContentConflict)
    assert b"".join(redis_world.ledger.leases.read(upload_id, 0, 8)) == theirs


def test_an_append_does_not_fight_for_ever(
    redis_world: RedisWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each transaction is undone, Redis counts as unavailable: the same call goes on."""
    upload_id = redis_world.begin()
    push = stream.push

    def disturbed(*args: Any) -> None:
        redis_world.client.hset(keys.intake(upload_id), "touched", "1")
        push(*args)

    with monkeypatch.context() as patch:
        patch.setattr(stream, "push", disturbed)
        with pytest.raises(RedisUnavailable):
            redis_world.append(upload_id, 0, DATA[:8])
    assert redis_world.append(upload_id, 0, DATA[:8]).received == 8


def test_a_cancel_during_an_append_leaves_no_bytes(
    redis_world: RedisWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing may be added to the stream of an upload that is being removed."""
    upload_id = redis_world.begin()
    rival = another_producer(redis_world)
    before_each(monkeypatch, stream, "push", lambda: rival.cancel(upload_id))
    with pytest.raises(UploadClosed):
        redis_world.append(upload_id, 0, DATA[:8])
    assert not redis_world.client.exists(keys.parts(upload_id))


def test_a_connection_lost_under_the_watch_is_made_anew(
    redis_world: RedisWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent yet: the append goes on as if nothing had been."""
    upload_id = redis_world.begin()
    before_each(monkeypatch, lua.Script, "run", lambda: drop_connections(redis_world))
    assert redis_world.append(upload_id, 0, DATA[:8]).received == 8


def drop_connections(world: RedisWorld) -> None:
    """What a restarted proxy does to its clients."""
    for server in world.servers():
        server.client_kill_filter(_type="normal", skipme=True)


def test_an_append_whose_answer_is_lost_counts_once(
    redis_world: RedisWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis accepted it, nobody heard: asking again finds the bytes there."""
    upload_id = redis_world.begin()
    execute, lost = Pipeline.execute, list[object]()

    def losing(pipeline: Pipeline, *args: Any) -> Any:
        appends = pipeline.explicit_transaction  # else it only asks how much room there is
        answer = execute(pipeline, *args)
        if appends and not lost:
            lost.append(answer)
            raise redis.ConnectionError
        return answer

    monkeypatch.setattr(Pipeline, "execute", losing)
    assert redis_world.append(upload_id, 0, DATA[:8]).received == 8
    assert (len(lost), redis_world.client.xlen(keys.parts(upload_id))) == (1, 1)


def test_forgotten_scripts_are_sent_again(redis_world: RedisWorld) -> None:
    """A restarted server knows none of them."""
    forget_scripts(redis_world)
    upload_id = redis_world.begun()
    forget_scripts(redis_world)
    redis_world.hold(upload_id)


def forget_scripts(world: RedisWorld) -> None:
    """What a restart does to the servers' memory of scripts."""
    for server in world.servers():
        server.script_flush()


def test_accept_refuses_what_admit_did_not_see(redis_world: RedisWorld) -> None:
    """The transaction's own guard, should it ever run without the watch."""
    upload_id = redis_world.begun(4, 24)
    answer = lua.load("accept", CLOCK).run(
        redis_world.client,
        scripts.of(upload_id, "intake", "work", "due", "events", "filling", "telling"),
        {
            "upload_id": upload_id,
            "start": 0,
            "finish": 4,
            "part_end": 8,
            "crc32c": 0,
            "rewake_ms": 1,
            "told_every_ms": 1,
        },
    )
    assert answer == ["refused", State.RECEIVING, "4"]


@pytest.mark.parametrize(
    ("make", "found"),
    [(World.begun, Rousing.WAKE), (World.begin, Rousing.IDLE), (World.failed, Rousing.FAILED)],
)
def test_an_upload_that_fell_off_the_agenda_is_put_back(
    redis_world: RedisWorld, make: Callable[[World], str], found: Rousing
) -> None:
    """Whoever notices has only to rouse it."""
    upload_id = make(redis_world)
    due = keys.due(keys.shard_of(upload_id))
    redis_world.client.zrem(due, upload_id)
    assert redis_world.ledger.agenda.rouse(upload_id) == found
    assert (redis_world.client.zscore(due, upload_id) or 0) > redis_world.clock()
