"""The table of states and moves."""

from __future__ import annotations

import pytest

from chunkferry import lua
from chunkferry.state import TERMINAL, TRANSITIONS, Move, State

living = pytest.mark.parametrize("state", sorted(set(State) - TERMINAL))


def reachable(start: State) -> set[State]:
    """All states that some moves lead to."""
    found, fresh = {start}, {start}
    while fresh:
        fresh = {
            end for (state, _), ends in TRANSITIONS.items() if state in fresh for end in ends
        } - found
        found |= fresh
    return found


def test_every_state_can_be_reached() -> None:
    """From where uploads begin."""
    assert reachable(State.RECEIVING) == set(State)


@living
def test_no_state_is_a_trap(state: State) -> None:
    """Whatever has not ended can end."""
    assert reachable(state) & TERMINAL


def test_nothing_leaves_a_terminal_state() -> None:
    """What has ended stays so."""
    assert [state for state, _ in TRANSITIONS if state in TERMINAL] == []


def test_every_move_is_a_script() -> None:
    """Of the same name."""
    assert {move.value for move in Move} <= set(lua.names())


def test_a_direction_once_fixed_stays() -> None:
    """Completing never turns into removing, nor removing into storing."""
    completing = [ends for (start, _), ends in TRANSITIONS.items() if start is State.COMPLETING]
    assert State.ABORTING not in set().union(*completing)
    assert reachable(State.ABORTING) == {State.ABORTING, *TERMINAL}


def test_only_silence_or_failure_expires() -> None:
    """Bytes that are all received are ours to store."""
    expiring = {
        start
        for (start, move), ends in TRANSITIONS.items()
        if move is Move.ROUSE and State.ABORTING in ends - {start}
    }
    assert expiring == {State.RECEIVING, State.FAILED}


@living
def test_every_living_upload_can_be_roused(state: State) -> None:
    """None of them can be forgotten by the sweep."""
    assert (state, Move.ROUSE) in TRANSITIONS
