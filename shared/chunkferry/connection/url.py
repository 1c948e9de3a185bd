"""The URLs of Redis: one server, servers behind Sentinels, or a cluster. Pure; connects nothing.

``redis://`` and its kin mean what they mean to redis-py. Two forms are ours, each also with
``rediss`` for TLS: ``redis+sentinel://host,host/service/db`` and ``redis+cluster://host,host``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode, urlsplit

from redis.connection import parse_url

from chunkferry.errors import ConfigError

#: Host and port.
Address = tuple[str, int]

_FORMS: Final = (
    "redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://,"
    " redis+cluster:// or rediss+cluster://"
)


class Kind(StrEnum):
    """How many servers a URL stands for, and who knows them."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


#: Where each kind listens unless its URL says otherwise.
_PORTS: Final = {Kind.SINGLE: 6379, Kind.SENTINEL: 26379, Kind.CLUSTER: 6379}


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """What a URL says."""

    kind: Kind
    tls: bool
    #: Of servers, or of Sentinels; none for a socket.
    addresses: tuple[Address, ...]
    #: What Sentinels call the primary; empty otherwise.
    service: str = ""
    #: What redis-py takes: ``username``, ``password``, ``db``, ``path``, ``ssl_…`` and the like.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: ``username`` and ``password`` of the Sentinels themselves.
    of_sentinels: Mapping[str, str] = field(default_factory=dict)

    @property
    def security(self) -> dict[str, Any]:
        """The options of TLS."""
        return {name: value for name, value in self.options.items() if name.startswith("ssl_")}

    def __str__(self) -> str:
        """The URL, with its password."""
        options = {
            **self.options,
            **{f"sentinel_{name}": value for name, value in self.of_sentinels.items()},
        }
        name, password = options.pop("username", None), options.pop("password", None)
        login = f"{quote(name or '', safe='')}:{quote(password or '', safe='')}@"
        database = options.pop("db", 0)
        if "path" in options:
            path = options.pop("path")
            query = _query({**options, "db": database})
            return f"unix://{login if name or password else ''}{path}{query}"
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.addresses)
        kind = "" if self.kind is Kind.SINGLE else f"+{self.kind}"
        path = {
            Kind.SINGLE: f"/{database}",
            Kind.SENTINEL: f"/{quote(self.service, safe='')}/{database}",
            Kind.CLUSTER: "",
        }[self.kind]
        scheme = f"redis{'s' if self.tls else ''}{kind}"
        return f"{scheme}://{login if name or password else ''}{hosts}{path}{_query(options)}"


def parse(url: str) -> RedisUrl:
    """What ``url`` says.

    Raises:
        ConfigError: it is not a URL of Redis.
    """
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    known = {("redis", ""), ("rediss", ""), ("unix", "")}
    known |= {(tls, several) for tls in ("redis", "rediss") for several in ("sentinel", "cluster")}
    # Not the URL itself: it may hold a password.
    if not rest or (base, kind) not in known:
        raise ConfigError(f"no Redis URL: expected {_FORMS}")
    try:
        return _parse(url, base, Kind(kind or Kind.SINGLE))
    except ValueError as exc:
        raise ConfigError(f"no Redis URL: {exc}") from None


def _parse(url: str, base: str, kind: Kind) -> RedisUrl:
    found = urlsplit(url)
    login, at, hosts = found.netloc.rpartition("@")
    addresses = tuple(_address(host, _PORTS[kind]) for host in hosts.split(","))
    if kind is Kind.SINGLE:
        options = parse_url(url)  # type: ignore[no-untyped-call]  # redis-py
        addresses = () if "path" in options else addresses
    else:
        options = parse_url(f"{base}://{login}{at}host?{found.query}")  # type: ignore[no-untyped-call]  # redis-py
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    of_sentinels = {
        name: options.pop(f"sentinel_{name}")
        for name in ("username", "password")
        if f"sentinel_{name}" in options
    }
    service = ""
    if kind is Kind.SENTINEL:
        service, _, database = unquote(found.path.strip("/")).partition("/")
        if not service:
            raise ValueError("the path must name the service that the Sentinels watch")
        options.setdefault("db", int(database or 0))
    if kind is Kind.CLUSTER and (found.path.strip("/0") or options.pop("db", 0)):
        raise ValueError("a cluster has no databases")
    return RedisUrl(
        kind=kind,
        tls=base == "rediss",
        addresses=addresses,
        service=service,
        options=options,
        of_sentinels=of_sentinels,
    )


def _address(text: str, default: int) -> Address:
    found = urlsplit(f"//{text}")
    try:
        return found.hostname or "localhost", found.port or default
    except ValueError:
        # Its text could be a piece of a password with a slash in it.
        raise ValueError("a port is no number") from None


def _query(options: Mapping[str, Any]) -> str:
    return f"?{urlencode(options)}" if options else ""
