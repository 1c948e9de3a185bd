"""The tally: nothing is counted twice or lost on the way, and nobody is kept waiting by it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Mapping

import pytest
from tests.waiting import wait_until

from chunkferry import families, tally
from chunkferry.errors import RedisUnavailable
from chunkferry.tally import Tally
from chunkferry.testing.totals import MemoryTotals


class FlakyTotals(MemoryTotals):
    """Totals that cannot be reached for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.tries = 0

    def add(self, counts: Mapping[str, int]) -> None:
        self.tries += 1
        if self.is_down:
            raise RedisUnavailable("Redis does not answer: ConnectionError")
        super().add(counts)


def test_what_is_counted_is_told_at_once_when_asked() -> None:
    """With all labels; nothing is told twice."""
    totals = MemoryTotals()
    counting = Tally(totals)
    counting.count(families.TAKEOVERS)
    counting.count(families.BYTES_STORED, "default", by=5)
    counting.count(families.BYTES_STORED, "default", by=7)
    counting.observe(families.PART_SECONDS, 0.2, "default")
    counting.flush()
    counting.flush()
    assert totals.read() == {
        "lease_takeovers": 1,
        "bytes_stored|default": 12,
        "part_seconds|default|0.25": 1,
        "part_seconds|default|sum": 200_000,
    }


def test_nothing_counted_is_nothing_told() -> None:
    """Neither by a count of none, nor by a flush without any."""
    totals = FlakyTotals()
    counting = Tally(totals)
    counting.count(families.SESSIONS_REAPED, by=0)
    counting.flush()
    assert (totals.read(), totals.tries) == ({}, 0)


def test_whoever_then_has_nothing_to_do_is_heard_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment, and again after the next count."""
    monkeypatch.setattr(tally, "_DELAY", 0.01)
    totals = MemoryTotals()
    counting = Tally(totals)
    for expected in (1, 2):
        counting.count(families.SWEEPS)
        wait_until(lambda expected=expected: totals.read() == {"sweeps": expected})  # type: ignore[misc]  # a default binds it


def test_an_outage_costs_no_count_and_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried once; the next try comes later, with everything."""
    totals = FlakyTotals()
    totals.is_down = True
    counting = Tally(totals)
    for _ in range(3):
        counting.count(families.SWEEPS)
        counting.flush()
    assert totals.tries == 1
    totals.is_down = False
    monkeypatch.setattr(counting, "_silent_until", 0.0)
    counting.flush()
    assert totals.read() == {"sweeps": 3}


def test_threads_count_together() -> None:
    """Also while it is told."""
    totals = MemoryTotals()
    counting = Tally(totals)

    def work() -> None:
        for number in range(500):
            counting.count(families.SWEEPS)
            if number % 50 == 0:
                counting.flush()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counting.flush()
    assert totals.read() == {"sweeps": 2000}


def test_a_forked_process_tells_only_its_own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of its parent are the parent's to tell; else both would."""
    totals = MemoryTotals()
    counting = Tally(totals)
    counting.count(families.SWEEPS, by=100)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    counting.count(families.SWEEPS)
    counting.flush()
    assert totals.read() == {"sweeps": 1}


def test_a_process_that_ends_tells_what_it_has_counted() -> None:
    """A command that is over in a moment counts like any other."""
    program = """
        from chunkferry import families
        from chunkferry.tally import Tally

        class Shown:
            def add(self, counts): print(counts)
            def read(self): return {}

        shown = Tally(Shown())
        shown.count(families.SWEEPS)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "Counter({'sweeps': 1})\n"
