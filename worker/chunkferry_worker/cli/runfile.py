"""``DIR/run``: how one ``chunkferry up`` keeps a data folder to itself, and how others find it.

A lock, not a process id, tells whether it runs: the kernel drops it with the process, and no
stranger can come by it. Knows nothing of what ``up`` starts.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from chunkferry.errors import ChunkferryError, ConfigError

#: Somebody who only looks holds the lock for an instant; ``up`` waits that out.
_CLAIM_SECONDS: Final = 0.5


class NotRunning(ConfigError):
    """No Redis was named, and no ``chunkferry up`` runs in the data folder."""

    code = "not_running"

    def __init__(self, data: Path) -> None:
        super().__init__(
            f"no `chunkferry up` runs in {data}, and no Redis was named: start one there, choose "
            "another folder with --data or CHUNKFERRY_DATA, or name a Redis with --redis-url or "
            "CHUNKFERRY_REDIS_URL"
        )


class StillStarting(ChunkferryError):
    """A ``chunkferry up`` runs in the data folder, but is not ready yet."""

    code = "still_starting"
    retryable = True

    def __init__(self, data: Path) -> None:
        super().__init__(f"the `chunkferry up` in {data} is not ready yet")


class AlreadyRunning(ConfigError):
    """Another ``chunkferry up`` has the data folder."""

    code = "already_running"

    def __init__(self, data: Path) -> None:
        super().__init__(
            f"another `chunkferry up` runs in {data}: stop it, or choose another --data"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What other commands need to know of a running ``up``."""

    pid: int
    #: Seconds since the epoch.
    started_at: float
    #: With its password: the file is readable by its owner only.
    redis_url: str = field(repr=False)
    #: Empty if it is the same.
    broker_url: str = field(repr=False)
    services: Mapping[str, str] = field(repr=False)


@contextmanager
def claim(data: Path) -> Iterator[None]:
    """Keep ``data`` to this process.

    Raises:
        AlreadyRunning: another process has it.
        ConfigError: the folder cannot be used.
    """
    try:
        folder = data / "run"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise ConfigError(f"the data folder {data} cannot be used: {exc.strerror}") from exc
    try:
        if not _locked(handle, fcntl.LOCK_EX, _CLAIM_SECONDS):
            raise AlreadyRunning(data)
        _file(data).unlink(missing_ok=True)
        try:
            yield
        finally:
            _file(data).unlink(missing_ok=True)
    finally:
        os.close(handle)


def publish(data: Path, running: Running) -> None:
    """Let others find this process, which has claimed ``data``."""
    temporary = _file(data).with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(running), file)
    temporary.replace(_file(data))


def find(data: Path) -> Running:
    """The ``up`` that runs in ``data``.

    Raises:
        NotRunning: there is none.
        StillStarting: there is one, which others cannot use yet.
        ConfigError: what it left there could be somebody else's.
    """
    with suppress(OSError):
        handle = os.open(data / "run" / "lock", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not _locked(handle, fcntl.LOCK_SH):
                return _read(data)
        finally:
            os.close(handle)
    raise NotRunning(data)


def _read(data: Path) -> Running:
    try:
        with _file(data).open(encoding="utf-8") as file:
            _require_own(file.fileno(), data)
            return Running(**json.load(file))
    except FileNotFoundError:
        raise StillStarting(data) from None
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"{_file(data)} was written by another version of chunkferry") from exc


def _require_own(handle: int, data: Path) -> None:
    """Refuse what somebody else may have written: it names the Redis to use, and code to load."""
    facts = os.fstat(handle)
    if facts.st_uid not in {os.geteuid(), 0} or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"{_file(data)} belongs to, or can be written by, somebody else: run this as the user "
            "that runs `chunkferry up`, or name its Redis with CHUNKFERRY_REDIS_URL"
        )


def _file(data: Path) -> Path:
    return data / "run" / "up.json"


def _locked(handle: int, kind: int, patience: float = 0.0) -> bool:
    """Whether ``handle`` has the lock now; tries for ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True
