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
from functools import partial
from typing import TYPE_CHECKING, Final

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

    def __init__(self, read: Callable[[], Backlog], totals: ReadTotals | None = None) -> None:
        """Read with ``read``, such as ``Ledger.health.backlog``.

        ``totals`` reads what all processes have counted, such as ``Ledger.totals.read``; None to
        leave that out.
        """
        self._read = read
        self._totals = totals
        # Those who come while it is being read wait, and take that answer: a crowd costs Redis
        # no more than one of them.
        self._lock = threading.Lock()
        self._known: tuple[Backlog, Mapping[str, int] | None] | None = None
        self._good_until = 0.0

    def collect(self) -> Iterator[Metric]:
        """All metrics; ``chunkferry_up`` alone, and 0, while they cannot be read."""
        known = self._fresh()
        yield GaugeMetricFamily(
            "chunkferry_up",
            "1 if the Redis of the uploads answered.",
            value=0 if known is None else 1,
        )
        if known is not None:
            backlog, totals = known
            yield from _gauges(backlog)
            if totals is not None:
                yield from map(partial(_counted, totals), families.ALL)

    def _fresh(self) -> tuple[Backlog, Mapping[str, int] | None] | None:
        with self._lock:
            began = time.monotonic()
            if began >= self._good_until:
                self._known = self._asked()
                now = time.monotonic()
                # A failure costs Redis nothing, and is to be over as soon as it is.
                rest = (now - began) * _REST if self._known else 0.0
                self._good_until = now + max(_FRESH, rest)
            return self._known

    def _asked(self) -> tuple[Backlog, Mapping[str, int] | None] | None:
        try:
            # In this order: where Redis does not answer it is waited for only once.
            return self._read(), None if self._totals is None else self._totals()
        except ChunkferryError as exc:
            log.warning(
                "The metrics cannot be read: %s",
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
    found.register(BacklogCollector(read, totals))
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


def _counted(totals: Mapping[str, int], family: families.Family) -> Metric:
    name = f"chunkferry_{family.name}"
    if family.bounds:
        histogram = HistogramMetricFamily(name, family.help, labels=family.labels)
        for labels, found in families.distributions(family, totals):
            buckets = [(_bound(bound), count) for bound, count in found.buckets.items()]
            histogram.add_metric(labels, buckets, found.total)
        return histogram
    counter = CounterMetricFamily(name, family.help, labels=family.labels)
    for labels, count in families.counts(family, totals):
        counter.add_metric(labels, count)
    return counter


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
