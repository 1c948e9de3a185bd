"""The faults of a chaos run: what a seed makes of them, and whether the hard ones happen."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tests.chaos.rewinding import PowerCut
from tests.chaos.schedule import ZOMBIES, Kind, schedule
from tests.servers import faketime
from tests.servers.redis import FreshRedis
from tests.waiting import wait_until

EVERYTHING = frozenset(Kind)


def test_the_same_seed_makes_the_same_faults() -> None:
    """A run can be replayed, and another seed is another run."""
    first = schedule(1, 60, EVERYTHING, lease=2, every=1)
    assert schedule(1, 60, EVERYTHING, lease=2, every=1) == first
    assert schedule(2, 60, EVERYTHING, lease=2, every=1) != first


def test_each_kind_has_its_turn() -> None:
    """No kind of fault is forgotten in a run of some length, and none outside is made."""
    wanted = EVERYTHING - ZOMBIES
    made = schedule(3, len(wanted) * 5, wanted, lease=2, every=1)
    assert {fault.kind for fault in made} == wanted
    assert [fault.at for fault in made] == sorted(fault.at for fault in made)


def test_some_faults_outlast_a_lease() -> None:
    """Freezing for less than a lease alone would never make a zombie."""
    made = schedule(4, 60, frozenset({Kind.STOP_WORKER}), lease=2, every=1)
    assert any(fault.seconds > 2 for fault in made)


def test_clock(tmp_path: Path) -> None:
    """Redis' TIME follows the clock that a test moves, ahead and back."""
    if faketime.library() is None:
        if os.environ.get("CI"):
            pytest.fail("libfaketime is not installed")
        pytest.skip("libfaketime is not installed")
    server = faketime.SkewedRedis(tmp_path / "redis")
    server.start()
    faketime.prove(server)
    server.close()


def test_power_cut(fresh_redis: FreshRedis) -> None:
    """A cut-off Redis has what it wrote long before, and not its newest second."""
    server = fresh_redis(settings={"appendfsync": "everysec"})
    client = server.client()
    power = PowerCut(server)
    client.set("old", "x" * 5000)
    wait_until(lambda: power._lengths and power._lengths[-1].size > 5000)
    then = time.monotonic()
    client.set("new", "x" * 5000)
    wait_until(lambda: power._lengths[-1].size > 10000)
    assert power.kill(time.monotonic() - then) > 5000
    server.start()
    assert (client.exists("old"), client.exists("new")) == (1, 0)
    power.close()
