"""What matters about a Redis server, and whether it may hold uploads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import redis

from chunkferry.connection.cluster import servers
from chunkferry.connection.errors import translated
from chunkferry.errors import ConfigError, EvictingRedis

#: Oldest Redis with script flags.
_MIN_VERSION: Final = (7, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What matters about a Redis server."""

    version: tuple[int, ...]
    maxmemory: int
    used_memory: int
    policy: str
    aof_enabled: bool
    role: str
    #: It is a node of a cluster.
    in_cluster: bool


def facts(server: redis.Redis) -> ServerFacts:
    """Ask one server. Uses INFO alone: managed services forbid CONFIG."""
    with translated():
        info = server.info()
    version = str(info.get("valkey_version", info["redis_version"]))
    return ServerFacts(
        version=tuple(int(number) for number in version.split(".")[:3]),
        maxmemory=int(info.get("maxmemory", 0)),
        used_memory=int(info["used_memory"]),
        policy=str(info.get("maxmemory_policy", "noeviction")),
        aof_enabled=bool(info.get("aof_enabled", 0)),
        role=str(info.get("role", "master")),
        in_cluster=bool(info.get("cluster_enabled", 0)),
    )


def require_usable(client: redis.Redis) -> Sequence[ServerFacts]:
    """The facts of each server behind ``client``, if accepted bytes are safe from eviction there.

    Raises:
        EvictingRedis: one may drop keys when it is full.
        ConfigError: one is too old, a replica, or of a cluster that the URL does not name.
        RedisUnavailable: one does not answer.
    """
    with translated():
        nodes = servers(client)
    found = [facts(server) for server in nodes]
    for server in found:
        _require_usable(server)
        if server.in_cluster and nodes == [client]:
            raise ConfigError("this Redis is a node of a cluster: its URL is redis+cluster://…")
    return found


def _require_usable(server: ServerFacts) -> None:
    if server.version < _MIN_VERSION:
        found = ".".join(map(str, server.version))
        raise ConfigError(f"Redis {found} is too old: 7.0 or newer is needed")
    if server.policy != "noeviction":
        raise EvictingRedis(server.policy)
    if server.role not in {"master", "primary"}:
        raise ConfigError(f"this Redis is a {server.role}: connect to the primary")
