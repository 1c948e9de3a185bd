"""What must hold in every state, and what every run must come to."""

from __future__ import annotations

from typing import Final

from tests.model.bounds import Bounds
from tests.model.moves import Scripts, Violation
from tests.model.state import IDLE, Upload, World

from chunkferry.state import TERMINAL, State

_STORING: Final = frozenset({State.RECEIVING, State.RECEIVED, State.FAILED})
_REMOVED: Final = frozenset({State.EXPIRED, State.CANCELLED})


def check(world: World, bounds: Bounds, scripts: Scripts) -> None:
    """Raise ``Violation`` if the state must not be."""
    for index, upload in enumerate(world.uploads):
        if upload.state is None:
            continue
        _check_upload(upload, scripts)
        _check_store(world, index, upload)
        forgot = world.rollbacks < bounds.rollbacks
        if not forgot and upload.state in _STORING and upload.session:
            kept = world.session(upload.session) is not None or _is_of(world, index)
            if not kept:
                raise Violation("the session of a living upload was removed")


def _check_upload(upload: Upload, scripts: Scripts) -> None:
    if upload.due == (upload.state in TERMINAL):
        raise Violation("due and not ended are not the same")
    if upload.stored > upload.received:
        raise Violation("more is stored than was received")
    if scripts.runnable(upload) and not upload.scheduled and not upload.owner:
        raise Violation("work waits, without a wake-up and without a holder")


def _check_store(world: World, index: int, upload: Upload) -> None:
    if upload.state in _REMOVED and _is_of(world, index):
        raise Violation("an upload was removed, and its object is visible")
    if upload.state is State.COMPLETE and (world.object is None or world.object.upload < index):
        raise Violation("an upload is complete, and its object is not there")


def _is_of(world: World, index: int) -> bool:
    return world.object is not None and world.object.upload == index


def is_clean(world: World) -> bool:
    """True once everything has ended and nothing is left."""
    return (
        all(u.state in TERMINAL and not u.due and not u.grave for u in world.uploads)
        and not any(world.messages)
        and not any(world.sessions)
        and not world.flying
        and world.sweeper.at == "idle"
        and all(worker == IDLE for worker in world.workers)
    )
