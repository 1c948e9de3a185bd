"""How much of the world is explored, and which guards of the protocol are in force."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Guard(StrEnum):
    """A mechanism of the protocol that can be taken away, to see what it is good for."""

    COMMIT_FENCE = "commit compares the nonce"
    COMMIT_START = "commit compares what is stored"
    COMMIT_RECEIVED = "commit refuses bytes that Redis does not know"
    COMMIT_SESSION = "commit compares the session"
    FINISH_FENCE = "finish compares the nonce"
    FINISH_STATE = "finish compares the state"
    RELEASE_LOOKS = "release looks for work once more"
    SWEEP = "the sweep looks at what is due"
    EXPIRY_SPARES_HELD = "nothing expires while it is held"
    EXPIRY_SPARES_WORK = "nothing expires while bytes wait to be stored"
    GRAVES = "ended uploads are looked after"
    ADOPT = "an object with our id is proof of completion"
    REAP_ASKS = "a reap asks after it has listed"
    DIRECTION = "begin_complete fixes the direction"
    CLEANUP_ASKS = "a cleanup asks after it has listed"
    PUT_DIRECTION = "the direction is fixed before a whole object is put"
    PUT_ABSENT = "a whole object is put only where there is none"
    BEGIN_TELLS = "begin_complete tells removing from having gone back"
    READER_DOUBTS = "bytes that Redis forgot are no damage"
    LOSER_ABORTS = "a session that was not recorded is removed by its maker"


ALL: Final = frozenset(Guard)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """One configuration."""

    #: Parts of each upload; the last one is short, so it waits until the length is known.
    parts: int = 2
    workers: int = 2
    #: To the same path, one after another.
    uploads: int = 1
    #: Kills, expired leases of living holders, lost and doubled wake-ups, store errors, silence.
    faults: int = 1
    cancels: int = 1
    requeues: int = 0
    #: Redis comes back as it was at an earlier moment.
    rollbacks: int = 0
    #: False: ``set_length`` comes after the last byte.
    length_known: bool = True
    #: The store answers errors, before or after the effect; Redis goes away for a moment.
    errors: bool = False
    #: The store refuses for good.
    refusals: bool = False
    #: A turn may end after each part.
    slices: bool = False
    #: Workers that may die before the upload is failed; 0: not counted.
    max_deaths: int = 0
    #: Small objects are put in one conditional request.
    whole: bool = False
    #: An object of the same bytes as the second upload's is there from the beginning.
    occupied: bool = False
    #: A worker may sleep until after its upload's grave was looked at.
    long_sleeps: bool = False
