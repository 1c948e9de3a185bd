"""Connections to Redis: made one way, checked once, their errors translated here.

Knows nothing of uploads. Large values are packed by redis-py's Python packer, which is 2.5 times
faster for them than the hiredis one.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import redis
from redis._parsers.socket import SocketBuffer
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

from chunkferry.errors import Backpressure, ConfigError, EvictingRedis, RedisUnavailable

#: How long a producer or worker waits for one answer, in seconds.
SOCKET_TIMEOUT: Final = 10.0
CONNECT_TIMEOUT: Final = 3.0
#: How long one blocking read of events lasts, in seconds; its client waits longer than that.
BLOCK: Final = 1.0

#: Values of so many bytes are read without redis-py's buffer.
_LARGE: Final = 64 * 1024

#: Oldest Redis with script flags.
_MIN_VERSION: Final = (7, 0)


def connect(url: str) -> redis.Redis:
    """A client for the uploads' Redis.

    Raises:
        ConfigError: ``url`` is not a Redis URL.
    """
    try:
        return redis.Redis.from_url(url, **_options())
    except ValueError as exc:
        raise ConfigError(f"no Redis URL: {exc}") from exc


def adopt(client: redis.Redis) -> redis.Redis:
    """A client to the same server as the caller's own, but with our settings."""
    pool = client.connection_pool
    options = {**pool.connection_kwargs, **_options(), "decode_responses": False}
    options["redis_connect_func"] = pool.connection_kwargs.get("redis_connect_func") or _on_connect
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


def retry() -> Retry:
    """How often and how patiently a lost connection is tried again: about 4 s in all."""
    return Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), retries=7)


def _options() -> dict[str, Any]:
    return {
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 30,
        "retry": retry(),
        "command_packer": PythonRespSerializer(6000, _encode),
        "redis_connect_func": _on_connect,
    }


class _Buffer(SocketBuffer):
    """Takes a large value off the socket once.

    redis-py's own buffer copies it four times, each time into fresh pages of memory: 1.5 CPU
    seconds per GiB instead of 0.2.
    """

    def read(self, length: int, *args: Any, **options: Any) -> bytes:
        """The next ``length`` bytes, without the end of line that follows them."""
        if length < _LARGE:
            return super().read(length, *args, **options)
        value = io.BytesIO()
        value.seek(length - 1)
        value.write(b"\0")
        with value.getbuffer() as view:
            at = self._buffer.readinto(view)
            while at < length:
                count = self._sock.recv_into(view[at:])
                if not count:
                    raise redis.ConnectionError("Connection closed by server.")
                at += count
        super().read(0, *args, **options)
        # No copy: it is what the BytesIO holds.
        return value.getvalue()


def _on_connect(connection: redis.Connection) -> None:
    """Do what redis-py does, and have another buffer: there is no option for it."""
    connection.on_connect()  # type: ignore[no-untyped-call]  # redis-py
    buffer: Any = getattr(connection._parser, "_buffer", None)  # noqa: SLF001
    if type(buffer) is SocketBuffer:
        buffer.__class__ = _Buffer


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

    Their text is dropped where it may hold payload: a failed pipeline quotes its commands.
    """
    try:
        yield
    except OutOfMemoryError as exc:
        raise Backpressure(0, 1.0, "Redis is full") from exc
    except (AuthenticationError, NoPermissionError) as exc:
        raise ConfigError(f"Redis refuses these credentials: {type(exc).__name__}") from exc
    except (redis.ConnectionError, redis.TimeoutError) as exc:
        raise RedisUnavailable(f"Redis does not answer: {type(exc).__name__}") from exc
    except ResponseError as exc:
        if "OOM" in str(exc)[:400]:
            raise Backpressure(0, 1.0, "Redis is full") from None
        raise
    except RedisError as exc:
        raise RedisUnavailable(f"Redis failed: {type(exc).__name__}") from exc


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
