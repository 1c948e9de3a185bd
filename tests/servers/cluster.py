"""A real Redis Cluster for tests: three primaries, one shared by the session and fresh ones."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from tests.servers.redis import RedisServer
from tests.waiting import wait_until

from chunkferry_worker.embedded_redis import _free_port

NODES = 3
SLOTS = 16384


class RedisCluster:
    """Three servers that share the slots; each can be killed and started again."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """Describe them; ``settings`` are further lines of their configuration."""
        password = secrets.token_urlsafe(16)
        self.nodes = [
            RedisServer(
                folder / f"node{number}",
                settings={
                    "cluster-enabled": "yes",
                    "cluster-node-timeout": "2000",
                    # The usual one, 10000 above, may be no port at all.
                    "cluster-port": str(_free_port()),
                    **(settings or {}),
                },
            )
            for number in range(NODES)
        ]
        for node in self.nodes:
            node.password = password

    @property
    def url(self) -> str:
        """Where it is."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis+cluster://:{self.nodes[0].password}@{hosts}"

    def start(self) -> None:
        """Start the servers and make them a cluster."""
        for node in self.nodes:
            node.start()
        first, *others = self.nodes
        for number, node in enumerate(self.nodes):
            start, end = (SLOTS * n // NODES for n in (number, number + 1))
            self._order(node, "CLUSTER SET-CONFIG-EPOCH", number + 1)
            self._order(node, "CLUSTER ADDSLOTSRANGE", start, end - 1)
        for node in others:
            bus = node.client().config_get("cluster-port")["cluster-port"]
            self._order(first, "CLUSTER MEET", "127.0.0.1", node.port, bus)
        self.await_ready()

    def await_ready(self) -> None:
        """Wait until every server knows that all slots are served."""
        wait_until(
            lambda: all(self._is_ready(node) for node in self.nodes), 60, what="a whole cluster"
        )

    def hand_over(self, giver: RedisServer, taker: RedisServer) -> None:
        """Give all slots of an empty server to another one."""
        number = self.nodes.index(giver)
        start, end = (SLOTS * n // NODES for n in (number, number + 1))
        for node in self.nodes:
            self._order(node, "CLUSTER DELSLOTSRANGE", start, end - 1)
        self._order(taker, "CLUSTER ADDSLOTSRANGE", start, end - 1)
        self.await_ready()

    def empty(self) -> None:
        """Remove all keys."""
        for node in self.nodes:
            node.client().flushall()

    def owner(self, key: str) -> RedisServer:
        """The server that has ``key`` by the first distribution."""
        slot = int(self.nodes[0].client().execute_command("CLUSTER KEYSLOT", key))  # type: ignore[no-untyped-call]  # redis-py
        return next(n for i, n in enumerate(self.nodes) if slot < SLOTS * (i + 1) // NODES)

    def close(self) -> None:
        """End all servers for good."""
        for node in self.nodes:
            node.close()

    def _is_ready(self, node: RedisServer) -> bool:
        found = node.client().execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]  # redis-py
        return (found["cluster_state"], found["cluster_known_nodes"]) == ("ok", str(NODES))

    def _order(self, node: RedisServer, command: str, *args: object) -> None:
        node.client().execute_command(command, *args)  # type: ignore[no-untyped-call]  # redis-py


class FreshCluster(Protocol):
    """The factory behind ``fresh_cluster``."""

    def __call__(self, settings: Mapping[str, str] | None = None) -> RedisCluster:
        """Start one more cluster, empty, ended with the test."""


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """One cluster for all tests that need no faults; each empties it first."""
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"), {"appendonly": "no"})
    with contextlib.closing(cluster):
        cluster.start()
        yield cluster


@pytest.fixture
def fresh_cluster(tmp_path: Path) -> Iterator[FreshCluster]:
    """Starts clusters of the test's own."""
    with contextlib.ExitStack() as stack:

        def start(settings: Mapping[str, str] | None = None) -> RedisCluster:
            cluster = RedisCluster(tmp_path / "cluster", settings)
            stack.callback(cluster.close)
            cluster.start()
            return cluster

        yield start
