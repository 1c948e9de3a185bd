"""How soon work begins, and how many small appends a producer makes per second."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

from bench import noting
from bench.deployment import NOTED, Deployment

from chunkferry import ChunkManager
from chunkferry.parts import KIB
from chunkferry.services import Waker
from chunkferry.wakeup import CeleryWaker, producer_app

#: Longest wait for one upload to end, in seconds.
_TIMEOUT = 60.0
_PIECE = 64 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Milliseconds from a byte's acceptance to the call of ``upload_part``."""

    #: Bytes of each file.
    size: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Appends:
    """Appends of 64 KiB per second, all threads together."""

    threads: int
    per_second: float


class _TimedWaker:
    """Sends wake-ups through Celery, and knows when it was asked to: right after acceptance."""

    def __init__(self, inner: Waker) -> None:
        self._inner = inner
        self.moments: dict[str, float] = {}

    def wake(self, upload_id: str) -> bool:
        """Note the moment, then wake."""
        self.moments.setdefault(upload_id, time.monotonic())
        return self._inner.wake(upload_id)

    def join(self, upload_id: str) -> bool:
        """Send the request on."""
        return self._inner.join(upload_id)


def delays(deployment: Deployment, size: int, count: int) -> Delays:
    """Send ``count`` files of ``size`` bytes, one after the other, to a store that takes note."""
    settings = deployment.manager(NOTED).settings
    waker = _TimedWaker(CeleryWaker(producer_app(settings.broker)))
    manager = ChunkManager(settings=settings, service=NOTED, waker=waker)
    data = bytes(size)
    for i in range(count):
        upload = manager.create(f"delay/{size}/{i}", size)
        manager.append(upload.upload_id, 0, data)
        manager.watch(upload.upload_id).wait(_TIMEOUT)
    arrived = noting.moments(deployment.journal)
    found = [(arrived[name] - at) * 1000 for name, at in waker.moments.items()]
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    return Delays(size=size, p50=cuts[49], p99=cuts[98])


def appends(deployment: Deployment, threads: int, count: int) -> Appends:
    """Append ``count`` pieces of 64 KiB in each of ``threads``, to an upload of its own."""
    manager = deployment.manager(NOTED)
    uploads = [manager.create(f"appends/{threads}/{i}").upload_id for i in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        began = time.monotonic()
        list(pool.map(_append, repeat(manager), uploads, repeat(count)))
        seconds = time.monotonic() - began
    for upload_id in uploads:
        manager.cancel(upload_id)
    return Appends(threads=threads, per_second=threads * count / seconds)


def _append(manager: ChunkManager, upload_id: str, count: int) -> None:
    data = bytes(_PIECE)
    for i in range(count):
        manager.append(upload_id, i * _PIECE, data)
