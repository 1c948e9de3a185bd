"""How far an acknowledgement reaches: into Redis' memory, onto its disk, to its replicas.

Waits for that, and knows nothing of what was acknowledged. Redis waits for the writes of one
connection; ours come by any. So each wait sends a write of its own ahead, on the same connection:
disk and replicas take writes in order, and who has the last one has all before it.
"""

from __future__ import annotations

import time
from typing import Any, Final, cast

import redis

from chunkferry import connection, keys, lua
from chunkferry.config import Settings
from chunkferry.errors import (
    ConfigError,
    NotDurable,
    OffsetMismatch,
    RedisRefused,
    UploadNotFound,
)
from chunkferry.ledger.scripts import Scripts, UnexpectedAnswer, of

#: Oldest Redis with WAITAOF; Valkey has had it from its beginning.
_WAITAOF_VERSION: Final = (7, 2)
#: The setting by which Redis puts flushes off.
_SKIPS: Final = "no-appendfsync-on-rewrite"
#: What CONFIG GET says of a setting that cannot be asked.
_UNTOLD: Final = "unknown"


class Durability:
    """Waits until acknowledged writes are as durable as the settings ask."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._fsynced = settings.durability == "fsynced"
        self._replicas = settings.replicas
        self._patience = settings.durability_wait_seconds
        self._longest = connection.longest_wait(scripts.client)
        #: True where Redis answers only after it has flushed.
        self._always = False

    def require(self) -> None:
        """Make sure that the server can give what is asked.

        Raises:
            ConfigError: it cannot, or nobody can tell; the message says what to change.
        """
        if not self._fsynced:
            return
        with connection.translated():
            servers = connection.servers(self._scripts.client)
        always = [self._require_flushes(server) for server in servers]
        self._always = all(always)

    def _require_flushes(self, server: redis.Redis) -> bool:
        """Make sure that one server flushes; True if it does so before each answer."""
        its = connection.facts(server)
        if not its.aof_enabled:
            raise ConfigError(
                "durability is `fsynced`, but this Redis keeps no append-only file: "
                "set appendonly yes in Redis, or durability to `memory`"
            )
        if its.version < _WAITAOF_VERSION:
            self._require_always(server, ".".join(map(str, its.version)))
            return True
        if _setting(server, "appendfsync") == "no":
            raise ConfigError(
                "durability is `fsynced`, but this Redis has appendfsync no and never "
                "flushes: set appendfsync everysec or always in Redis"
            )
        return False

    def _require_always(self, server: redis.Redis, version: str) -> None:
        """A server without WAITAOF has to flush before each answer."""
        without = f"durability is `fsynced`, and Redis {version} has no WAITAOF (7.2 has)"
        if self._replicas:
            raise ConfigError(
                f"{without}: whether replicas have flushed cannot be asked; set replicas to 0 "
                "or take a newer Redis"
            )
        fsync, skips = _setting(server, "appendfsync"), _setting(server, _SKIPS)
        if _UNTOLD in {fsync, skips}:
            raise ConfigError(
                f"{without}: it would have to run with appendfsync always, but forbids CONFIG GET, "
                "so that this cannot be checked; take a newer Redis, or set durability to `memory`"
            )
        if (fsync, skips) != ("always", "no"):
            raise ConfigError(
                f"{without}: set appendfsync always and {_SKIPS} no in Redis "
                f"(they are {fsync} and {skips}), or take a newer one"
            )

    def wait(self, upload_id: str, received: int, length: int | None = None) -> None:
        """Wait until the upload's writes are safe; see ``services.Intake.ensure_durable``."""
        if not self._replicas and (not self._fsynced or self._always):
            return
        deadline = time.monotonic() + self._patience
        left = self._patience
        while True:
            flushed, replicas = self._wait_once(
                upload_id, received, length, min(left, self._longest)
            )
            if flushed >= self._fsynced and replicas >= self._replicas:
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotDurable(upload_id, received, self._missing(flushed, replicas))

    def _wait_once(
        self, upload_id: str, received: int, length: int | None, seconds: float
    ) -> tuple[int, int]:
        """Wait for ``seconds``; return how many primaries and replicas have it."""
        mark = self._scripts["mark"].command(
            of(upload_id, "intake", "work"),
            {"received": received, "length": "" if length is None else length},
            whole=True,
        )
        # 0 would be for ever.
        milliseconds = max(1, int(seconds * 1000))
        wait: tuple[str | int, ...] = ("WAIT", self._replicas, milliseconds)
        if self._fsynced:
            wait = ("WAITAOF", 1, self._replicas, milliseconds)
        try:
            with connection.translated():
                marked, answer = connection.served(
                    self._scripts.client,
                    keys.intake(upload_id),
                    lambda server: _ask(server, mark, wait),
                )
        except RedisRefused:
            # Another server than at the start, or set otherwise since: say what is wrong with it.
            self.require()
            raise
        self._require_there(upload_id, lua.texts(marked), received)
        return (answer[0], answer[1]) if self._fsynced else (0, answer)

    def _require_there(self, upload_id: str, answer: list[str], received: int) -> None:
        match answer:
            case ["marked"]:
                return
            case ["missing"]:
                raise UploadNotFound(upload_id)
            case ["behind", there, _] if int(there) < received:
                raise OffsetMismatch(int(there), received)
            case ["behind", there, _]:
                raise NotDurable(upload_id, int(there), "Redis lost its length again")
        raise UnexpectedAnswer("mark", answer)

    def _missing(self, flushed: int, replicas: int) -> str:
        """What was asked, and what came."""
        found = [f"{replicas} of {self._replicas} replicas"] if self._replicas else []
        if self._fsynced:
            found.insert(0, "the primary" if flushed else "not even the primary")
        doing = "flushed it to disk" if self._fsynced else "have it"
        return f"in {self._patience:g} s {' and '.join(found)} {doing}"


def _ask(server: redis.Redis, *commands: tuple[str | int, ...]) -> list[Any]:
    """The answers to commands that go over one connection."""
    with server.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py
        return pipe.execute()


def _setting(server: redis.Redis, name: str) -> str:
    """A setting of a server; ``_UNTOLD`` where it may not be asked, as of managed services."""
    try:
        with connection.translated():
            found = cast("dict[str, str]", server.config_get(name))
    except (ConfigError, RedisRefused):
        return _UNTOLD
    return found.get(name, _UNTOLD)
