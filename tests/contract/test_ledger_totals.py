"""The totals, as the ledger in Redis and its twin in memory add them up."""

from __future__ import annotations

from tests.ledgers import RedisWorld, World

from chunkferry import keys
from chunkferry.parts import MIB


def test_nothing_was_counted_yet(world: World) -> None:
    """No field, and no error."""
    world_is_new(world)
    assert world.ledger.totals.read() == {}


def test_counts_add_up(world: World) -> None:
    """Field by field, whoever adds; terabytes stay whole numbers."""
    world_is_new(world)
    world.ledger.totals.add({"bytes_stored|a b": 5_000_000_000_000, "sweeps": 1})
    world.ledger.totals.add({"bytes_stored|a b": 1, "turns|idle": 2})
    assert world.ledger.totals.read() == {
        "bytes_stored|a b": 5_000_000_000_001,
        "sweeps": 1,
        "turns|idle": 2,
    }


def test_a_full_redis_still_counts(single_world: RedisWorld) -> None:
    """That is when somebody looks at the numbers."""
    world_is_new(single_world)
    client = single_world.client
    limit = str(client.config_get("maxmemory")["maxmemory"])
    client.config_set("maxmemory", MIB)
    try:
        single_world.ledger.totals.add({"sweeps": 1})
        assert single_world.ledger.totals.read() == {"sweeps": 1}
    finally:
        client.config_set("maxmemory", limit)


def world_is_new(world: World) -> None:
    """Forget what producers of other tests may have added to the same database."""
    if isinstance(world, RedisWorld):
        world.client.delete(keys.TALLY)
