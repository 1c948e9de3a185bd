"""Uploads into a folder with a fault in each of their system calls.

A worker's drain takes each upload to its end, over the ledger in memory. After any fault that
passes, the upload ends as it would have; the object is whole, and nothing is left.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from tests import storing
from tests.producing import OneStore, Site, small_parts
from tests.servers.stores import local_store
from tests.storing import PART

from chunkferry.state import State
from chunkferry.storage import from_url
from chunkferry.storage.local import tree
from chunkferry.storage.local import upload as local_upload
from chunkferry.testing import ManualClock, MemoryLedger
from chunkferry_worker.drain import Drain
from chunkferry_worker.sweep import Sweep

PATH = "folder/file.bin"
CONTENT = storing.content(1000)

#: Calls that change something, and others that may fail.
EFFECTS = {"fdatasync", "fsync", "mkdir", "pwrite", "rename", "unlink"}
CALLS = EFFECTS | {"fstat", "open", "pread", "stat"}


@dataclass(kw_only=True)
class System:
    """``os``, with one call that fails."""

    #: Those so far, by name.
    calls: list[str] = field(default_factory=list)
    #: Index of the one that fails; none if negative.
    broken: int = -1
    #: Whether it fails after its effect.
    late: bool = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        return functools.partial(self._call, name, found) if name in CALLS else found

    def _call(self, name: str, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self.calls.append(name)
        if len(self.calls) - 1 != self.broken:
            return call(*args, **options)
        if self.late and name in EFFECTS:
            call(*args, **options)
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class Work:
    """A worker at a folder."""

    def __init__(self, folder: Path) -> None:
        settings = small_parts()
        self._clock = ManualClock()
        self._site = Site(MemoryLedger(settings, clock=self._clock), settings)
        real = local_store(folder)
        self.store, self.leftovers = cast("storing.Store", from_url(real.url)), real.leftovers
        stores = OneStore(self.store, settings)
        ledger, waker = self._site.ledger, self._site.waker
        self._drain = Drain(ledger, stores, waker, settings, worker="w")
        self._sweep = Sweep(ledger, stores, waker, settings)
        self.manager = self._site.manager

    def answer(self) -> None:
        """Answer the wake-ups that there are."""
        for upload_id in self._site.waker.take():
            self._drain.run(upload_id)

    def settle(self, upload_id: str) -> State:
        """Let workers work and time pass until the graves are looked after."""
        for _ in range(6):
            self.answer()
            self._clock.advance(timedelta(seconds=61))
            self._sweep.run()
        return self.manager.get(upload_id).state


def stored(work: Work) -> str:
    """All of its bytes are there to be stored."""
    upload_id = work.manager.create(PATH, len(CONTENT)).upload_id
    work.manager.append(upload_id, 0, CONTENT)
    return upload_id


def cancelled(work: Work) -> str:
    """Its first part is stored."""
    upload_id = work.manager.create(PATH, 2 * PART).upload_id
    work.manager.append(upload_id, 0, bytes(PART))
    work.answer()
    work.manager.cancel(upload_id)
    return upload_id


def live(prepare: Callable[[Work], str], folder: Path, system: System) -> None:
    """Take an upload through its life and hold what is left against that."""
    work = Work(folder)
    with pytest.MonkeyPatch.context() as patch:
        upload_id = prepare(work)
        for module in (tree, local_upload):
            patch.setattr(module, "os", system)
        state = work.settle(upload_id)
    if prepare is stored:
        assert (state, storing.read(work.store, PATH)) == (State.COMPLETE, CONTENT)
    else:
        assert (state, work.store.exists(PATH)) == (State.CANCELLED, False)
    assert work.leftovers() == []


@pytest.mark.parametrize("late", [False, True], ids=["unheard of", "after its effect"])
@pytest.mark.parametrize("prepare", [stored, cancelled])
def test_an_upload_survives_any_fault_of_the_disk(
    prepare: Callable[[Work], str], tmp_path: Path, late: bool
) -> None:
    """Each call of the system fails once, in an upload of its own."""
    faultless = System()
    live(prepare, tmp_path / "faultless", faultless)
    effects = {"stored": EFFECTS - {"unlink"}, "cancelled": {"unlink"}}[prepare.__name__]
    assert effects <= set(faultless.calls)
    for index, name in enumerate(faultless.calls):
        system = System(broken=index, late=late)
        live(prepare, tmp_path / f"{index}-{name}", system)
        assert (len(system.calls) > index, name) == (True, system.calls[index])
