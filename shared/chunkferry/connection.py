"""Connections to Redis: made one way, checked once, their errors translated here.

Knows nothing of uploads. Large values are packed by redis-py's Python packer, which is 2.5 times
faster for them than the hiredis one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.connection import PythonRespSerializer
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from chunkferry import bulk
from chunkferry.errors import (
    ChunkferryError,
    ConfigError,
    EvictingRedis,
    RedisFull,
    RedisRefused,
    RedisUnavailable,
)

#: How long anybody waits for one answer, in seconds; longer than a blocking read of events lasts.
SOCKET_TIMEOUT: Final = 5.0
CONNECT_TIMEOUT: Final = 3.0

#: First words of refusals that end by themselves, or with a failover.
_PASSING: Final = (
    *("READONLY", "NOREPLICAS", "MISCONF", "BUSY", "LOADING"),
    *("MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN"),
)

#: Oldest Redis with script flags.
_MIN_VERSION: Final = (7, 0)


def connect(url: str) -> redis.Redis:
    """A client for the uploads' Redis.

    Raises:
        ConfigError: ``url`` is not a Redis URL.
    """
    try:
        return redis.Redis.from_url(url, **_options())
    except ValueError:
        # Its text quotes the URL, and a password that is not percent-encoded reads like a port.
        raise ConfigError(
            "no Redis URL: expected redis://user:password@host:port/database, with every special "
            "character of user and password percent-encoded"
        ) from None


def adopt(client: redis.Redis) -> redis.Redis:
    """A client to the same server as the caller's own, but with our settings."""
    pool = client.connection_pool
    theirs = {k: v for k, v in pool.connection_kwargs.items() if "maint_notifications" not in k}
    options = {**theirs, **_options(), "decode_responses": False}
    options["redis_connect_func"] = (
        pool.connection_kwargs.get("redis_connect_func") or bulk.on_connect
    )
    return redis.Redis(
        connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **options)
    )


def url_of(client: redis.Redis) -> str:
    """The URL of the server that ``client`` talks to.

    Raises:
        ConfigError: it has none: several servers, or options that no URL can say.
    """
    options = client.connection_pool.connection_kwargs
    if client.connection_pool.connection_class not in {redis.Connection, redis.SSLConnection}:
        raise ConfigError("this Redis client has no URL of its own; pass the URL instead")
    scheme = "rediss" if client.connection_pool.connection_class is redis.SSLConnection else "redis"
    name, password = options.get("username") or "", options.get("password") or ""
    login = f"{quote(name, safe='')}:{quote(password, safe='')}@" if name or password else ""
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    return f"{scheme}://{login}{host}:{port}/{options.get('db', 0)}"


def retry(retries: int = 7) -> Retry:
    """How often and how patiently a lost connection is tried again: 7 times take about 4 s.

    A server that accepts a command and does not answer in time is not tried again: the time-outs
    would add up to minutes.
    """
    return Retry(
        ExponentialWithJitterBackoff(base=0.05, cap=1.0),
        retries,
        supported_errors=(redis.ConnectionError,),
    )


def _options() -> dict[str, Any]:
    return {
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 30,
        "retry": retry(),
        "command_packer": PythonRespSerializer(6000, _encode),
        "redis_connect_func": bulk.on_connect,
        # RESP3 would change the shape of some answers.
        "protocol": 2,
    }


def _encode(value: object) -> bytes | memoryview:
    match value:
        case bytes() | memoryview():
            return value
        case bool():
            msg = f"Redis takes no {value!r}"
            raise TypeError(msg)
        case int() | float():
            return repr(value).encode()
        case str():
            return value.encode()
    msg = f"Redis takes no {type(value).__name__}"
    raise TypeError(msg)


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors into ours.

    The text of a refusal is dropped, also from the cause that a traceback shows: a failed pipeline
    quotes its commands, which hold payload. That of a lost connection says where it went.
    """
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as exc:
        raise _translation(exc) from exc
    except RedisError as exc:
        error, exc.args = _translation(exc), ()
        raise error from exc


def _translation(error: RedisError) -> ChunkferryError:
    kind = type(error).__name__
    match error:
        case OutOfMemoryError():
            return RedisFull()
        case AuthenticationError() | NoPermissionError():
            return ConfigError(f"Redis refuses these credentials: {kind}")
        case redis.ConnectionError() | redis.TimeoutError():
            return RedisUnavailable(f"Redis does not answer: {kind}")
        case ResponseError():
            return _refusal(str(error))
    return RedisUnavailable(f"Redis failed: {kind}")


def _refusal(text: str) -> ChunkferryError:
    """What an error answer means; its first word says it, the rest may quote payload."""
    if "OOM" in text[:400]:
        return RedisFull()
    kind = next((word for word in _PASSING if word in text[:400]), "")
    if kind:
        return RedisUnavailable(f"Redis takes no writes now: {kind}")
    return RedisRefused(f"Redis refused a command: {text.partition(' ')[0][:40]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What matters about a Redis server."""

    version: tuple[int, ...]
    maxmemory: int
    used_memory: int
    policy: str
    aof_enabled: bool
    role: str


def facts(client: redis.Redis) -> ServerFacts:
    """Ask the server. Uses INFO alone: managed services forbid CONFIG."""
    with translated():
        info = client.info()
    version = str(info.get("valkey_version", info["redis_version"]))
    return ServerFacts(
        version=tuple(int(number) for number in version.split(".")[:3]),
        maxmemory=int(info.get("maxmemory", 0)),
        used_memory=int(info["used_memory"]),
        policy=str(info.get("maxmemory_policy", "noeviction")),
        aof_enabled=bool(info.get("aof_enabled", 0)),
        role=str(info.get("role", "master")),
    )


def require_usable(client: redis.Redis) -> ServerFacts:
    """The server's facts, if accepted bytes are safe from eviction there.

    Raises:
        EvictingRedis: it may drop keys when it is full.
        ConfigError: it is too old, or a replica.
        RedisUnavailable: it does not answer.
    """
    server = facts(client)
    if server.version < _MIN_VERSION:
        found = ".".join(map(str, server.version))
        raise ConfigError(f"Redis {found} is too old: 7.0 or newer is needed")
    if server.policy != "noeviction":
        raise EvictingRedis(server.policy)
    if server.role not in {"master", "primary"}:
        raise ConfigError(f"this Redis is a {server.role}: connect to the primary")
    return server
