"""Real Celery processes for tests: workers and beats that can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from tests.waiting import wait_until

from chunkferry_worker import tether

#: Importing Celery and forking a pool takes a few seconds on a busy machine.
START_SECONDS = 60.0
STOP_SECONDS = 30.0
#: The module of the application.
APP = "chunkferry_worker"


class CeleryProcess:
    """One ``celery`` command of the application ``app`` with its log, run in the folder ``cwd``."""

    def __init__(
        self,
        arguments: list[str],
        env: Mapping[str, str],
        log: Path,
        *,
        app: str = APP,
        cwd: Path | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", "celery", "-A", app, *arguments]
        self._cwd = cwd
        self._env = {**os.environ, **env}
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The main process; its pool are its children."""
        assert self._process is not None
        return self._process.pid

    def start(self, ready: str) -> None:
        """Start it and wait until ``ready`` stands in its log."""
        skip = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self._process = tether.spawn(
                self._command,
                cwd=self._cwd,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env,
            )
        process = self._process

        def is_ready() -> bool:
            return ready.encode() in self.log.read_bytes()[skip:]

        wait_until(
            lambda: is_ready() or process.poll() is not None,
            START_SECONDS,
            what=f"{ready!r} in {self.log}",
        )
        # Whether it has ended since is the test's business: its first task may be its last.
        assert is_ready(), self.log.read_text()

    def has_ended(self) -> bool:
        """Whether its main process is gone."""
        return self._process is None or self._process.poll() is not None

    def supervise(self) -> None:
        """Start it again if it has ended, as whoever runs it in production does.

        kombu 5.7.0 ends a worker that loses its broker while it holds a message which it has not
        acknowledged yet: restoring it fails with an AttributeError.
        """
        if self.has_ended():
            self.start(" ready.")

    def kill(self) -> None:
        """SIGKILL: its pool dies with it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an orchestrator does it."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(STOP_SECONDS)


class StartWorker(Protocol):
    """The factory behind ``start_worker``."""

    def __call__(
        self,
        env: Mapping[str, str],
        *,
        concurrency: int = 2,
        pool: str = "prefork",
        queue: str = "",
        app: str = APP,
    ) -> CeleryProcess:
        """Start one more worker with these ``CHUNKFERRY_…`` variables; ``queue``: of that only."""


class StartBeat(Protocol):
    """The factory behind ``start_beat``."""

    def __call__(self, env: Mapping[str, str]) -> CeleryProcess:
        """Start one more beat."""


@contextlib.contextmanager
def workers(folder: Path) -> Iterator[StartWorker]:
    """Starts workers that end with the block; their logs are in ``folder``."""
    with contextlib.ExitStack() as stack:
        count = 0

        def start(
            env: Mapping[str, str],
            *,
            concurrency: int = 2,
            pool: str = "prefork",
            queue: str = "",
            app: str = APP,
        ) -> CeleryProcess:
            nonlocal count
            count += 1
            arguments = ["worker", "--loglevel=INFO", f"--hostname=w{count}@%h"]
            arguments += [f"--concurrency={concurrency}", f"--pool={pool}"]
            # Other workers of the same test are met by their work, not by chatting with them.
            arguments += ["--without-mingle", "--without-gossip"]
            arguments += [f"--queues={queue}"] if queue else []
            worker = CeleryProcess(arguments, env, folder / f"worker{count}.log", app=app)
            stack.callback(worker.kill)
            worker.start(" ready.")
            return worker

        yield start


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers that end with the test."""
    with workers(tmp_path) as start:
        yield start


@pytest.fixture
def start_beat(tmp_path: Path) -> Iterator[StartBeat]:
    """Starts beats that end with the test."""
    with contextlib.ExitStack() as stack:
        count = 0

        def start(env: Mapping[str, str]) -> CeleryProcess:
            nonlocal count
            count += 1
            beat = CeleryProcess(["beat", "--loglevel=INFO"], env, tmp_path / f"beat{count}.log")
            stack.callback(beat.kill)
            beat.start("beat: Starting...")
            return beat

        yield start
