"""Taking complete uploads back: what the ledger notes of it, in Redis and in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.ledgers import RedisWorld, World

from chunkferry import keys
from chunkferry.errors import UploadClosed, UploadInProgress, UploadNotFound
from chunkferry.moves import Ending, Termination


def note(world: World, upload_id: str, *, deleted: bool) -> Termination:
    """Note that the object is about to be deleted, or has been."""
    return world.ledger.intake.terminate(world.get(upload_id), deleted=deleted)


def complete_with_key(world: World) -> str:
    """A complete upload with an idempotency key."""
    upload_id = world.begin(0, idempotency_key="key")
    world.hold(upload_id)
    assert world.ledger.leases.begin_complete(upload_id, "n1")
    world.finish(upload_id, Ending.COMPLETE)
    return upload_id


def test_a_deletion_is_noted_before_and_after(world: World) -> None:
    """Whoever asks meanwhile learns that the upload is on its way out; it stays complete."""
    upload_id = world.complete()
    assert not world.get(upload_id).is_removed
    assert note(world, upload_id, deleted=False) == Termination.NOTED
    assert (world.get(upload_id).termination, world.get(upload_id).is_removed) == ("begun", True)
    assert note(world, upload_id, deleted=True) == Termination.NOTED
    assert (world.get(upload_id).termination, world.get(upload_id).is_complete) == ("done", True)


def test_a_deletion_that_broke_off_is_gone_on_with(world: World) -> None:
    """Noting it again changes nothing; once it is done, that is told."""
    upload_id = world.complete()
    assert [note(world, upload_id, deleted=False) for _ in range(2)] == [Termination.NOTED] * 2
    note(world, upload_id, deleted=True)
    outcomes = [note(world, upload_id, deleted=deleted) for deleted in (False, True)]
    assert outcomes == [Termination.SAME] * 2


def test_no_upload_to_the_path_begins_during_a_deletion(world: World) -> None:
    """Else its object could be deleted in place of the old one; afterwards one may."""
    upload_id = world.complete()
    note(world, upload_id, deleted=False)
    with pytest.raises(UploadInProgress, match="state aborting"):
        world.begin()
    note(world, upload_id, deleted=True)
    assert world.begin() != upload_id


def test_a_newer_upload_to_the_path_is_told_of(world: World) -> None:
    """The object there may be replaced at any moment; that it has been, may still be noted."""
    upload_id = world.complete()
    world.begin()
    assert note(world, upload_id, deleted=False) == Termination.SUPERSEDED
    assert world.get(upload_id).termination == ""
    assert note(world, upload_id, deleted=True) == Termination.NOTED


def test_a_deleted_upload_is_begun_anew_with_its_idempotency_key(world: World) -> None:
    """As one that was cancelled; during the deletion its path is taken."""
    upload_id = complete_with_key(world)
    note(world, upload_id, deleted=False)
    with pytest.raises(UploadInProgress):
        world.begin(0, idempotency_key="key")
    note(world, upload_id, deleted=True)
    assert world.begin(0, idempotency_key="key") != upload_id


@pytest.mark.parametrize("make", [World.begun, World.completing, World.failed, World.aborting])
def test_only_complete_uploads_are_taken_back(world: World, make: Callable[[World], str]) -> None:
    """Others are cancelled."""
    with pytest.raises(UploadClosed, match="cannot be taken back"):
        note(world, make(world), deleted=False)


def test_an_unknown_upload_is_not_taken_back(world: World) -> None:
    """Nor one that is forgotten."""
    upload = world.get(world.complete())
    with pytest.raises(UploadNotFound):
        world.ledger.intake.terminate(replace(upload, upload_id=f"1-{'0' * 32}"), deleted=False)


def test_the_record_keeps_its_ttl(redis_world: RedisWorld) -> None:
    """Writing to it must not keep it for ever."""
    upload_id = redis_world.complete()
    before = redis_world.expiring()
    for deleted in (False, True):
        note(redis_world, upload_id, deleted=deleted)
    assert keys.intake(upload_id) in before
    assert redis_world.expiring().keys() == before.keys()
