"""The processes that ``up`` starts: Redis, a worker, beat, the front door.

Each can be started, asked and ended. All are tethered to this process; they must be started from
its main thread.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from chunkferry.config import Settings
from chunkferry_worker import tether
from chunkferry_worker.embedded_redis import EmbeddedRedis

#: How long a worker may take to hand its uploads over, in seconds.
_STOP: Final = 20.0
#: Between two looks at an ending process, in seconds.
_LOOK: Final = 0.05
#: Share of the machine's memory for a Redis of our own.
_SHARE: Final = 0.5

#: Variables that Celery reads by itself.
_BROKERS: Final = frozenset(
    {"CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"}
)
#: A warning filter.
_ROOT_IS_FINE: Final = "ignore:You're running the worker with superuser privileges"


class Child(Protocol):
    """One process."""

    #: For people.
    name: str

    def start(self) -> None:
        """Start it; it must not be running."""

    def ended(self) -> str:
        """How it ended, for people; empty while it runs."""

    def stop(self, hurried: Callable[[], bool]) -> None:
        """End it in order, or at once when ``hurried()``; nothing happens if it has ended."""


class ModuleChild:
    """A Python module that is run as a program."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        settings: Settings,
        *,
        listening: socket.socket | None = None,
    ) -> None:
        self.name = name
        # -P: a file in the current folder must not take the place of a module.
        self._argv = [sys.executable, "-P", "-m", *arguments]
        self._environment = environment(settings)
        self._descriptors = () if listening is None else (listening.fileno(),)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; what it says goes to our stderr."""
        self._process = tether.spawn(
            self._argv, env=self._environment, stdout=2, pass_fds=self._descriptors
        )

    def ended(self) -> str:
        """How it ended."""
        if self._process is None or (code := self._process.poll()) is None:
            return ""
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"

    def stop(self, hurried: Callable[[], bool]) -> None:
        """SIGTERM, on which a worker hands its uploads over; SIGKILL when that takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        deadline = time.monotonic() + _STOP
        while self._process.poll() is None:
            if hurried() or time.monotonic() > deadline:
                self._process.kill()
            time.sleep(_LOOK)
        self._process = None


class RedisChild:
    """A Redis of our own."""

    name = "redis"

    def __init__(self, folder: Path) -> None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._server = EmbeddedRedis(folder, settings={"maxmemory": str(int(memory * _SHARE))})

    @property
    def url(self) -> str:
        """With its password."""
        return self._server.url

    def start(self) -> None:
        """Start it and wait until it answers; again on the same port."""
        self._server.kill()
        self._server.start()

    def ended(self) -> str:
        """How it ended."""
        return "" if self._server.is_running() else "ended"

    def stop(self, hurried: Callable[[], bool]) -> None:
        """End it; its data stay, even when it has to be killed."""
        if hurried():
            self._server.kill()
        else:
            self._server.stop()


def worker(settings: Settings, node: str, processes: int) -> ModuleChild:
    """A worker with a pool of ``processes``, known to Celery as ``node``."""
    # Without mingle and gossip: one worker has nobody to talk to, and starts sooner.
    alone = ["--without-mingle", "--without-gossip"]
    return _celery(
        "worker", ["--concurrency", str(processes), "--hostname", node, *alone], settings
    )


def beat(settings: Settings) -> ModuleChild:
    """The clock of the sweep."""
    return _celery("beat", [], settings)


def _celery(command: str, options: Sequence[str], settings: Settings) -> ModuleChild:
    application = ["celery", "-q", "-A", "chunkferry_worker"]
    return ModuleChild(
        command, [*application, command, *options, "--loglevel", "WARNING"], settings
    )


def web(settings: Settings, listening: socket.socket) -> ModuleChild:
    """One process of the front door; any number of them share the socket."""
    return ModuleChild(
        "web",
        ["chunkferry.tus.serve", "--descriptor", str(listening.fileno())],
        settings,
        listening=listening,
    )


def environment(settings: Settings) -> Mapping[str, str]:
    """What Celery commands need to work with the same Redis and stores."""
    # Celery would prefer these to what the application is configured with.
    ours = {name: value for name, value in os.environ.items() if name not in _BROKERS}
    return {
        **ours,
        "CHUNKFERRY_REDIS_URL": settings.redis_url,
        "CHUNKFERRY_BROKER_URL": settings.broker_url,
        "CHUNKFERRY_SERVICES": json.dumps(settings.services),
        "CHUNKFERRY_DATA": str(settings.data),
        "CHUNKFERRY_HTTP_HOSTS": json.dumps(settings.http_hosts),
        # Celery's advice against root is about pickle, which the application does not accept.
        "PYTHONWARNINGS": ",".join(
            filter(None, [os.environ.get("PYTHONWARNINGS", ""), _ROOT_IS_FINE])
        ),
    }
