"""``up``: everything that uploads need, in one command: Redis, workers, beat, the front door.

Nothing it starts outlives it, not even when it is killed.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
from celery import Celery

from chunkferry import ChunkManager, wakeup
from chunkferry.config import Settings, without_secrets
from chunkferry.errors import ChunkferryError
from chunkferry_worker import tether
from chunkferry_worker.cli import children, listener, runfile
from chunkferry_worker.cli.demo import SIZE, Demo
from chunkferry_worker.cli.listener import DEFAULT, Address
from chunkferry_worker.cli.output import Exit, Output
from chunkferry_worker.cli.runfile import Running
from chunkferry_worker.cli.session import Session, option, with_session
from chunkferry_worker.cli.supervisor import Signals, Supervisor

#: How long the first worker may take to answer, in seconds.
_START: Final = 60.0
#: How long one question to it waits for an answer, in seconds.
_PING: Final = 0.25
#: In which order children end: the worker hands over what it holds while Redis is still there.
_ORDER: Final = ("web", "worker", "beat", "redis")

_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class NotReady(ChunkferryError):
    """The worker does not answer."""

    code = "not_ready"

    def __init__(self) -> None:
        super().__init__(f"the worker did not answer within {_START:g} s; see what it said above")


class Size(click.ParamType[int]):
    """A number of bytes: ``64MiB``, ``1G``, ``1048576``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]+)\s*([kmg]?)(i?b)?", str(value).lower())
        if match is None or not int(match[1]):
            self.fail(f"{value!r} is no size such as 64MiB", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


@click.command()
@option(
    "--workers",
    type=click.IntRange(1, 1024),
    default=lambda: len(os.sched_getaffinity(0)),
    show_default="number of cores",
    help="Processes that store.",
)
@option(
    "--listen",
    type=Address(),
    metavar="HOST:PORT",
    help=f"Where the front door listens [default: {DEFAULT}, or any free port].",
)
@option(
    "--web-processes",
    type=click.IntRange(0, 1024),
    default=1,
    show_default=True,
    help="Processes of the front door; 0 for none.",
)
@option(
    "--demo",
    "demo_size",
    type=Size(),
    is_flag=False,
    flag_value=SIZE,
    metavar="[SIZE]",
    envvar="CHUNKFERRY_UP_DEMO",
    help="Store a generated file (64MiB) and prove that it arrived.",
)
@option("--exit-with-parent", is_flag=True, help="Stop when the process that started it ends.")
@with_session
def up(
    session: Session,
    *,
    workers: int,
    listen: tuple[str, int] | None,
    web_processes: int,
    demo_size: int | None,
    exit_with_parent: bool,
) -> int:
    """Run Redis (unless one is named), workers, beat and the HTTP front door until Ctrl-C.

    Prints one line that begins with `ready` as soon as uploads can begin. Objects go to DIR/objects
    unless CHUNKFERRY_SERVICES names other stores.
    """
    signals = Signals()
    signals.install()
    if exit_with_parent:
        tether.die_with_parent(os.getppid(), signal.SIGTERM)
    settings = _settings(session)
    settings.data.mkdir(parents=True, exist_ok=True)
    with runfile.claim(settings.data):
        listening = listener.listen(settings, listen) if web_processes else None
        run = _Up(
            session.output,
            settings,
            signals,
            workers=workers,
            listening=listening,
            web_processes=web_processes,
        )
        return run.run(demo_size)


def _settings(session: Session) -> Settings:
    """The settings, with an absolute data folder and objects in it unless told otherwise."""
    own = session.own_settings
    data = own.data.absolute()
    services = own.services
    if "services" not in own.model_fields_set:
        services = {"default": f"file://{quote(str(data / 'objects'))}"}
    redis_url = own.redis_url if "redis_url" in own.model_fields_set else ""
    return own.changed(data=data, services=services, redis_url=redis_url)


class _Up:
    """One run, from the start of the first child to the end of the last."""

    def __init__(
        self,
        output: Output,
        settings: Settings,
        signals: Signals,
        *,
        workers: int,
        listening: socket.socket | None,
        web_processes: int,
    ) -> None:
        self._output = output
        self._settings = settings
        self._signals = signals
        self._workers = workers
        self._listening = listening
        self._web_processes = web_processes
        self._supervisor = Supervisor(signals, output.notice)

    def run(self, demo_size: int | None) -> int:
        """Start, serve, stop."""
        demo: Demo | None = None
        try:
            self._start_redis(self._settings.data)
            self._start_web()
            if self._start_workers():
                self._announce()
                if demo_size is not None:
                    demo = Demo(self._settings, demo_size, self._output)
                    demo.start()
                self._serve(demo)
        finally:
            if demo is not None:
                demo.cancel()
            if self._signals.stopping():
                self._output.notice("stopping; Ctrl-C again to hurry")
            self._supervisor.stop(_ORDER)
        return Exit.OK

    def _start_redis(self, data: Path) -> None:
        if not self._settings.redis_url:
            redis = children.RedisChild(data / "redis")
            self._supervisor.start(redis)
            self._settings = self._settings.changed(redis_url=redis.url)
        ChunkManager(settings=self._settings).init()

    def _start_web(self) -> None:
        if self._listening is not None:
            settings = listener.guarded(self._settings, self._listening)
            for _ in range(self._web_processes):
                self._supervisor.start(children.web(settings, self._listening))

    def _start_workers(self) -> bool:
        """Start worker and beat; True once uploads can begin, False to stop.

        Raises:
            NotReady: the worker does not answer.
            ChildKeepsEnding: one of them does not stay.
        """
        node = f"up-{secrets.token_hex(4)}@{socket.gethostname()}"
        self._supervisor.start(children.worker(self._settings, node, self._workers))
        self._supervisor.start(children.beat(self._settings))
        deadline = time.monotonic() + _START
        with wakeup.producer_app(self._settings.broker) as app:
            ready = self._supervisor.run(lambda: _answers(app, node) or time.monotonic() > deadline)
        if ready and time.monotonic() > deadline:
            raise NotReady
        return ready

    def _announce(self) -> None:
        settings = self._settings
        runfile.publish(
            settings.data,
            Running(
                pid=os.getpid(),
                started_at=time.time(),
                redis_url=settings.redis_url,
                broker_url=settings.broker_url,
                services=settings.services,
            ),
        )
        url = "" if self._listening is None else listener.url(self._listening)
        redis, services = without_secrets(settings.redis_url), sorted(settings.services)
        self._output.result(
            {
                "event": "ready",
                "url": url,
                "redis": redis,
                "services": services,
                "data": str(settings.data),
                "workers": self._workers,
                "pid": os.getpid(),
            },
            f"ready  {url or 'no front door'}  redis {redis}"
            f"  services {', '.join(services)}  data {settings.data}",
        )

    def _serve(self, demo: Demo | None) -> None:
        """Tend the children until a signal; raises what the demonstration failed with."""
        if demo is not None and self._supervisor.run(lambda: not demo.is_alive()) and demo.error:
            raise demo.error
        self._supervisor.run(lambda: False)


def _answers(app: Celery, node: str) -> bool:
    # Until the broker can be reached there is no answer, whatever the reason.
    with suppress(Exception):
        return bool(app.control.ping(destination=[node], timeout=_PING))
    return False
