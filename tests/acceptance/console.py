"""The command line as people use it: real processes, files and exit codes.

Every process started here carries a mark in its environment, which its own children inherit:
``Console.alive`` finds all that is left of them, whoever their parent is by then. (Redis writes
its title over its environment; it is found by its current folder.)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waiting import wait_until

from chunkferry.parts import MIB

#: Bounds under which lost workers are replaced within a test's patience.
QUICK = {
    "CHUNKFERRY_LEASE_SECONDS": "2",
    "CHUNKFERRY_SWEEP_SECONDS": "0.5",
    "CHUNKFERRY_REWAKE_SECONDS": "1",
    "CHUNKFERRY_BACKOFF_SECONDS": "0.2",
    "CHUNKFERRY_CHUNK_SIZE_LIMIT": str(5 * MIB),
    "CHUNKFERRY_WINDOW": str(14 * MIB),
}

MARK = "CHUNKFERRY_TEST_MARK"


@dataclass
class Console:
    """A shell in a folder of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def start(self, *arguments: str | Path, **streams: Any) -> subprocess.Popen[bytes]:
        """Start ``chunkferry`` and go on."""
        clean = {name: value for name, value in os.environ.items() if "CHUNKFERRY" not in name}
        return subprocess.Popen(
            [sys.executable, "-m", "chunkferry_worker", *map(str, arguments)],
            cwd=self.folder,
            env={**clean, **QUICK, **self.environment, MARK: self.mark},
            **streams,
        )

    def run(
        self,
        *arguments: str | Path,
        code: int = 0,
        stdin: bytes | None = None,
        tracebacks: bool = False,
    ) -> Finished:
        """Run ``chunkferry`` to its end, which must have the exit code ``code``.

        ``tracebacks``: whether its children may print some; its own are always a fault.
        """
        with self.start(
            *arguments,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            out, err = process.communicate(stdin, 60)
        finished = Finished(process.returncode, out.decode(), err.decode())
        assert tracebacks or "Traceback" not in finished.err, finished.err
        assert finished.code == code, finished
        return finished

    def json(self, *arguments: str | Path, code: int = 0, stdin: bytes | None = None) -> Any:
        """The last line of what a command says with ``--json``."""
        return self.run(*arguments, "--json", code=code, stdin=stdin).lines[-1]

    def doctor(self) -> dict[str, dict[str, str]]:
        """What ``doctor`` found, by the check, whatever it ends with."""
        with self.start("doctor", "--json", stdout=subprocess.PIPE) as process:
            out, _ = process.communicate(timeout=60)
        return {finding["check"]: finding for finding in map(json.loads, out.splitlines())}

    @contextlib.contextmanager
    def up(self, *arguments: str, data: str = "data") -> Iterator[Up]:
        """A running ``chunkferry up``, killed at the end if it is still there."""
        out, err = self.folder / "up.out", self.folder / "up.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = self.start("up", "--data", data, *arguments, stdout=stdout, stderr=stderr)
        with process:
            up = Up(process, out, err)
            try:
                wait_until(lambda: up.is_ready() or process.poll() is not None, 60, what="ready")
                assert process.poll() is None, up.err.read_text()
                yield up
            finally:
                process.kill()
        wait_until(lambda: not self.alive(), what="nothing is left")

    def alive(self, *, command: str = "") -> list[int]:
        """Processes with our mark, and ``command`` in their command line."""
        found = []
        for process in Path("/proc").iterdir():
            # They come and go while we look; those of others cannot be read.
            with contextlib.suppress(OSError):
                if process.name.isdecimal() and self._is_ours(process):
                    line = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                    if command.encode() in line:
                        found.append(int(process.name))
        return found

    def _is_ours(self, process: Path) -> bool:
        marked = f"{MARK}={self.mark}".encode() in (process / "environ").read_bytes()
        return marked or (process / "cwd").readlink().is_relative_to(self.folder)

    def file(self, name: str, size: int) -> Path:
        """A file of random bytes."""
        path = self.folder / name
        path.write_bytes(os.urandom(size))
        return path


@dataclass(frozen=True)
class Finished:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Its stdout, as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Up:
    """A running ``chunkferry up``."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def is_ready(self) -> bool:
        """Whether it has said so."""
        return any(line.startswith(("ready ", '{"event": "ready"')) for line in self.said())

    def said(self) -> list[str]:
        """Its whole lines so far."""
        return self.out.read_text().split("\n")[:-1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(40)


def sha256(path: Path) -> str:
    """Digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
