"""The ledger: every state change of an upload, each one a Lua script or one transaction.

Six roles share it: ``intake`` (producers), ``leases`` (workers), ``agenda`` (the sweep),
``records`` (questions of anybody), ``health`` (all uploads as a whole) and ``principals`` (whose
uploads are open, for quotas). Nothing here knows of stores, Celery or waiting.
"""

from __future__ import annotations

import redis

from chunkferry.config import Settings
from chunkferry.ledger.agenda import RedisAgenda
from chunkferry.ledger.health import RedisHealth
from chunkferry.ledger.intake import RedisIntake
from chunkferry.ledger.leases import RedisLeases
from chunkferry.ledger.principals import RedisPrincipals
from chunkferry.ledger.records import RedisRecords
from chunkferry.ledger.scripts import SERVER_CLOCK, Scripts

__all__ = ["RedisLedger"]


class RedisLedger:
    """The ledger in one Redis. Thread-safe; one per process is enough."""

    def __init__(
        self, client: redis.Redis, settings: Settings, *, clock: str = SERVER_CLOCK
    ) -> None:
        """Use ``client``, made by ``connection.connect`` or ``adopt``.

        ``clock`` is Lua for {seconds, microseconds}; only tests give another than the server's.
        """
        scripts = Scripts(client, clock)
        self.records = RedisRecords(scripts, settings)
        self.intake = RedisIntake(scripts, settings)
        self.leases = RedisLeases(scripts, settings)
        self.agenda = RedisAgenda(scripts, settings)
        self.health = RedisHealth(scripts, settings)
        self.principals = RedisPrincipals(scripts, self.records, settings)
