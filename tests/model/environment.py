"""Everything but the workers' program: producers, operators, the sweep, time, and what goes wrong.

Each function yields the steps that may happen next; those that use up a budget are faults, and
everything else may happen at any time, as often as it likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.model import store, worker
from tests.model.bounds import Bounds, Guard
from tests.model.moves import Scripts
from tests.model.state import DEAD, IDLE, Object, Request, Sweeper, Upload, World, changed
from tests.model.worker import Drain

from chunkferry.state import TERMINAL, State

_REMOVED: Final = frozenset({State.ABORTING, State.EXPIRED, State.CANCELLED})
#: Where a worker has nothing to do with the store.
_HARMLESS: Final = frozenset({"idle", "acquire", "wake"})


class Step(NamedTuple):
    """Something that may happen."""

    what: str
    world: World
    is_fault: bool = False


class Environment:
    """All steps of the model."""

    def __init__(self, bounds: Bounds, guards: frozenset[Guard]) -> None:
        self._bounds = bounds
        self._guards = guards
        self._scripts = Scripts(bounds, guards)
        self._drain = Drain(bounds, guards, self._scripts)

    def beginning(self) -> World:
        """The world before anything has happened: the first upload has begun."""
        bounds = self._bounds
        later = [Upload()] * (bounds.uploads - 1)
        return World(
            uploads=(self._scripts.create(), *later),
            messages=(0,) * bounds.uploads,
            producing=(True, *[False for _ in later]),
            workers=(IDLE,) * bounds.workers,
            object=Object(-1, store.etag(1)) if bounds.occupied else None,
            faults=bounds.faults,
            cancels=bounds.cancels,
            requeues=bounds.requeues,
            rollbacks=bounds.rollbacks,
        )

    def steps(self, world: World) -> Iterator[Step]:
        """Everything that may happen next."""
        for index, upload in enumerate(world.uploads):
            yield from self._producer(world, index, upload)
            if upload.state is not None:
                yield from self._time(world, index, upload)
                yield from self._operator(world, index, upload)
        yield from self._sweeper(world)
        yield from self._landings(world)
        for index in range(len(world.workers)):
            name = f"worker {index + 1}"
            for what, after in self._drain.steps(world, index):
                yield Step(f"{name}: {what}", after)
            if world.faults:
                yield from self._accidents(world, index, name)
        if world.faults:
            yield from self._broker(world)
        if world.rollbacks:
            yield from self._failover(world)

    # --- people -------------------------------------------------------------------------------

    def _producer(self, world: World, index: int, upload: Upload) -> Iterator[Step]:
        if upload.state is None:
            if world.uploads[index - 1].state in TERMINAL:
                fresh = world.with_upload(index, self._scripts.create())
                producing = changed(world.producing, index, True)
                yield Step(f"create {index + 1}", fresh._replace(producing=producing))
            return
        if not world.producing[index]:
            return
        silent = world._replace(producing=changed(world.producing, index, False))
        if upload.state is not State.RECEIVING:
            yield Step(f"producer {index + 1} is done", silent)
            return
        if upload.received < self._bounds.parts:
            what, (answer, after) = "append", self._scripts.accept(upload)
        else:
            what, (answer, after) = "set_length", self._scripts.set_length(upload)
        yield self._answered(world, index, f"{what} {index + 1}", answer, after)
        if world.faults:
            dying = silent._replace(faults=world.faults - 1)
            yield Step(f"producer {index + 1} goes silent", dying, is_fault=True)

    def _operator(self, world: World, index: int, upload: Upload) -> Iterator[Step]:
        if world.cancels:
            answer, after = self._scripts.cancel(upload)
            if answer == "cancelled":
                fewer = world._replace(cancels=world.cancels - 1)
                step = self._answered(fewer, index, f"cancel {index + 1}", "wake", after)
                yield step._replace(is_fault=True)
        if world.requeues and upload.state is State.FAILED:
            answer, after = self._scripts.requeue(upload)
            fewer = world._replace(requeues=world.requeues - 1)
            step = self._answered(fewer, index, f"requeue {index + 1}", answer, after)
            yield step._replace(is_fault=True)

    def _answered(self, world: World, index: int, what: str, answer: str, now: Upload) -> Step:
        after = world.with_upload(index, now)
        return Step(what, after.told(index) if answer == "wake" else after)

    # --- time and the sweep -------------------------------------------------------------------

    def _time(self, world: World, index: int, upload: Upload) -> Iterator[Step]:
        if upload.owner and upload.leased:
            after = world.with_upload(index, upload._replace(leased=False))
            if upload.owner == DEAD:
                yield Step(f"the lease of {index + 1} ends", after)
            elif world.faults:
                late = after._replace(faults=world.faults - 1)
                yield Step(f"the lease of {index + 1} ends early", late, is_fault=True)
        if Guard.SWEEP in self._guards and self._moment_has_come(world, index, upload):
            answer, now = self._scripts.rouse(upload, silent=not world.producing[index])
            if answer != "held":
                yield self._answered(world, index, f"rouse {index + 1}", answer, now)

    def _moment_has_come(self, world: World, index: int, upload: Upload) -> bool:
        """True if the moment in the due set may have come. Wake-ups are answered before that."""
        if not upload.due or world.messages[index]:
            return False
        if any(w.at == "acquire" and w.upload == index for w in world.workers):
            return False
        if upload.scheduled or upload.owner or upload.state is State.FAILED:
            return True
        return upload.state is State.RECEIVING and not world.producing[index]

    def _sweeper(self, world: World) -> Iterator[Step]:
        sweeper = world.sweeper
        if sweeper.at != "idle":
            yield Step(f"sweep: {sweeper.at}", self._reap(world, sweeper))
            if world.faults:
                killed = world._replace(sweeper=Sweeper(), faults=world.faults - 1)
                yield Step("the sweep is killed", killed, is_fault=True)
        else:
            for index, upload in enumerate(world.uploads):
                if upload.grave and self._has_settled(world, index):
                    begun = world._replace(sweeper=Sweeper("list", index))
                    yield Step(f"sweep: opens grave {index + 1}", begun)

    def _has_settled(self, world: World, index: int) -> bool:
        """True unless something may still reach the store for an ended upload."""
        if any(request.upload == index for request in world.flying):
            return False
        busy = (w.upload == index and w.at not in _HARMLESS for w in world.workers)
        return self._bounds.long_sleeps or not any(busy)

    def _reap(self, world: World, sweeper: Sweeper) -> World:
        upload = world.uploads[sweeper.upload]
        if sweeper.at == "list":
            found = store.listed(world)
            at = "ask" if Guard.REAP_ASKS in self._guards else "purge"
            if found:
                return world._replace(sweeper=Sweeper(at, sweeper.upload, found))
        elif sweeper.at == "ask":
            newest = [known.state for known in world.uploads if known.state is not None][-1]
            if newest in TERMINAL:
                return world._replace(sweeper=sweeper._replace(at="purge"))
        else:
            first, *rest = sweeper.listed
            request = Request("abort", sweeper.upload, first)
            world, _ = store.applied(world, request, self._bounds.parts)
            if rest:
                return world._replace(sweeper=sweeper._replace(listed=tuple(rest)))
        closed = world.with_upload(sweeper.upload, upload._replace(grave=False))
        return closed._replace(sweeper=Sweeper())

    # --- what goes wrong ----------------------------------------------------------------------

    def _accidents(self, world: World, index: int, name: str) -> Iterator[Step]:
        now = world.workers[index]
        if now.at == "idle":
            return
        less = world._replace(faults=world.faults - 1)
        killed = worker.stopped(less, index)
        asked = worker.request(now)
        yield Step(f"{name} is killed before: {now.at}", killed, is_fault=True)
        if asked and not world.flying:
            flying = killed._replace(flying=(asked,))
            yield Step(f"{name} is killed during: {now.at}", flying, is_fault=True)
        if self._bounds.errors and (asked or now.at in worker.LOOKS):
            put_off = now._replace(at="defer")
            failed = less.with_worker(index, put_off)
            yield Step(f"{name}: the store fails {now.at}", failed, is_fault=True)
            if asked:
                landed, _ = store.applied(less, asked, self._bounds.parts)
                lost = landed.with_worker(index, put_off)
                yield Step(f"{name}: the answer to {now.at} is lost", lost, is_fault=True)
        if self._bounds.errors and now.at not in _HARMLESS:
            let_go = less.with_worker(index, now._replace(at="release"))
            yield Step(f"{name}: Redis is away before: {now.at}", let_go, is_fault=True)
        if self._bounds.refusals and asked and not now.removing:
            refused = less.with_worker(index, now._replace(at="fail"))
            yield Step(f"{name}: the store refuses {now.at}", refused, is_fault=True)

    def _landings(self, world: World) -> Iterator[Step]:
        for request in world.flying:
            left = world._replace(flying=())
            yield Step(f"a late {request.verb} is lost", left)
            landed, _ = store.applied(left, request, self._bounds.parts)
            yield Step(f"a late {request.verb} lands", landed)

    def _broker(self, world: World) -> Iterator[Step]:
        less = world._replace(faults=world.faults - 1)
        for index, count in enumerate(world.messages):
            if count:
                lost = less._replace(messages=changed(world.messages, index, count - 1))
                yield Step("a wake-up is lost", lost, is_fault=True)
                yield Step("a wake-up is doubled", less.told(index), is_fault=True)

    def _failover(self, world: World) -> Iterator[Step]:
        if world.snapshot is None:
            yield Step("Redis replicates", world._replace(snapshot=world.uploads))
        elif not any(upload.state in _REMOVED for upload in world.uploads):
            # The sweep that ran is over: it got an error. The next one begins anew.
            back = world._replace(
                uploads=world.snapshot,
                snapshot=None,
                sweeper=Sweeper(),
                rollbacks=world.rollbacks - 1,
            )
            yield Step("Redis fails over", back, is_fault=True)
            resumed = tuple(upload.state is State.RECEIVING for upload in back.uploads)
            if resumed != back.producing:
                again = back._replace(producing=resumed)
                yield Step("Redis fails over; producers go on", again, is_fault=True)
