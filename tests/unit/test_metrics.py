"""The metrics' names: those of the pages that explain them; and the extra that they need."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from chunkferry.errors import MissingExtra
from chunkferry.metrics import registry
from chunkferry.testing import MemoryLedger

DOCS = Path(__file__).parents[2] / "docs"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, instead of the name of a module."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "chunkferry.metrics", raising=False)
    with pytest.raises(MissingExtra, match=r"chunkferry\[metrics\]"):
        importlib.import_module("chunkferry.metrics")


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
