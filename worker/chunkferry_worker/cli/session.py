"""What every command has: its output, its settings, its way to the uploads; and the options.

Options win over ``CHUNKFERRY_…`` variables. Without a Redis named by either, commands find the
``chunkferry up`` of their data folder; they never guess a server, which could be a stranger's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import click

from chunkferry import ChunkManager, config, connection, keys
from chunkferry.config import Settings
from chunkferry.errors import ConfigError, UploadNotFound
from chunkferry.ledger import RedisLedger
from chunkferry.services import Health, Totals
from chunkferry.upload import ChunkUpload
from chunkferry_worker.cli import runfile
from chunkferry_worker.cli.output import Output

#: Every option shows its environment variable.
option = partial(click.option, show_envvar=True)


class Session:
    """One run of one command."""

    def __init__(
        self, *, as_json: bool, data: Path | None, redis_url: str | None, broker_url: str | None
    ) -> None:
        given = {"data": data, "redis_url": redis_url, "broker_url": broker_url}
        self._given = {name: value for name, value in given.items() if value is not None}
        self.output = Output(as_json=as_json)

    @cached_property
    def own_settings(self) -> Settings:
        """What options and variables say.

        Raises:
            ConfigError: a setting is unusable.
        """
        return config.load(**self._given)

    @cached_property
    def settings(self) -> Settings:
        """The settings to reach the uploads with: where no Redis is named, those of ``up``.

        Raises:
            ConfigError: a setting is unusable, or no ``up`` is running.
            StillStarting: ``up`` is not ready yet.
        """
        if "redis_url" in self.own_settings.model_fields_set:
            return self.own_settings
        running = runfile.find(self.own_settings.data)
        return self.own_settings.changed(
            redis_url=running.redis_url,
            broker_url=running.broker_url,
            services=dict(running.services),
        )

    @cached_property
    def manager(self) -> ChunkManager:
        """The way to the uploads.

        Raises:
            ConfigError: Redis is unfit for them.
            RedisUnavailable: it does not answer.
        """
        return ChunkManager(settings=self.settings, ledger=self.ledger)

    @cached_property
    def ledger(self) -> RedisLedger:
        """All that is known of the uploads; raises as ``manager``."""
        ledger = self._ledger
        ledger.records.require_usable()
        return ledger

    @cached_property
    def used_ledger(self) -> RedisLedger:
        """The same, of a Redis that workers use, or did; to look at only.

        Raises:
            ConfigError: no sweep has ever looked at it: whoever asks means another one.
            RedisUnavailable: it does not answer.
        """
        ledger = self._ledger
        ledger.records.require_layout()
        # What a producer or a mere look leaves there proves nothing: it may be this very mistake.
        if not ledger.agenda.was_attended():
            raise ConfigError(
                "no worker has ever swept this Redis: with the wrong one, all that is unfinished "
                "at the stores would look left over; correct CHUNKFERRY_REDIS_URL, or start beat "
                "and a worker first"
            )
        return ledger

    @cached_property
    def health(self) -> Health:
        """The way to the uploads as a whole, to look at only; raises as ``manager``."""
        return self._looked_at.health

    @cached_property
    def totals(self) -> Totals:
        """What was counted, to look at only; raises as ``manager``."""
        return self._looked_at.totals

    @cached_property
    def _looked_at(self) -> RedisLedger:
        # An exporter that is there before the first worker must not decide on the shards.
        self._ledger.records.require_layout()
        return self._ledger

    @cached_property
    def _ledger(self) -> RedisLedger:
        return RedisLedger(connection.connect(self.settings.redis_url), self.settings)

    def find(self, target: str, service: str | None = None) -> ChunkUpload:
        """The upload with this id; or the newest one to this path, ended or not.

        Raises:
            UploadNotFound: there is none.
        """
        try:
            keys.shard_of(target)
        except UploadNotFound:
            if upload := self.manager.find_upload(target, service=service):
                return upload
            raise
        return self.manager.get(target)


def with_session(
    function: Callable[..., int | None],
) -> Callable[..., int | None]:
    """Give a command the common options, and hand it the ``Session`` they make."""

    @option("--json", "as_json", is_flag=True, envvar="CHUNKFERRY_JSON", help="JSON lines.")
    @option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="CHUNKFERRY_DATA",
        help="Data folder of `chunkferry up`; default ./data.",
    )
    @option("--redis-url", envvar="CHUNKFERRY_REDIS_URL", help="Redis that holds the uploads.")
    @option("--broker-url", envvar="CHUNKFERRY_BROKER_URL", help="Celery's broker; default: that.")
    @functools.wraps(function)
    def command(
        *,
        as_json: bool,
        data: Path | None,
        redis_url: str | None,
        broker_url: str | None,
        **rest: Any,
    ) -> int | None:
        session = Session(
            as_json=as_json, data=data, redis_url=redis_url or None, broker_url=broker_url or None
        )
        return function(session, **rest)

    return command
