"""What goes wrong when: a list of faults that follows from a seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """All that a chaos run does to a deployment."""

    KILL_WORKER = "worker killed"
    KILL_CHILD = "pool child killed"
    STOP_WORKER = "worker frozen"
    STOP_CHILD = "pool child frozen"
    KILL_BEAT = "beat killed"
    STOP_BEAT = "beat frozen"
    KILL_PRODUCER = "producer killed"
    STOP_PRODUCER = "producer frozen"
    KILL_REDIS = "Redis killed"
    KILL_BROKER = "broker killed"
    RESET_REDIS = "Redis connections reset"
    RESET_REDIS_LATER = "Redis connection reset amid bytes"
    HOLE_REDIS = "Redis black-holed"
    SLOW_REDIS = "Redis slowed"
    RESET_BROKER = "broker connections reset"
    HOLE_BROKER = "broker black-holed"
    DROP_WAKEUPS = "wake-ups dropped"
    DOUBLE_WAKEUPS = "wake-ups doubled"
    JUMP_CLOCK = "Redis' clock moved"
    STORE_500 = "store answers 500"
    STORE_503 = "store answers 503"
    STORE_STALL = "store stalls"
    STORE_RESET = "store resets"
    STORE_LOSE = "store's answer lost"
    STORE_SLOW = "store slowed"


#: Faults after which a former holder may wake up late: two may then be at work at once.
ZOMBIES: Final = frozenset(
    {
        Kind.STOP_WORKER,
        Kind.STOP_CHILD,
        Kind.HOLE_REDIS,
        Kind.SLOW_REDIS,
        Kind.JUMP_CLOCK,
        Kind.STORE_STALL,
        Kind.STORE_SLOW,
    }
)
#: Faults of a store that is reached over HTTP.
STORE: Final = frozenset(kind for kind in Kind if kind.name.startswith("STORE_"))

#: Kinds that come more often than others: they meet a holder only now and then.
_OFTEN: Final = {
    Kind.KILL_WORKER: 2,
    Kind.KILL_CHILD: 3,
    Kind.STOP_CHILD: 3,
    Kind.KILL_PRODUCER: 2,
    Kind.KILL_REDIS: 3,
}

#: Requests that a fault of the store may be meant for; "": any.
_OPERATIONS: Final = ("", "PUT partNumber", "POST uploads", "POST uploadId", "HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault."""

    #: Seconds after the begin of the round.
    at: float
    kind: Kind
    #: Which worker, child or producer, modulo how many there are.
    target: int
    #: How long it lasts, in seconds.
    seconds: float
    #: From 0 to 1: how bad it is; what that means depends on the kind.
    badness: float
    #: Requests that it hits.
    count: int
    operation: str


def schedule(
    seed: int, seconds: float, kinds: frozenset[Kind], *, lease: float, every: float
) -> list[Fault]:
    """Faults for a round of ``seconds``: one every ``every`` seconds, each kind in its turn.

    The kinds are dealt like cards, so that a short round has met nearly all of them.
    """
    dice, found, cards = random.Random(f"faults/{seed}"), list[Fault](), list[Kind]()
    at = every
    while at < seconds:
        if not cards:
            cards = [kind for kind in sorted(kinds) for _ in range(_OFTEN.get(kind, 1))]
            dice.shuffle(cards)
        found.append(
            Fault(
                at=at,
                kind=cards.pop(),
                target=dice.randrange(1 << 16),
                seconds=dice.uniform(0.3, 2.0) * lease,
                badness=dice.random(),
                count=dice.randint(1, 6),
                operation=dice.choice(_OPERATIONS),
            )
        )
        at += dice.uniform(0.4, 1.6) * every
    return found
