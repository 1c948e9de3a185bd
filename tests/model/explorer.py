"""Explores every state within the bounds, breadth first: the first violation has a shortest trace.

That every run ends well is shown on the graph of what happens without further faults: from every
state a clean end can be reached, and nothing leads out of it. So every bottom component of that
graph is a clean end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, pairwise

from tests.model import properties
from tests.model.bounds import ALL, Bounds, Guard
from tests.model.environment import Environment
from tests.model.moves import Scripts, Violation
from tests.model.state import Upload, World


@dataclass(kw_only=True)
class Outcome:
    """What an exploration found."""

    states: int
    steps: int
    #: The property that does not hold; empty if all do.
    violation: str = ""
    #: What happened up to there.
    trace: list[str] = field(default_factory=list)


class Explorer:
    """Explores one configuration, once."""

    def __init__(self, bounds: Bounds, guards: frozenset[Guard] = ALL) -> None:
        self._bounds = bounds
        self._environment = Environment(bounds, guards)
        self._scripts = Scripts(bounds, guards)
        self._numbers: dict[World, int] = {}
        self._worlds: list[World] = []
        self._came_from: list[int] = []
        #: For each state, those that lead to it without a fault.
        self._before: list[list[int]] = []
        self._steps = 0

    def run(self) -> Outcome:
        """Explore until everything is known, or a property does not hold."""
        self._number(self._environment.beginning(), 0)
        number = 0
        try:
            while number < len(self._worlds):
                self._expand(number)
                number += 1
        except Violation as violation:
            return self._outcome(str(violation), number)
        return self._converging()

    def _expand(self, number: int) -> None:
        world = self._worlds[number]
        properties.check(world, self._bounds, self._scripts)
        clean = properties.is_clean(world)
        for what, after, is_fault in self._environment.steps(world):
            self._steps += 1
            then = self._number(canonical(after), number)
            if not is_fault:
                self._before[then].append(number)
                if clean and not properties.is_clean(self._worlds[then]):
                    raise Violation(f"something happens after the end: {what}")

    def _number(self, world: World, source: int) -> int:
        found = self._numbers.setdefault(world, len(self._worlds))
        if found == len(self._worlds):
            self._worlds.append(world)
            self._came_from.append(source)
            self._before.append([])
        return found

    def _converging(self) -> Outcome:
        fresh = [n for n, world in enumerate(self._worlds) if properties.is_clean(world)]
        converging = bytearray(len(self._worlds))
        while fresh:
            for number in fresh:
                converging[number] = 1
            before = chain.from_iterable(self._before[number] for number in fresh)
            fresh = [number for number in set(before) if not converging[number]]
        stuck = converging.find(0)
        if stuck >= 0:
            return self._outcome("from here nothing leads to a clean end", stuck)
        return self._outcome("", 0)

    def _outcome(self, violation: str, number: int) -> Outcome:
        return Outcome(
            states=len(self._worlds),
            steps=self._steps,
            violation=violation,
            trace=self._trace(number) if violation else [],
        )

    def _trace(self, number: int) -> list[str]:
        """What led to a state, in words. Replayed, so that workers keep their names."""
        path = []
        while number:
            path.append(number)
            number = self._came_from[number]
        world, told = self._worlds[0], []
        for number in reversed(path):
            step = next(
                step
                for step in self._environment.steps(world)
                if canonical(step.world) == self._worlds[number]
            )
            world = step.world
            told.append(step.what)
        return told


def canonical(world: World) -> World:
    """One of all the worlds that differ in nothing but the names of things."""
    if None in world.sessions:
        world = _without_forgotten_sessions(world)
    return _with_workers_in_order(world)


def _with_workers_in_order(world: World) -> World:
    workers = world.workers
    if all(one < next_one for one, next_one in pairwise(workers)):
        return world
    owners = [upload.owner for upload in (*world.uploads, *(world.snapshot or ()))]
    order = sorted(
        range(len(workers)),
        key=lambda index: (workers[index], [owner == index + 1 for owner in owners]),
    )
    if order == list(range(len(order))):
        return world
    nonces = {old + 1: new + 1 for new, old in enumerate(order)}

    def renamed(uploads: tuple[Upload, ...]) -> tuple[Upload, ...]:
        return tuple(u._replace(owner=nonces.get(u.owner, u.owner)) for u in uploads)

    return world._replace(
        workers=tuple(workers[index] for index in order),
        uploads=renamed(world.uploads),
        snapshot=world.snapshot and renamed(world.snapshot),
    )


def _without_forgotten_sessions(world: World) -> World:
    """Without closed sessions that nobody remembers."""
    remembered = {
        *(upload.session for upload in (*world.uploads, *(world.snapshot or ()))),
        *chain.from_iterable((w.session, *w.listed) for w in world.workers),
        *world.sweeper.listed,
        *(request.session for request in world.flying),
    }
    kept = [n for n, s in enumerate(world.sessions, 1) if s is not None or n in remembered]
    if len(kept) == len(world.sessions):
        return world
    numbers = {0: 0, **{old: new for new, old in enumerate(kept, 1)}}

    def listed(sessions: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(numbers[session] for session in sessions)

    def renamed(uploads: tuple[Upload, ...]) -> tuple[Upload, ...]:
        return tuple(u._replace(session=numbers[u.session]) for u in uploads)

    return world._replace(
        sessions=tuple(world.sessions[n - 1] for n in kept),
        uploads=renamed(world.uploads),
        snapshot=world.snapshot and renamed(world.snapshot),
        workers=tuple(
            w._replace(session=numbers[w.session], listed=listed(w.listed)) for w in world.workers
        ),
        sweeper=world.sweeper._replace(listed=listed(world.sweeper.listed)),
        flying=tuple(r._replace(session=numbers[r.session]) for r in world.flying),
    )
