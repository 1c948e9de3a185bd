"""A Redis Cluster: which server has a key, and what to do when that has changed.

Not redis-py's ``RedisCluster``: that drops our packer and time-outs, logs the arguments of
commands, and repeats a lost transaction without its watch. Here each server has a plain client of
its own, so everything works on a cluster as it does on one server. Knows no upload, only that a
key of ours shows where a command goes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar, cast

import redis
from redis.crc import key_slot
from redis.exceptions import ClusterDownError, MovedError, ResponseError
from redis.retry import Retry

from chunkferry import keys
from chunkferry.connection.errors import REDIRECTIONS
from chunkferry.connection.url import Address, RedisUrl
from chunkferry.errors import ConfigError

T = TypeVar("T")

_SLOTS: Final = 16384

#: Makes the client of one server.
Connect = Callable[[Address], redis.Redis]


class ClusterRedis(redis.Redis):
    """A cluster as one Redis, for commands that name a key; see ``at`` for pipelines."""

    def __init__(self, url: RedisUrl, connect: Connect, patience: Callable[..., Retry]) -> None:
        """Connect on first use.

        Args:
            url: some of the cluster's servers.
            connect: makes a client that tries a lost connection again, but only at once.
            patience: makes the ``Retry`` for errors given, while the cluster mends itself.
        """
        self.url = url
        self._connect = connect
        self._patience = patience
        self._clients: dict[Address, redis.Redis] = {}
        #: Slot -> the server that has it.
        self._owners: list[Address | None] = []
        # The base is a client of the first server; nothing here uses it.
        super().__init__(connection_pool=self._client(url.addresses[0]).connection_pool)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the server that has its key.

        Raises:
            redis.RedisError: as any client; after patience with a cluster that changes.
        """
        # redis-py leaves this method without types.
        return self.served(
            _key_of(args), lambda at: cast("Any", at).execute_command(*args, **options)
        )

    def served(self, key: str, call: Callable[[redis.Redis], T]) -> T:
        """What ``call`` returns, given the server that has ``key``; asked again if that moves."""
        return self._patiently(lambda: call(self.at(key)))

    def at(self, key: str) -> redis.Redis:
        """The server that has ``key``, as far as is known."""
        if not self._owners:
            self.refresh()
        owner = self._owners[key_slot(key.encode())]
        if owner is None:
            raise ClusterDownError("slot not served")
        return self._client(owner)

    def each(
        self, names: Sequence[str], call: Callable[[redis.Redis, Sequence[str]], Iterable[T]]
    ) -> list[T]:
        """What ``call`` returns for each server, given those of the keys that it has."""

        def ask() -> list[T]:
            groups: dict[redis.Redis, list[str]] = {}
            for name in names:
                groups.setdefault(self.at(name), []).append(name)
            return [found for server, group in groups.items() for found in call(server, group)]

        return self._patiently(ask)

    def primaries(self) -> list[redis.Redis]:
        """The servers that have slots."""
        self._patiently(self.refresh)
        return [self._client(owner) for owner in dict.fromkeys(self._owners) if owner]

    def refresh(self, first: Address | None = None) -> None:
        """Ask who has which slot; ``first`` knows it best.

        Raises:
            ConfigError: this is no cluster.
            redis.ConnectionError: no server answers.
        """
        known = list({*self._clients, *self.url.addresses})
        random.shuffle(known)
        problem: Exception | None = None
        for address in [first, *known] if first else known:
            try:
                answer = self._client(address).execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]  # redis-py
            except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
                raise
            except ResponseError as exc:
                if "cluster support disabled" in str(exc):
                    raise ConfigError("this Redis is no cluster: its URL is redis://…") from exc
                problem = exc
            except (redis.ConnectionError, redis.TimeoutError) as exc:
                problem = exc
            else:
                self._owners = _owners(answer, address)
                # Else each that ever was a member would be asked again, whenever something moves.
                for gone in {*self._clients} - {*self._owners, *self.url.addresses}:
                    self._clients.pop(gone, None)
                return
        raise problem or redis.ConnectionError("no server of the cluster is known")

    def pipeline(self, transaction: bool = True, shard_hint: object = None) -> Any:  # noqa: ARG002 - redis-py's signature
        """Not over several servers.

        Raises:
            TypeError: always; take the pipeline of the server that ``at`` tells.
        """
        raise TypeError("a pipeline is one server's: see ClusterRedis.served and ClusterRedis.each")

    def close(self) -> None:
        """Let all connections go."""
        for client in list(getattr(self, "_clients", {}).values()):
            client.close()

    def _patiently(self, call: Callable[[], T]) -> T:
        retry = self._patience(redis.ConnectionError, *REDIRECTIONS)
        return retry.call_with_retry(call, self._look_again)

    def _look_again(self, error: Exception) -> None:
        """Somebody else has the slot now, or will have."""
        if isinstance(error, redis.AuthenticationError):
            raise error
        moved = (error.host, error.port) if isinstance(error, MovedError) else None
        try:
            # Without a host the one that answered is meant; which, a refresh tells.
            self.refresh(moved if moved and moved[0] else None)
        except redis.RedisError:
            return  # the call itself will tell

    def _client(self, address: Address) -> redis.Redis:
        client = self._clients.get(address)
        if client is None:
            # No lock, which a fork could leave held: of two made at once one is used.
            client = self._clients.setdefault(address, self._connect(address))
        return client


def served(client: redis.Redis, key: str, call: Callable[[redis.Redis], T]) -> T:
    """What ``call`` returns, given the server that has ``key``; for pipelines.

    On a cluster it is called again while the key moves or its server is lost: ``call`` must be
    safe to repeat.
    """
    return client.served(key, call) if isinstance(client, ClusterRedis) else call(client)


def each(
    client: redis.Redis,
    names: Sequence[str],
    call: Callable[[redis.Redis, Sequence[str]], Iterable[T]],
) -> list[T]:
    """What ``call`` returns for each server, given those of the keys that it has."""
    return client.each(names, call) if isinstance(client, ClusterRedis) else [*call(client, names)]


def beside(client: redis.Redis, key: str, names: Sequence[str]) -> Sequence[str]:
    """Those of ``names`` that are on the same server as ``key``."""
    if not isinstance(client, ClusterRedis):
        return names
    server = client.at(key)
    return [name for name in names if client.at(name) is server]


def may_ask_together(client: redis.Redis) -> bool:
    """True if one command may name keys of several slots."""
    return not isinstance(client, ClusterRedis)


def servers(client: redis.Redis) -> list[redis.Redis]:
    """A plain client for each server that holds data."""
    return client.primaries() if isinstance(client, ClusterRedis) else [client]


def _key_of(args: Sequence[object]) -> str:
    """The first key of a command: only keys of ours begin as they do."""
    for arg in args:
        if isinstance(arg, str) and arg.startswith(keys.BEGINNINGS):
            return arg
    raise TypeError(f"{args[0]} names no key, so no server of the cluster")


def _owners(answer: object, asked: Address) -> list[Address | None]:
    """Who has which slot, by the answer of CLUSTER SLOTS."""
    owners: list[Address | None] = [None] * _SLOTS
    for first, last, (host, port, *_), *_replicas in cast("list[list[Any]]", answer):
        # Without a name, the server that was asked is meant; so says the protocol.
        name = host.decode() if host else asked[0]
        if name != "?":
            owners[first : last + 1] = [(name, port)] * (last + 1 - first)
    return owners
