"""The states of an upload and the moves between them: one table, pure data.

The Lua scripts and the diagram in ``docs/protocol.md`` are held against this table by a test.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where an upload stands."""

    RECEIVING = "receiving"  #: takes data
    RECEIVED = "received"  #: all bytes are accepted, not all are stored
    COMPLETING = "completing"  #: the object is being put together at the store
    COMPLETE = "complete"  #: the object is in the store and verified
    FAILED = "failed"  #: given up for now: kept, visible, can be requeued
    ABORTING = "aborting"  #: what it left at the store is being removed
    EXPIRED = "expired"  #: removed after its producer's silence
    CANCELLED = "cancelled"  #: removed on request


class Move(StrEnum):
    """What can happen to an upload; each is one Lua script of the same name."""

    ACCEPT = "accept"
    SET_LENGTH = "set_length"
    BEGIN_COMPLETE = "begin_complete"
    FINISH = "finish"
    FAIL = "fail"
    DEFER = "defer"
    ACQUIRE = "acquire"
    GIVE_UP = "give_up"
    CANCEL = "cancel"
    ROUSE = "rouse"
    REQUEUE = "requeue"


_S = State

#: (state, move) -> the states it may lead to. A pair that is not here is refused.
TRANSITIONS: Final = MappingProxyType(
    {
        (_S.RECEIVING, Move.ACCEPT): frozenset({_S.RECEIVING, _S.RECEIVED}),
        (_S.RECEIVING, Move.SET_LENGTH): frozenset({_S.RECEIVING, _S.RECEIVED}),
        (_S.RECEIVED, Move.BEGIN_COMPLETE): frozenset({_S.COMPLETING}),
        (_S.COMPLETING, Move.BEGIN_COMPLETE): frozenset({_S.COMPLETING}),
        # The worker has seen the object with the upload's id in the store: it is complete,
        # whatever Redis remembers ("adopt").
        (_S.RECEIVING, Move.FINISH): frozenset({_S.COMPLETE}),
        (_S.RECEIVED, Move.FINISH): frozenset({_S.COMPLETE}),
        (_S.COMPLETING, Move.FINISH): frozenset({_S.COMPLETE}),
        (_S.ABORTING, Move.FINISH): frozenset({_S.EXPIRED, _S.CANCELLED, _S.COMPLETE}),
        (_S.RECEIVING, Move.FAIL): frozenset({_S.FAILED}),
        # What it is to be joined from is not to be had.
        (_S.RECEIVING, Move.GIVE_UP): frozenset({_S.FAILED}),
        (_S.RECEIVED, Move.FAIL): frozenset({_S.FAILED}),
        (_S.COMPLETING, Move.FAIL): frozenset({_S.FAILED}),
        # Retried later, until the attempts are used up.
        (_S.RECEIVING, Move.DEFER): frozenset({_S.RECEIVING, _S.FAILED}),
        (_S.RECEIVED, Move.DEFER): frozenset({_S.RECEIVED, _S.FAILED}),
        (_S.COMPLETING, Move.DEFER): frozenset({_S.COMPLETING, _S.FAILED}),
        (_S.ABORTING, Move.DEFER): frozenset({_S.ABORTING}),
        # Taking the lease is what finds out that every earlier holder died.
        (_S.RECEIVING, Move.ACQUIRE): frozenset({_S.RECEIVING, _S.FAILED}),
        (_S.RECEIVED, Move.ACQUIRE): frozenset({_S.RECEIVED, _S.FAILED}),
        (_S.COMPLETING, Move.ACQUIRE): frozenset({_S.COMPLETING, _S.FAILED}),
        (_S.ABORTING, Move.ACQUIRE): frozenset({_S.ABORTING}),
        (_S.RECEIVING, Move.CANCEL): frozenset({_S.ABORTING}),
        (_S.RECEIVED, Move.CANCEL): frozenset({_S.ABORTING}),
        (_S.FAILED, Move.CANCEL): frozenset({_S.ABORTING}),
        (_S.RECEIVING, Move.ROUSE): frozenset({_S.RECEIVING, _S.ABORTING}),
        (_S.RECEIVED, Move.ROUSE): frozenset({_S.RECEIVED}),
        (_S.COMPLETING, Move.ROUSE): frozenset({_S.COMPLETING}),
        (_S.ABORTING, Move.ROUSE): frozenset({_S.ABORTING}),
        (_S.FAILED, Move.ROUSE): frozenset({_S.FAILED, _S.ABORTING}),
        (_S.FAILED, Move.REQUEUE): frozenset({_S.RECEIVING, _S.RECEIVED}),
    }
)

#: States that nothing leaves; the record vanishes after ``result_ttl``.
TERMINAL: Final = frozenset({_S.COMPLETE, _S.EXPIRED, _S.CANCELLED})
#: States of an upload of which nothing stays at its store.
REMOVED: Final = frozenset({_S.ABORTING, _S.EXPIRED, _S.CANCELLED})
