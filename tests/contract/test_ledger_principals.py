"""Whose uploads are open, in Redis and in memory."""

from __future__ import annotations

from tests.ledgers import RedisWorld, World

from chunkferry import keys
from chunkferry.moves import Ending


def noted(world: World, principal: str = "ann", filepath: str = "a") -> str:
    """A new upload of a principal."""
    upload_id = world.begin(filepath=filepath)
    world.ledger.principals.note(principal, upload_id)
    return upload_id


def ids_of(world: World, principal: str = "ann") -> set[str]:
    """The open uploads of a principal."""
    return {upload.upload_id for upload in world.ledger.principals.uploads_of(principal)}


def test_a_principal_has_its_own_uploads(world: World) -> None:
    """And nobody else's; who has none, has none."""
    ours, theirs = noted(world), noted(world, "bob", "b")
    assert (ids_of(world), ids_of(world, "bob"), ids_of(world, "eve")) == ({ours}, {theirs}, set())


def test_they_are_shown_as_they_are_now(world: World) -> None:
    """Not as they were when they were noted."""
    upload_id = noted(world)
    world.append(upload_id, 0, b"12345678")
    (upload,) = world.ledger.principals.uploads_of("ann")
    assert (upload.received, upload.stored) == (8, 0)


def test_noting_twice_is_noting_once(world: World) -> None:
    """The answer may have got lost."""
    upload_id = noted(world)
    world.ledger.principals.note("ann", upload_id)
    assert len(world.ledger.principals.uploads_of("ann")) == 1


def test_what_has_ended_is_not_open(world: World) -> None:
    """Nor what is forgotten; one that has failed is."""
    done = noted(world)
    world.ledger.intake.cancel(done)
    assert ids_of(world) == {done}
    world.hold(done)
    world.finish(done, Ending.ABORTED)
    failed = noted(world, filepath="b")
    world.append(failed, 0, bytes(8))
    world.hold(failed)
    world.ledger.leases.fail(failed, "n1", "code", "error")
    assert ids_of(world) == {failed}
    world.advance(2000)
    assert ids_of(world) == {failed}


def test_what_has_ended_takes_no_memory(redis_world: RedisWorld) -> None:
    """It is taken out by who asks; the last one takes the key along."""
    upload_id = noted(redis_world)
    redis_world.ledger.intake.cancel(upload_id)
    redis_world.hold(upload_id)
    redis_world.finish(upload_id, Ending.ABORTED)
    assert ids_of(redis_world) == set()
    assert keys.principal("ann") not in redis_world.key_names()


def test_what_nobody_asks_for_vanishes(redis_world: RedisWorld) -> None:
    """Once no upload can be open any more; each new one puts that off."""
    noted(redis_world)
    longest = redis_world.settings.longest_life.total_seconds()
    assert 0 < redis_world.expiring()[keys.principal("ann")] <= longest * 1000


def test_a_principal_can_have_any_name(redis_world: RedisWorld) -> None:
    """Nothing of it reaches the name of a key."""
    name = "}:x\n{cf:1} " + "ä" * 1000
    upload_id = noted(redis_world, name)
    assert ids_of(redis_world, name) == {upload_id}
    assert len(keys.principal(name)) == len("cf:principal:") + 32
