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
from prometheus_client.parser import text_string_to_metric_families

from chunkferry import families
from chunkferry.backlog import Backlog
from chunkferry.errors import MissingExtra, RedisUnavailable
from chunkferry.metrics import exposition, registry, text
from chunkferry.tally import Tally
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


def test_many_uploads_are_looked_at_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What took two seconds is good for eight: Redis has other things to do."""
    clock, read = ManualClock(), list[int]()
    monkeypatch.setattr(time, "monotonic", lambda: clock() / 1000)
    started = clock()

    def backlog() -> Backlog:
        read.append(clock() - started)
        clock.advance(timedelta(seconds=2))
        return MemoryLedger().health.backlog()

    found = registry(backlog)
    for pause in (0, 7900, 100):
        clock.advance(timedelta(milliseconds=pause))
        generate_latest(found)
    assert read == [0, 10_000]


def test_an_outage_is_over_when_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long an answer was waited for in vain, it is asked for again after a second."""
    clock, is_down = ManualClock(), [True]
    monkeypatch.setattr(time, "monotonic", lambda: clock() / 1000)

    def backlog() -> Backlog:
        if is_down.pop():
            clock.advance(timedelta(seconds=5))
            raise RedisUnavailable("Redis does not answer")
        return MemoryLedger().health.backlog()

    found = registry(backlog)
    assert "chunkferry_up 0.0" in exposition(found).decode()
    is_down.append(False)
    clock.advance(timedelta(seconds=1))
    assert "chunkferry_up 1.0" in exposition(found).decode()


def test_a_redis_that_is_away_is_waited_for_once() -> None:
    """A scrape that asks again and again would be given up by Prometheus."""
    asked = list[str]()

    def backlog() -> Backlog:
        asked.append("backlog")
        raise RedisUnavailable("Redis does not answer")

    def totals() -> dict[str, int]:
        asked.append("totals")
        return {}

    answer = exposition(registry(backlog, totals)).decode()
    samples = [line for line in answer.splitlines() if not line.startswith("#")]
    assert (samples, asked) == (["chunkferry_up 0.0"], ["backlog"])


def test_counters_and_histograms_are_what_prometheus_takes_them_for() -> None:
    """Types, suffixes, and the words of their meaning."""
    ledger = MemoryLedger()
    tally = Tally(ledger.totals)
    tally.count(families.STORE_ERRORS, "default", "store_refused", by=3)
    tally.observe(families.PART_SECONDS, 0.7, "default")
    tally.observe(families.PART_SECONDS, 500, "default")
    tally.flush()
    found = {
        family.name: family
        for family in text_string_to_metric_families(
            text(ledger.health.backlog(), ledger.totals.read())
        )
    }
    errors = found["chunkferry_store_errors"]
    assert (errors.type, errors.documentation) == ("counter", families.STORE_ERRORS.help)
    assert [(s.name, s.labels, s.value) for s in errors.samples] == [
        ("chunkferry_store_errors_total", {"service": "default", "code": "store_refused"}, 3)
    ]
    spans = found["chunkferry_part_seconds"]
    assert spans.type == "histogram"
    values = {s.labels.get("le", s.name.rpartition("_")[2]): s.value for s in spans.samples}
    chosen = {name: values[name] for name in ("0.5", "1.0", "120.0", "+Inf", "count", "sum")}
    assert chosen == {"0.5": 0, "1.0": 1, "120.0": 1, "+Inf": 2, "count": 2, "sum": 500.7}


def documented() -> dict[str, set[str]]:
    """The tables of the page: name of a metric, without its suffix -> its labels."""
    rows = re.findall(
        r"^\| `chunkferry_(\w+?)(?:_total)?(?:\{([\w,]+)\})?` \|",
        (DOCS / "metrics.md").read_text(),
        re.MULTILINE,
    )
    return {name: set(filter(None, labels.split(","))) for name, labels in rows}


def names() -> set[str]:
    """Of all metrics."""
    found = registry(MemoryLedger().health.backlog, dict).collect()
    return {family.name.removeprefix("chunkferry_") for family in found}


def test_each_metric_is_documented() -> None:
    """And no other is."""
    assert set(documented()) == names()


def test_labels_are_documented() -> None:
    """Those of all counters and histograms."""
    expected = {family.name: set(family.labels) for family in families.ALL}
    assert {name: documented()[name] for name in expected} == expected


@pytest.mark.parametrize("page", ["deployment.md", "metrics.md"])
def test_rules_use_metrics_that_exist(page: str) -> None:
    """One about a metric that nobody exports would never fire."""
    used = set(re.findall(r"\bchunkferry_([a-z_]+)", (DOCS / page).read_text()))
    bare = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in used}
    assert bare - {"worker"} <= names()
