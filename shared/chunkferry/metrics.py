"""The backlog as Prometheus metrics, for any registry: a command's, or a front door's.

Importing this needs the extra ``metrics``. It knows nothing of Redis: whoever mounts it brings what
reads the backlog, which is asked when somebody scrapes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from chunkferry.errors import ChunkferryError, ConfigError, MissingExtra

try:
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector
except ModuleNotFoundError as exc:
    raise MissingExtra("metrics", "metrics") from exc

if TYPE_CHECKING:
    from chunkferry.backlog import Backlog

log = logging.getLogger(__name__)

#: For so many seconds an answer serves all who ask: the uploads are looked at one by one for it.
_FRESH: Final = 1.0


class BacklogCollector(Collector):
    """Reads the backlog for whoever scrapes, once a second at most. Thread-safe."""

    def __init__(self, read: Callable[[], Backlog]) -> None:
        """Read with ``read``, such as ``Ledger.health.backlog``."""
        self._read = read
        self._lock = threading.Lock()
        self._known: Backlog | None = None
        self._good_until = 0.0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All metrics; ``chunkferry_up`` alone, and 0, while the backlog cannot be read."""
        backlog = self._backlog()
        yield GaugeMetricFamily(
            "chunkferry_up",
            "1 if the Redis of the uploads answered.",
            value=0 if backlog is None else 1,
        )
        if backlog is not None:
            yield from _families(backlog)

    def _backlog(self) -> Backlog | None:
        # Those who come while it is being read wait, and take that answer: a crowd costs Redis no
        # more than one of them.
        with self._lock:
            if time.monotonic() >= self._good_until:
                self._known = self._asked()
                self._good_until = time.monotonic() + _FRESH
            return self._known

    def _asked(self) -> Backlog | None:
        try:
            return self._read()
        except ChunkferryError as exc:
            log.warning(
                "The backlog cannot be read: %s", exc, extra={"action": "scrape", "error": exc.code}
            )
            return None


def registry(read: Callable[[], Backlog]) -> CollectorRegistry:
    """A registry with the metrics of the backlog that ``read`` reads, and no others."""
    found = CollectorRegistry()
    found.register(BacklogCollector(read))
    return found


def text(backlog: Backlog) -> str:
    """The metrics of one backlog in Prometheus' text format."""
    return generate_latest(registry(lambda: backlog)).decode()


@contextmanager
def serving(read: Callable[[], Backlog], host: str, port: int) -> Iterator[int]:
    """Serve the metrics by HTTP from a thread; yields the port, also where it was 0 for any.

    Raises:
        ConfigError: nobody can listen there.
    """
    try:
        server, thread = start_http_server(port, host, registry(read))
    except OSError as exc:
        raise ConfigError(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _families(backlog: Backlog) -> Iterator[GaugeMetricFamily]:
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
