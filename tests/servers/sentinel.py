"""A real primary with a replica, watched by real Sentinels, for tests of failovers."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis
from tests.servers.redis import RedisServer, server_program
from tests.servers.tls import Certificates
from tests.waiting import wait_until

from chunkferry_worker import tether
from chunkferry_worker.embedded_redis import _free_port

SERVICE = "uploads"


class Sentinel:
    """One Sentinel process."""

    def __init__(
        self,
        folder: Path,
        primary: RedisServer,
        ports: tuple[int, int],
        quorum: int,
        tls: Mapping[str, str],
    ) -> None:
        """Describe it; ``ports`` are those of primary and replica, ``tls`` its own lines of TLS."""
        self.port = _free_port()
        self.tls_port = int(tls.get("tls-port", 0))
        self._folder = folder
        folder.mkdir(parents=True)
        self._file = folder / "sentinel.conf"
        self._file.write_text(
            f"port {self.port}\n"
            f"dir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {ports[0]} {quorum}\n"
            f"sentinel auth-pass {SERVICE} {primary.password}\n"
            f"sentinel down-after-milliseconds {SERVICE} 500\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
            # It would find the replica by itself, but looks only every ten seconds.
            f"sentinel known-replica {SERVICE} 127.0.0.1 {ports[1]}\n"
            + "".join(f"{name} {value}\n" for name, value in tls.items())
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with (self._folder / "log").open("ab") as log:
            self._process = tether.spawn(
                [server_program(), str(self._file), "--sentinel"], stdout=log, stderr=log
            )

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def state(self) -> dict[str, Any]:
        """What it knows of the primary; nothing while it does not answer."""
        with redis.Redis(port=self.port, protocol=2) as client:
            try:
                found: dict[str, Any] = client.sentinel_master(SERVICE)
            except redis.RedisError:
                return {}
            return found


class Watched:
    """A primary, its replica, and Sentinels that know both."""

    def __init__(self, folder: Path, count: int, issued: Certificates | None = None) -> None:
        """Describe them; start them with ``start``. With certificates, they speak TLS."""
        self._issued = issued
        self._folder = folder
        # A replica is waited for no longer than it takes.
        quick = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}
        lines = self._tls()
        self.primary = RedisServer(folder / "primary", settings={**quick, **lines})
        self._primary_tls = int(lines.get("tls-port", 0))
        self.primary.password = secrets.token_urlsafe(16)
        self.sentinels: list[Sentinel] = []
        self._count = count

    @property
    def url(self) -> str:
        """By its Sentinels; the first of them is none."""
        ports = [one.tls_port if self._issued else one.port for one in self.sentinels]
        hosts = ",".join(f"127.0.0.1:{port}" for port in [1, *ports])
        scheme, query = ("rediss", self._issued.query()) if self._issued else ("redis", "")
        return f"{scheme}+sentinel://:{self.primary.password}@{hosts}/{SERVICE}/0{query}"

    def start(self) -> None:
        """Start all, and wait until a failover is possible."""
        self.primary.start()
        client = self.primary.client()
        client.config_set("masterauth", self.primary.password)
        lines = self._tls()
        ports = (
            self._primary_tls or self.primary.port,
            int(lines.get("tls-port", 0)) or _free_port(),
        )
        self.replica = RedisServer(
            self._folder / "replica",
            port=0 if lines else ports[1],
            settings={
                "replicaof": f"127.0.0.1 {ports[0]}",
                "masterauth": self.primary.password,
                **lines,
            },
        )
        self.replica.password = self.primary.password
        self.replica.start()
        self.await_in_step()
        for number in range(self._count):
            folder = self._folder / f"sentinel{number}"
            sentinel = Sentinel(folder, self.primary, ports, self._count // 2 + 1, self._tls())
            self.sentinels.append(sentinel)
            sentinel.start()
        wait_until(
            lambda: all(
                (state := sentinel.state()).get("num-slaves") == 1
                and state.get("num-other-sentinels") == self._count - 1
                for sentinel in self.sentinels
            ),
            30,
            what="Sentinels that know the replica and one another",
        )

    def await_in_step(self) -> None:
        """Wait until the replica has all that the primary has."""
        wait_until(lambda: self._offset(self.replica) == self._offset(self.primary) > 0, 30)

    def part(self) -> None:
        """Let the replica hear nothing more of the primary."""
        client = self.replica.client()
        client.config_set("masterauth", "wrong")
        client.client_kill_filter(_type="master")
        wait_until(lambda: client.info("replication")["master_link_status"] == "down")

    def fail_over(self) -> None:
        """Kill the primary, and wait until the replica is one."""
        self.primary.kill()
        client = self.replica.client()

        def is_promoted() -> bool:
            # Sentinels have it drop all clients when they promote it.
            with contextlib.suppress(redis.ConnectionError):
                return bool(client.info("replication")["role"] == "master")
            return False

        wait_until(is_promoted, 60, what="a promotion")

    def close(self) -> None:
        """End all for good."""
        for sentinel in self.sentinels:
            sentinel.kill()
        self.primary.close()
        self.replica.close()

    def _tls(self) -> dict[str, str]:
        """Lines for one more server, with a port of its own; none without certificates."""
        if self._issued is None:
            return {}
        return {**self._issued.of_server(), "tls-replication": "yes"}

    def _offset(self, server: RedisServer) -> int:
        return int(server.client().info("replication")["master_repl_offset"])


class StartWatched(Protocol):
    """The factory behind ``watched_redis``."""

    def __call__(self, count: int = 1, issued: Certificates | None = None) -> Watched:
        """Start a primary, a replica and ``count`` Sentinels, ended with the test."""


@pytest.fixture
def watched_redis(tmp_path: Path) -> Iterator[StartWatched]:
    """Starts servers that fail over."""
    with contextlib.ExitStack() as stack:

        def start(count: int = 1, issued: Certificates | None = None) -> Watched:
            watched = Watched(tmp_path / "watched", count, issued)
            watched.start()
            stack.callback(watched.close)
            return watched

        yield start
