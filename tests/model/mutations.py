"""What each guard is good for: worlds without it, and what then goes wrong.

A guard that another one stands in for is taken away alone, to show that it is absorbed, and
together with the other, to show that it is not needless.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.model.bounds import Bounds, Guard

_WHOLE: Final = Bounds(parts=1, whole=True)
_FAILOVER: Final = Bounds(faults=0, cancels=0, rollbacks=1)
_NEXT: Final = Bounds(parts=1, uploads=2)

_LOST_WORK: Final = "work waits, without a wake-up and without a holder"
_STUCK: Final = "from here nothing leads to a clean end"
_VISIBLE: Final = "an upload was removed, and its object is visible"
_DAMAGED: Final = "an upload was given up because something of it was lost"
_ROBBED: Final = "the session of a living upload was removed"
_THROWN_AWAY: Final = "bytes that waited to be stored were thrown away for silence"


@dataclass(frozen=True)
class Mutation:
    """A protocol without some guards."""

    without: frozenset[Guard]
    bounds: Bounds
    #: What goes wrong; empty if nothing does.
    violation: str

    def __str__(self) -> str:
        names = " and ".join(sorted(guard.name.lower() for guard in self.without))
        return f"{names}{'' if self.violation else ' (absorbed)'}"


def _without(*guards: Guard, bounds: Bounds | None = None, violation: str = "") -> Mutation:
    return Mutation(frozenset(guards), bounds or Bounds(), violation)


#: What the tests must see.
CAUGHT: Final = (
    _without(Guard.COMMIT_FENCE, violation="a worker committed in the epoch of another"),
    _without(Guard.COMMIT_FENCE, Guard.COMMIT_START, violation=_DAMAGED),
    _without(Guard.FINISH_FENCE, violation="an upload was ended by a worker that does not hold it"),
    _without(
        Guard.FINISH_FENCE,
        Guard.FINISH_STATE,
        violation="finish: cancelled -> cancelled is not in the table",
    ),
    _without(Guard.RELEASE_LOOKS, bounds=Bounds(faults=0, cancels=0), violation=_LOST_WORK),
    _without(Guard.SWEEP, bounds=Bounds(cancels=0), violation=_STUCK),
    _without(
        Guard.EXPIRY_SPARES_WORK,
        bounds=Bounds(faults=2, cancels=0),
        violation=_THROWN_AWAY,
    ),
    _without(Guard.EXPIRY_SPARES_HELD, Guard.EXPIRY_SPARES_WORK, violation=_THROWN_AWAY),
    _without(Guard.GRAVES, violation=_STUCK),
    _without(Guard.ADOPT, bounds=Bounds(faults=0, rollbacks=1), violation=_VISIBLE),
    _without(Guard.REAP_ASKS, bounds=_NEXT, violation=_ROBBED),
    _without(Guard.CLEANUP_ASKS, bounds=_NEXT, violation=_ROBBED),
    _without(Guard.DIRECTION, bounds=_WHOLE, violation=_VISIBLE),
    _without(Guard.DIRECTION, Guard.ADOPT, violation=_VISIBLE),
    _without(Guard.PUT_DIRECTION, bounds=_WHOLE, violation=_VISIBLE),
    _without(
        Guard.PUT_ABSENT,
        bounds=Bounds(parts=1, whole=True, uploads=2, occupied=True, cancels=0),
        violation="an upload is complete, and its object is not there",
    ),
    _without(
        Guard.BEGIN_TELLS,
        bounds=Bounds(parts=3, faults=0, cancels=0, rollbacks=1),
        violation=_DAMAGED,
    ),
    _without(Guard.READER_DOUBTS, bounds=_FAILOVER, violation=_DAMAGED),
    _without(Guard.COMMIT_SESSION, bounds=_FAILOVER, violation=_DAMAGED),
    _without(Guard.LOSER_ABORTS, bounds=Bounds(parts=1, long_sleeps=True), violation=_STUCK),
)

#: What others stand in for.
ABSORBED: Final = (
    # Messages that get through are enough: the sweep is there for those that do not.
    _without(Guard.SWEEP, bounds=Bounds(faults=0)),
    # No two parts begin at the same byte, and whoever sends one sends the same bytes.
    _without(Guard.COMMIT_START),
    # A commit that Redis has forgotten the beginning of fails on that already.
    _without(Guard.COMMIT_RECEIVED, bounds=_FAILOVER),
    _without(Guard.FINISH_STATE),
    # A holder is always storing what waits, and work never expires.
    _without(Guard.EXPIRY_SPARES_HELD),
    # The worker that cleans up sees the object: adopt.
    _without(Guard.DIRECTION),
    # Nothing but a failover or a refusal leads from completing to removing.
    _without(Guard.ADOPT),
)
