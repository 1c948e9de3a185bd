"""What the ledger in Redis makes of records that Redis itself has damaged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.ledgers import RedisWorld

from chunkferry import keys
from chunkferry.errors import UploadNotFound


@pytest.mark.parametrize("name", [keys.intake, keys.work])
def test_half_a_record_is_none(redis_world: RedisWorld, name: Callable[[str], str]) -> None:
    """Redis may drop one key of an ended upload before its clock is put back: no picture then."""
    upload_id = redis_world.complete()
    redis_world.client.unlink(name(upload_id))
    with pytest.raises(UploadNotFound):
        redis_world.get(upload_id)


@pytest.mark.parametrize("name", [keys.intake, keys.work])
def test_half_a_record_is_not_made_whole(
    redis_world: RedisWorld, name: Callable[[str], str]
) -> None:
    """Waiting for its durability writes nothing: the new key would never vanish."""
    upload_id = redis_world.complete()
    redis_world.client.unlink(name(upload_id))
    redis_world.change(replicas=1)
    with pytest.raises(UploadNotFound):
        redis_world.ledger.intake.ensure_durable(upload_id, 0)
