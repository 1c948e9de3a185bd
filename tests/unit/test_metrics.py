"""The metrics' names: those of the pages that explain them; and the extra that they need."""

from __future__ import annotations

import importlib
import re
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from chunkferry.backlog import Backlog
from chunkferry.errors import MissingExtra
from chunkferry.metrics import registry
from chunkferry.testing import ManualClock, MemoryLedger

DOCS = Path(__file__).parents[2] / "docs"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, instead of the name of a module."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "chunkferry.metrics", raising=False)
    with pytest.raises(MissingExtra, match=r"chunkferry\[metrics\]"):
        importlib.import_module("chunkferry.metrics")


def test_a_crowd_costs_no_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who reaches the port can keep Redis busy: an answer serves all for a second."""
    clock, read = ManualClock(), list[int]()
    monkeypatch.setattr(time, "monotonic", lambda: clock() / 1000)
    started = clock()

    def backlog() -> Backlog:
        read.append(clock() - started)
        return MemoryLedger().health.backlog()

    found = registry(backlog)
    for pause in (0, 900, 100):
        clock.advance(timedelta(milliseconds=pause))
        generate_latest(found)
    assert read == [0, 1000]


def names() -> set[str]:
    """Of all metrics."""
    return {family.name for family in registry(MemoryLedger().health.backlog).collect()}


def test_each_metric_is_documented() -> None:
    """And no other is."""
    table = re.findall(r"^\| `(chunkferry_\w+)", (DOCS / "cli.md").read_text(), re.MULTILINE)
    assert set(table) == names()


def test_alerts_use_metrics_that_exist() -> None:
    """A rule about a metric that nobody exports would never fire."""
    used = set(re.findall(r"chunkferry_[a-z_]+", (DOCS / "deployment.md").read_text()))
    assert used - {"chunkferry_worker"} <= names()
