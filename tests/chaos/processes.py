"""Processes of a chaos run, kept running as a supervisor would: what ended is started again.

Knows signals and nothing of uploads.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from chunkferry_worker import tether


class ModuleProcess:
    """``python -m MODULE ARGUMENTS`` with its log."""

    def __init__(self, arguments: list[str], env: Mapping[str, str], log: Path) -> None:
        self._arguments, self._env, self.log = arguments, env, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its id."""
        assert self._process is not None
        return self._process.pid

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it."""
        with self.log.open("ab") as out:
            self._process = tether.spawn(
                [sys.executable, "-m", *self._arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._env},
            )
        return self._process

    def is_running(self) -> bool:
        """Whether it was started and has not ended since."""
        return self._process is not None and self._process.poll() is None

    def has_finished(self) -> bool:
        """Whether it came to its own end."""
        return self._process is not None and self._process.poll() == 0

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Supervisor:
    """Starts what ended, and thaws what was frozen for long enough. For one lasting thread."""

    def __init__(self) -> None:
        self.workers: list[ModuleProcess] = []
        self.beats: list[ModuleProcess] = []
        self.producers: list[ModuleProcess] = []
        #: What to do when, by the monotonic clock.
        self._later: list[tuple[float, Callable[[], object]]] = []

    def tend(self) -> None:
        """Do what is to be done now."""
        self._do_later(time.monotonic())
        for child in self._supervised():
            if not child.is_running():
                child.launch()

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Do it after some seconds."""
        self._later.append((time.monotonic() + seconds, act))

    def freeze(self, pid: int, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        send(pid, signal.SIGSTOP)
        self.later(seconds, lambda: send(pid, signal.SIGCONT))

    def calm(self) -> None:
        """Do at once what was to be done later."""
        self._do_later(float("inf"))

    def close(self) -> None:
        """End all processes."""
        for child in [*self.producers, *self.workers, *self.beats]:
            child.kill()

    def _do_later(self, now: float) -> None:
        ripe = [entry for entry in self._later if entry[0] <= now]
        self._later = [entry for entry in self._later if entry[0] > now]
        for _, act in ripe:
            act()

    def _supervised(self) -> list[ModuleProcess]:
        going = [producer for producer in self.producers if not producer.has_finished()]
        return [*self.workers, *self.beats, *going]


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False if the process has gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def children(pid: int) -> list[int]:
    """The pool of a worker."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in found.split()]
