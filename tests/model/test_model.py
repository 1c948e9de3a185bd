"""The protocol, in every state it can get into within small bounds.

``CHUNKFERRY_MODEL=deep`` adds larger bounds: five minutes and 1 GiB of memory. The counts of
states are in pytest's summary.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from tests.model.bounds import ALL, Bounds, Guard
from tests.model.explorer import Explorer, Outcome
from tests.model.mutations import ABSORBED, CAUGHT, Mutation

PAGE: Final = Path(__file__).parents[2] / "docs" / "protocol.md"

#: What is explored whole, by name.
BOUNDS: Final = {
    "nothing goes wrong": Bounds(faults=0, cancels=0),
    "one fault": Bounds(),
    "two faults": Bounds(faults=2),
    "length unknown at first": Bounds(length_known=False),
    "turns of one part": Bounds(parts=3, slices=True),
    "errors, refusals, requeue": Bounds(errors=True, refusals=True, requeues=1),
    "deadly file": Bounds(faults=2, cancels=0, requeues=1, max_deaths=1),
    "the next upload to the path": Bounds(parts=1, uploads=2),
    "long sleeps": Bounds(parts=1, long_sleeps=True),
    "whole objects": Bounds(parts=1, whole=True, faults=2),
    "whole objects, one after another": Bounds(
        parts=1, whole=True, uploads=2, occupied=True, cancels=0
    ),
    "failover": Bounds(faults=0, rollbacks=1),
    "failover, three parts": Bounds(parts=3, faults=0, cancels=0, rollbacks=1),
}
DEEP: Final = {
    "two faults, errors": Bounds(faults=2, errors=True, refusals=True, requeues=1),
    "three faults": Bounds(faults=3),
    "three parts, two faults": Bounds(parts=3, faults=2),
    "three parts, turns of one": Bounds(parts=3, length_known=False, slices=True),
    "three workers": Bounds(workers=3),
    "deadly file, cancelled": Bounds(faults=2, requeues=1, max_deaths=1),
    "the next upload to the path, in parts": Bounds(uploads=2),
    "the next upload to the path, two faults": Bounds(parts=1, uploads=2, faults=2),
    "failover and a fault": Bounds(cancels=0, rollbacks=1),
    "failover and a fault, cancelled": Bounds(rollbacks=1),
}
#: What is known not to hold, and not promised.
LIMITS: Final = {
    "a killed worker's session appears after the grave": (
        Bounds(parts=1, faults=2, long_sleeps=True),
        "from here nothing leads to a clean end",
    ),
    "a whole object is put after the upload failed and was removed": (
        Bounds(parts=1, whole=True, faults=2, refusals=True),
        "an upload was removed, and its object is visible",
    ),
}

deep = pytest.mark.skipif(
    os.environ.get("CHUNKFERRY_MODEL") != "deep", reason="CHUNKFERRY_MODEL=deep"
)


Explore = Callable[..., Outcome]


@pytest.fixture
def explore(record_property: Callable[[str, object], None]) -> Explore:
    """Explore, and have the summary say how far that went."""

    def explored(name: str, bounds: Bounds, guards: frozenset[Guard] = ALL) -> Outcome:
        outcome = Explorer(bounds, guards).run()
        found = f": {outcome.violation}" if outcome.violation else ""
        record_property("model", f"{outcome.states:>9,} states  {name}{found}")
        return outcome

    return explored


def story(outcome: Outcome) -> str:
    """A violation and how it comes to it."""
    return "\n".join([outcome.violation, *outcome.trace])


@pytest.mark.parametrize("name", BOUNDS)
def test_the_protocol_holds(name: str, explore: Explore) -> None:
    """No state is bad, and from each one a clean end is reached. The docs tell how many."""
    outcome = explore(name, BOUNDS[name])
    assert outcome.violation == "", story(outcome)
    assert f"| {name} | {outcome.states:,} |" in PAGE.read_text(encoding="utf-8")


@deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", DEEP)
def test_the_protocol_holds_in_larger_worlds(name: str, explore: Explore) -> None:
    """The same."""
    outcome = explore(name, DEEP[name])
    assert outcome.violation == "", story(outcome)


@pytest.mark.parametrize("mutation", CAUGHT, ids=str)
def test_a_missing_guard_is_noticed(mutation: Mutation, explore: Explore) -> None:
    """Each mechanism is there for something that goes wrong without it."""
    outcome = explore(str(mutation), mutation.bounds, ALL - mutation.without)
    assert outcome.violation == mutation.violation, story(outcome)
    assert outcome.trace


@pytest.mark.parametrize("mutation", ABSORBED, ids=str)
def test_another_guard_stands_in(mutation: Mutation, explore: Explore) -> None:
    """These are second lines of defence: each alone may be missing."""
    outcome = explore(str(mutation), mutation.bounds, ALL - mutation.without)
    assert outcome.violation == mutation.violation, story(outcome)


def test_every_guard_has_been_taken_away() -> None:
    """None is there untested."""
    assert set(ALL) == set().union(*(mutation.without for mutation in (*CAUGHT, *ABSORBED)))


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_not_promised(name: str, explore: Explore) -> None:
    """The bounds of the proof, shown by what lies beyond them."""
    bounds, violation = LIMITS[name]
    outcome = explore(name, bounds)
    assert outcome.violation == violation, story(outcome)
