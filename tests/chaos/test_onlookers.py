"""What looks on and meddles during a chaos run: the watch and the thief."""

from __future__ import annotations

import pytest
from tests.chaos.thief import Thief
from tests.chaos.watch import Watch
from tests.producing import PART, Site
from tests.servers.redis import RedisServer
from tests.waiting import wait_until

from chunkferry import keys
from chunkferry.ledger import RedisLedger
from chunkferry.wakeup import DRAIN


@pytest.mark.parametrize(("rewinds", "seen"), [([0, 0], 1), ([0, 1], 0)])
def test_stored_going_back(on_redis: Site, rewinds: list[int], seen: int) -> None:
    """It is seen, and excused where Redis itself was set back."""
    upload_id = on_redis.manager.create("a", 2 * PART).upload_id
    on_redis.manager.append(upload_id, 0, bytes(PART))
    on_redis.work()
    now = rewinds[0]
    watch = Watch(on_redis.manager, lambda: now)
    watch.close()
    watch.look()
    ledger = on_redis.ledger
    assert isinstance(ledger, RedisLedger)
    ledger.records._client.hset(keys.work(upload_id), "stored", 0)
    now = rewinds[1]
    watch.look()
    assert len(watch.complaints) == seen
    on_redis.manager.cancel(upload_id)
    on_redis.work()


@pytest.mark.parametrize(("way", "left"), [("dropped", 0), ("doubled", 2)])
def test_thief(redis_server: RedisServer, way: str, left: int) -> None:
    """A wake-up is lost, or there twice."""
    broker = redis_server.client(db=6)
    broker.flushdb()
    thief = Thief(broker, seed=1)
    try:
        (thief.drop if way == "dropped" else thief.double)(10)
        broker.lpush(DRAIN, "message")
        wait_until(lambda: thief.counts[way] > 0)
    finally:
        thief.close()
    assert broker.llen(DRAIN) >= left
    broker.flushdb()
