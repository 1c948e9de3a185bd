"""Backlog and totals as Prometheus metrics, for any registry: a command's, or a front door's.

Importing this needs the extra ``metrics``. It knows nothing of Redis: whoever mounts it brings
what reads them, which is asked when somebody scrapes.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from chunkferry import families
from chunkferry.errors import ChunkferryError, ConfigError, MissingExtra

try:
    from prometheus_client import (
        CONTENT_TYPE_LATEST,
        CollectorRegistry,
        generate_latest,
        start_http_server,
    )
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ModuleNotFoundError as exc:
    raise MissingExtra("metrics", "metrics") from exc

if TYPE_CHECKING:
    from chunkferry.backlog import Backlog

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: For so many seconds an answer serves all who ask.
_FRESH: Final = 1.0
#: And for so many times as long as it took: many uploads, which are looked at one by one, cost
#: Redis a fifth of its time at most.
_REST: Final = 4.0

#: Of Prometheus' text format.
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

#: Reads all fields of the totals, such as ``Totals.read``.
ReadTotals = Callable[[], Mapping[str, int]]


class BacklogCollector(Collector):
    """Reads the backlog for whoever scrapes, once a second at most. Thread-safe."""

    def __init__(self, read: Callable[[], Backlog]) -> None:
        """Read with ``read``, such as ``Ledger.health.backlog``."""
        self._answer = _Answer(read, "The backlog")

    def collect(self) -> Iterator[Metric]:
        """All metrics; ``chunkferry_up`` alone, and 0, while the backlog cannot be read."""
        backlog = self._answer.get()
        yield GaugeMetricFamily(
            "chunkferry_up",
            "1 if the Redis of the uploads answered.",
            value=0 if backlog is None else 1,
        )
        if backlog is not None:
            yield from _gauges(backlog)


class TotalsCollector(Collector):
    """Reads what all processes have counted, once a second at most. Thread-safe."""

    def __init__(self, read: ReadTotals) -> None:
        """Read with ``read``, such as ``Ledger.totals.read``."""
        self._answer = _Answer(read, "What was counted")

    def collect(self) -> Iterator[Metric]:
        """All counters and histograms; none while they cannot be read."""
        totals = self._answer.get()
        if totals is not None:
            for family in families.ALL:
                yield _histogram(family, totals) if family.bounds else _counter(family, totals)


class _Answer(Generic[_T]):
    """What a question was answered last, which is good for a while."""

    def __init__(self, ask: Callable[[], _T], what: str) -> None:
        self._ask = ask
        self._what = what
        self._lock = threading.Lock()
        self._known: _T | None = None
        self._good_until = 0.0

    def get(self) -> _T | None:
        """The answer; None if there is none."""
        # Those who come while it is being asked wait, and take that answer: a crowd costs Redis
        # no more than one of them.
        with self._lock:
            began = time.monotonic()
            if began >= self._good_until:
                self._known = self._asked()
                now = time.monotonic()
                self._good_until = now + max(_FRESH, (now - began) * _REST)
            return self._known

    def _asked(self) -> _T | None:
        try:
            return self._ask()
        except ChunkferryError as exc:
            log.warning(
                "%s cannot be read: %s",
                self._what,
                exc,
                extra={"action": "scrape", "error": exc.code},
            )
            return None


def registry(read: Callable[[], Backlog], totals: ReadTotals | None = None) -> CollectorRegistry:
    """A registry with these metrics, and no others.

    Args:
        read: reads the backlog, such as ``Ledger.health.backlog``.
        totals: reads what was counted, such as ``Ledger.totals.read``; None to leave it out.
    """
    found = CollectorRegistry()
    found.register(BacklogCollector(read))
    if totals is not None:
        found.register(TotalsCollector(totals))
    return found


def text(backlog: Backlog, totals: Mapping[str, int] | None = None) -> str:
    """The metrics of one moment in Prometheus' text format."""
    read = None if totals is None else lambda: totals
    return exposition(registry(lambda: backlog, read)).decode()


def exposition(found: CollectorRegistry) -> bytes:
    """The metrics of a registry in Prometheus' text format, which is of ``CONTENT_TYPE``."""
    return generate_latest(found)


@contextmanager
def serving(
    read: Callable[[], Backlog], host: str, port: int, *, totals: ReadTotals | None = None
) -> Iterator[int]:
    """Serve the metrics by HTTP from a thread; yields the port, also where it was 0 for any.

    Raises:
        ConfigError: nobody can listen there.
    """
    try:
        server, thread = start_http_server(port, host, registry(read, totals))
    except OSError as exc:
        raise ConfigError(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _counter(family: families.Family, totals: Mapping[str, int]) -> Metric:
    metric = CounterMetricFamily(f"chunkferry_{family.name}", family.help, labels=family.labels)
    for labels, count in families.counts(family, totals):
        metric.add_metric(labels, count)
    return metric


def _histogram(family: families.Family, totals: Mapping[str, int]) -> Metric:
    metric = HistogramMetricFamily(f"chunkferry_{family.name}", family.help, labels=family.labels)
    for labels, found in families.distributions(family, totals):
        buckets = [(_bound(bound), count) for bound, count in found.buckets.items()]
        metric.add_metric(labels, buckets, found.total)
    return metric


def _bound(seconds: float) -> str:
    return "+Inf" if math.isinf(seconds) else str(float(seconds))


def _gauges(backlog: Backlog) -> Iterator[Metric]:
    uploads = GaugeMetricFamily(
        "chunkferry_uploads", "Uploads that have not ended, by state.", labels=["state"]
    )
    for state, count in backlog.uploads.items():
        uploads.add_metric([state.value], count)
    yield uploads
    failed = GaugeMetricFamily(
        "chunkferry_failed_uploads", "Failed uploads, by the code of their error.", labels=["code"]
    )
    for code, count in backlog.failed.items():
        failed.add_metric([code], count)
    yield failed
    for name, (help_text, value) in _values(backlog).items():
        yield GaugeMetricFamily(f"chunkferry_{name}", help_text, value=value)


def _values(backlog: Backlog) -> dict[str, tuple[str, float]]:
    """Name without its prefix -> what it means, and how it stands."""
    return {
        "received_bytes": ("Accepted bytes of uploads that have not ended.", backlog.received),
        "stored_bytes": ("Of these, bytes in the stores.", backlog.stored),
        "backlog_bytes": ("Of these, bytes that wait in Redis.", backlog.buffered),
        "failed_bytes": ("Of these, bytes that failed uploads keep.", backlog.failed_bytes),
        "oldest_due_seconds": (
            "How long the most overdue upload should have been looked at by a sweep.",
            backlog.oldest_due,
        ),
        "waiting_uploads": ("Uploads with work that no worker holds.", backlog.waiting),
        "unanswered_wakeups": (
            "Of these, uploads whose wake-up no worker answered within CHUNKFERRY_REWAKE_SECONDS.",
            backlog.unanswered,
        ),
        "longest_wait_seconds": (
            "How long the upload that waits longest has had work that no worker took.",
            backlog.longest_wait,
        ),
        "leases": ("Uploads that a worker holds.", backlog.leases),
    }
