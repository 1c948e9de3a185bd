"""The ledger: every state change of an upload, each one a Lua script or one transaction.

Ten roles share it: ``intake`` (producers), ``leases`` (workers), ``agenda`` (the sweep), ``joins``
(uploads made of others), ``records`` (questions of anybody), ``health`` (all uploads as a whole),
``totals`` (what was counted), ``telling`` and ``letters`` (who is told of changes, and what could
not be told) and ``principals`` (whose uploads are open, for quotas). Nothing here knows of stores,
Celery or waiting.
"""

from __future__ import annotations

import redis

from chunkferry.config import Settings
from chunkferry.ledger.agenda import RedisAgenda
from chunkferry.ledger.health import RedisHealth
from chunkferry.ledger.intake import RedisIntake
from chunkferry.ledger.joins import RedisJoins
from chunkferry.ledger.leases import RedisLeases
from chunkferry.ledger.letters import RedisLetters
from chunkferry.ledger.principals import RedisPrincipals
from chunkferry.ledger.records import RedisRecords
from chunkferry.ledger.scripts import SERVER_CLOCK, Scripts
from chunkferry.ledger.telling import RedisTelling
from chunkferry.ledger.totals import RedisTotals

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
        self.joins = RedisJoins(scripts, settings)
        self.health = RedisHealth(scripts, settings)
        self.totals = RedisTotals(scripts)
        self.telling = RedisTelling(scripts, settings)
        self.letters = RedisLetters(client)
        self.principals = RedisPrincipals(scripts, self.records, settings)
