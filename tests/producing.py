"""A producer's view: a manager over either ledger, a store in memory, and workers on call."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from tests.servers.cluster import RedisCluster
from tests.servers.redis import RedisServer

from chunkferry import ChunkManager, Notifier, UploadStatus, connection
from chunkferry.config import Settings, load
from chunkferry.ledger import RedisLedger
from chunkferry.parts import MIB
from chunkferry.services import ChunkStore, Ledger
from chunkferry.storage import Stores
from chunkferry.testing import ManualClock, MemoryLedger, MemoryStore, RecordingWaker
from chunkferry_worker.drain import Drain
from chunkferry_worker.join import Join

PART = 5 * MIB


class OneStore(Stores):
    """The same store under every configured name."""

    def __init__(self, store: ChunkStore, settings: Settings) -> None:
        super().__init__(settings.services)
        self._store = store

    def __getitem__(self, service: str) -> ChunkStore:
        return self._store


class Site:
    """A manager, and all it takes to have its uploads stored."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self.ledger = ledger
        self.settings = settings
        self.waker = RecordingWaker()
        self.store = MemoryStore()
        self.manager = self.another_manager()

    def another_manager(self, **options: Any) -> ChunkManager:
        """What another process would have."""
        return ChunkManager(settings=self.settings, ledger=self.ledger, waker=self.waker, **options)

    def work(self) -> None:
        """Answer all wake-ups, as workers do, until there is none."""
        stores = OneStore(self.store, self.settings)
        drain = Drain(self.ledger, stores, self.waker, self.settings, worker="w")
        join = Join(self.ledger, stores, self.waker, self.settings)
        while (arrived := self.waker.take()) or self.waker.joins:
            for upload_id in arrived:
                drain.run(upload_id)
            for upload_id in self.waker.take_joins():
                join.run(upload_id)

    def in_background(self, call: Callable[[], object]) -> threading.Thread:
        """Do it beside the test."""
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        return thread

    def stored(self, filepath: str) -> bytes:
        """The object at a path."""
        return self.store.contents[filepath].data


class Trickle(io.BytesIO):
    """A reader of short reads, which raises at its end if told to."""

    def __init__(self, data: bytes, most: int = 1000, error: Exception | None = None) -> None:
        super().__init__(data)
        self._most = most
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        """Fewer bytes than asked for."""
        piece = super().read(min(self._most, size) if size and size > 0 else self._most)
        if not piece and self._error is not None:
            raise self._error
        return piece


class Reader(threading.Thread):
    """Reads a notifier to its end beside the test."""

    def __init__(self, notifier: Notifier) -> None:
        super().__init__(daemon=True)
        self.notifier = notifier
        self.statuses: list[UploadStatus] = []
        self.start()

    def run(self) -> None:
        """Keep all statuses."""
        self.statuses.extend(self.notifier)

    def all(self) -> list[UploadStatus]:
        """The statuses, once the notifier has ended."""
        self.join(timeout=10)
        assert not self.is_alive()
        return self.statuses


def small_parts(**changes: object) -> Settings:
    """Settings with the smallest parts, for a store in memory."""
    services = {"default": "memory://default", "other": "memory://other"}
    return load(chunk_size_limit=PART, services=services, append_wait_seconds=0, **changes)


def redis_site(url: str, **changes: object) -> Site:
    """A site over the Redis at ``url``; close its client with ``close_site``."""
    settings = small_parts(redis_url=url, **changes)
    return Site(RedisLedger(connection.connect(url), settings), settings)


def close_site(site: Site) -> None:
    """Let the connections go."""
    if isinstance(site.ledger, RedisLedger):
        site.ledger.records._waiting.close()
        site.ledger.records._client.close()


class SiteAt(Protocol):
    """The factory behind ``site_at``."""

    def __call__(self, server: RedisServer | RedisCluster | str, **changes: Any) -> Site:
        """One more site over a server, or a URL; ``changes`` are settings."""


@pytest.fixture
def site_at() -> Iterator[SiteAt]:
    """Makes sites that are closed with the test."""
    with contextlib.ExitStack() as stack:

        def make(server: RedisServer | RedisCluster | str, **changes: Any) -> Site:
            site = redis_site(server if isinstance(server, str) else server.url, **changes)
            stack.callback(close_site, site)
            return site

        yield make


def emptied_site(url: str) -> Iterator[Site]:
    """A site over the Redis at ``url``, emptied first."""
    site = redis_site(url)
    assert isinstance(site.ledger, RedisLedger)
    for server in connection.servers(site.ledger.records._client):
        server.flushdb()
    yield site
    close_site(site)


@pytest.fixture
def on_redis(single_url: str) -> Iterator[Site]:
    """A site over the shared Redis, emptied first."""
    yield from emptied_site(single_url)


@pytest.fixture
def on_cluster(cluster_url: str) -> Iterator[Site]:
    """A site over the shared cluster, emptied first."""
    yield from emptied_site(cluster_url)


@pytest.fixture
def in_memory() -> Site:
    """A site without Redis."""
    settings = small_parts()
    return Site(MemoryLedger(settings), settings)


@pytest.fixture
def clock() -> ManualClock:
    """The clock of ``in_time``."""
    return ManualClock()


@pytest.fixture
def in_time(clock: ManualClock) -> Site:
    """A site without Redis whose time the test tells."""
    settings = small_parts()
    return Site(MemoryLedger(settings, clock=clock), settings)


@pytest.fixture(params=["on_redis", "on_cluster", "in_memory"])
def site(request: pytest.FixtureRequest) -> Site:
    """Any site."""
    found: Site = request.getfixturevalue(request.param)
    return found
