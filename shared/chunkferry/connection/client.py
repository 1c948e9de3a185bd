"""The clients of Redis, all made one way, whatever the kind of servers behind them.

Knows nothing of uploads. Large values are packed by redis-py's Python packer, which is 2.5 times
faster for them than the hiredis one.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.cluster import RedisCluster
from redis.connection import PythonRespSerializer
from redis.exceptions import ReadOnlyError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from chunkferry import bulk
from chunkferry.connection.cluster import ClusterRedis
from chunkferry.connection.url import Address, Kind, RedisUrl, parse
from chunkferry.errors import ConfigError

#: How long anybody waits for one answer, in seconds; longer than a blocking read of events lasts.
SOCKET_TIMEOUT: Final = 5.0
CONNECT_TIMEOUT: Final = 3.0
#: Of one process at most: any number, as its threads bound them. redis-py's own 100 are fewer than
#: a front door's threads use, and it tells the next one that it cannot connect.
_CONNECTIONS: Final = 1 << 31
#: How long a Sentinel may take: the next one knows as much.
_SENTINEL_TIMEOUT: Final = 1.0

#: What a caller's own client may have that a URL can say.
_IN_URLS: Final = frozenset(
    {
        *("username", "password", "db", "path"),
        *("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"),
        *("ssl_cert_reqs", "ssl_check_hostname"),
    }
)
#: What it may have that no URL can say, and without which we would not get through.
_NOT_IN_URLS: Final = ("credential_provider", "ssl_ca_data", "ssl_validate_ocsp")


class _Renewing:
    """A connection that is not kept to a server that became a replica.

    Where a name leads to the primary, only a new connection goes to the new one.
    """

    def read_response(self, *args: Any, **options: Any) -> Any:
        """What the server answered."""
        try:
            return super().read_response(*args, **options)  # type: ignore[misc]  # a mixin of redis-py's
        except ReadOnlyError:
            # Not before it is given back: a pipeline has more answers to read.
            self.mark_for_reconnect()  # type: ignore[attr-defined]  # see above
            raise


class _Connection(_Renewing, redis.Connection):
    """Over TCP."""


class _SSLConnection(_Renewing, redis.SSLConnection):
    """Over TLS."""


#: redis-py's own classes -> ours.
_OURS: Final[dict[type, type]] = {
    redis.Connection: _Connection,
    redis.SSLConnection: _SSLConnection,
}


def connect(url: str) -> redis.Redis:
    """A client for the uploads' Redis; nothing is asked of it yet.

    Raises:
        ConfigError: ``url`` is not a Redis URL.
    """
    return _connect(parse(url))


def _connect(url: RedisUrl) -> redis.Redis:
    if url.kind is Kind.SENTINEL:
        return _through_sentinels(url)
    if url.kind is Kind.CLUSTER:
        return _cluster(url)
    options = {**_options(), **url.options}
    if "path" in options:
        return _client(redis.UnixDomainSocketConnection, _without_sockets(options))
    host, port = url.addresses[0]
    return _client(_class(tls=url.tls), {**options, "host": host, "port": port})


def _through_sentinels(url: RedisUrl) -> redis.Redis:
    options = {**_options(), **url.options}
    sentinels = Sentinel(
        url.addresses,
        sentinel_kwargs=sentinel_options(url),
    )  # type: ignore[no-untyped-call]  # redis-py
    pool = SentinelConnectionPool(url.service, sentinels, ssl=url.tls, **options)  # type: ignore[no-untyped-call]  # redis-py
    return redis.Redis(connection_pool=pool)


def sentinel_options(url: RedisUrl) -> dict[str, Any]:
    """What redis-py has to know to talk to the Sentinels of a URL."""
    return {
        **url.of_sentinels,
        **({"ssl": True, **url.security} if url.tls else {}),
        # One that is down is not tried again: the next one is asked.
        "socket_timeout": _SENTINEL_TIMEOUT,
        "socket_connect_timeout": _SENTINEL_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def _cluster(url: RedisUrl) -> ClusterRedis:
    options = {**_options(), **url.options}
    # At once, for a connection that went stale; all else is for the cluster's client to decide.
    options["retry"] = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    kind = _class(tls=url.tls)

    def one(address: Address) -> redis.Redis:
        return _client(kind, {**options, "host": address[0], "port": address[1]})

    return ClusterRedis(url, one, patience)


def adopt(client: redis.Redis | RedisCluster) -> redis.Redis:
    """A client to the same servers as the caller's own, but with our settings.

    Raises:
        ConfigError: as ``url_of``, for a cluster.
    """
    if isinstance(client, ClusterRedis):
        return _cluster(client.url)
    if isinstance(client, RedisCluster):
        return connect(url_of(client))
    pool = client.connection_pool
    theirs = {k: v for k, v in pool.connection_kwargs.items() if "maint_notifications" not in k}
    options = {**theirs, **_options(), "decode_responses": False}
    options["redis_connect_func"] = theirs.get("redis_connect_func") or bulk.on_connect
    if isinstance(pool, SentinelConnectionPool):
        options["connection_class"] = pool.connection_class
        del options["connection_pool"]
        own = SentinelConnectionPool(pool.service_name, pool.sentinel_manager, **options)  # type: ignore[no-untyped-call]  # redis-py
        return redis.Redis(connection_pool=own)
    if "path" in options:
        options = _without_sockets(options)
    return _client(_OURS.get(pool.connection_class, pool.connection_class), options)


def longest_wait(client: redis.Redis) -> float:
    """How long one command may make Redis wait, in seconds: the client gives up soon after."""
    timeout = client.connection_pool.connection_kwargs.get("socket_timeout") or SOCKET_TIMEOUT
    return float(max(timeout - 1.0, timeout / 2))


def url_of(client: redis.Redis | RedisCluster) -> str:
    """The URL of the servers that ``client`` talks to.

    Raises:
        ConfigError: it has options that no URL can say.
    """
    if isinstance(client, ClusterRedis):
        return str(client.url)
    if isinstance(client, RedisCluster):
        options = client.get_connection_kwargs()  # type: ignore[no-untyped-call]  # redis-py
        nodes = client.get_nodes()  # type: ignore[no-untyped-call]  # redis-py
        addresses = tuple((node.host, node.port) for node in nodes)
        tls = bool(options.get("ssl")) or options.get("connection_class") is redis.SSLConnection
        return _url(Kind.CLUSTER, options, addresses, tls=tls)
    pool = client.connection_pool
    options = pool.connection_kwargs
    tls = issubclass(pool.connection_class, redis.SSLConnection)
    if isinstance(pool, SentinelConnectionPool):
        theirs = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
        logins = {name: theirs[0][name] for name in ("username", "password") if theirs[0].get(name)}
        addresses = tuple((one["host"], one["port"]) for one in theirs)
        return _url(
            Kind.SENTINEL,
            options,
            addresses,
            tls=tls,
            service=pool.service_name,
            of_sentinels=logins,
        )
    if not issubclass(pool.connection_class, (*_OURS, redis.UnixDomainSocketConnection)):
        raise ConfigError("this Redis client has no URL of its own; pass the URL instead")
    address = (options.get("host", "localhost"), options.get("port", 6379))
    return _url(Kind.SINGLE, options, () if "path" in options else (address,), tls=tls)


def _url(
    kind: Kind,
    options: dict[str, Any],
    addresses: tuple[Address, ...],
    *,
    tls: bool,
    service: str = "",
    of_sentinels: Mapping[str, str] | None = None,
) -> str:
    if any(options.get(name) for name in _NOT_IN_URLS):
        raise ConfigError("this Redis client has options that no URL can say; pass the URL instead")
    said = {name: options[name] for name in _IN_URLS if options.get(name) is not None}
    if kind is Kind.CLUSTER:
        said.pop("db", None)
    if isinstance(required := said.get("ssl_cert_reqs"), ssl.VerifyMode):
        said["ssl_cert_reqs"] = required.name.removeprefix("CERT_").lower()
    return str(
        RedisUrl(
            kind=kind,
            tls=tls,
            addresses=addresses,
            service=service,
            options=said,
            of_sentinels=of_sentinels or {},
        )
    )


def retry(retries: int = 7) -> Retry:
    """How often and how patiently a lost connection is tried again: 7 times take about 4 s.

    A server that accepts a command and does not answer in time is not tried again: the time-outs
    would add up to minutes.
    """
    return patience(redis.ConnectionError, retries=retries)


def patience(*errors: type[Exception], retries: int = 7) -> Retry:
    """As ``retry``, for these errors."""
    backoff = ExponentialWithJitterBackoff(base=0.05, cap=1.0)
    return Retry(backoff, retries, supported_errors=errors)


def _class(*, tls: bool) -> type[Any]:
    return _SSLConnection if tls else _Connection


def _client(kind: type[Any], options: dict[str, Any]) -> redis.Redis:
    options.pop("connection_class", None)
    # Not as an argument: the pool is this client's own, and is to be closed with it.
    return redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, **options))


def _without_sockets(options: dict[str, Any]) -> dict[str, Any]:
    """A socket file takes no options of TCP."""
    return {name: options[name] for name in options if name != "socket_keepalive"}


def _options() -> dict[str, Any]:
    return {
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        "max_connections": _CONNECTIONS,
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
