"""Real front doors for tests: processes that serve HTTP, and can be killed and started again.

Each keeps its socket while it is down, as ``chunkferry up`` does, unless it is told to let go.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import httpx
import pytest
from tests.servers.redis import RedisServer
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry_worker import tether

STOP_SECONDS = 30.0
#: Of ``shared_front``: its database on the shared server, and the most bytes of an upload.
DATABASE = 8
MAX_SIZE = 1 << 40
#: The version that every request of tus has to name.
TUS = {"Tus-Resumable": "1.0.0"}
#: Headers of a body that holds bytes of an upload.
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


class Front:
    """One process of the front door at a URL of its own."""

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        self._env = {**os.environ, **env}
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._address: tuple[str, int] = self._listening.getsockname()

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://{self.address}"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self._address[0]}:{self._address[1]}"

    @property
    def files(self) -> str:
        """Where uploads begin."""
        return f"{self.url}/files"

    @property
    def pid(self) -> int:
        """Its only process."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True while its process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers; where it was, if its address was let go."""
        if self._listening.fileno() == -1:
            self._listening = socket.create_server(self._address, backlog=512)
        descriptor = self._listening.fileno()
        with self.log.open("ab") as out:
            self._process = tether.spawn(
                [sys.executable, "-m", "chunkferry.tus.serve", "--descriptor", str(descriptor)],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env,
                pass_fds=[descriptor],
            )
        process = self._process
        wait_until(lambda: process.poll() is not None or self._answers(), 30, what="the front door")
        assert process.poll() is None, self.log.read_text()

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.options(self.files, timeout=5).status_code == httpx.codes.NO_CONTENT
        return False

    def kill(self) -> None:
        """SIGKILL; who connects now waits until it is started again."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an orchestrator does it."""
        self._end(signal.SIGTERM)

    def restart_with(self, env: Mapping[str, str]) -> None:
        """Stop it and start it again with other variables."""
        self.stop()
        self._env |= env
        self.start()

    def close(self) -> None:
        """Kill it and let its address go."""
        self.kill()
        self._listening.close()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(STOP_SECONDS)

    @contextlib.contextmanager
    def connection(self) -> Iterator[socket.socket]:
        """A connection, for requests that a test writes by hand."""
        with socket.create_connection(self._listening.getsockname(), timeout=60) as opened:
            yield opened

    def client(self) -> httpx.Client:
        """An HTTP client whose URLs are relative to this front door."""
        return httpx.Client(base_url=self.url, timeout=60)


class StartFront(Protocol):
    """The factory behind ``start_front``."""

    def __call__(self, env: Mapping[str, str]) -> Front:
        """Start one more front door with these ``CHUNKFERRY_…`` variables."""


@contextlib.contextmanager
def fronts(folder: Path) -> Iterator[StartFront]:
    """Starts front doors that end with the block; their logs are in ``folder``."""
    with contextlib.ExitStack() as stack:
        count = 0

        def start(env: Mapping[str, str]) -> Front:
            nonlocal count
            count += 1
            front = Front(env, folder / f"front{count}.log")
            stack.callback(front.close)
            front.start()
            return front

        yield start


@pytest.fixture(scope="session")
def shared_front(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """One front door without workers for all tests that need no other, in a database of its own."""
    folder = tmp_path_factory.mktemp("front")
    front = Front(
        {
            "CHUNKFERRY_REDIS_URL": f"{redis_server.url.rpartition('/')[0]}/{DATABASE}",
            "CHUNKFERRY_SERVICES": json.dumps({"default": f"file://{folder}/objects"}),
            "CHUNKFERRY_HTTP_MAX_SIZE": str(MAX_SIZE),
            "CHUNKFERRY_HTTP_BODY_TIMEOUT_SECONDS": "1",
        },
        folder / "log",
    )
    front.start()
    yield front
    front.close()


@pytest.fixture
def shared_web(shared_front: Front) -> Iterator[httpx.Client]:
    """A client of ``shared_front``."""
    with shared_front.client() as client:
        yield client


@pytest.fixture
def start_front(tmp_path: Path) -> Iterator[StartFront]:
    """Starts front doors that end with the test."""
    with fronts(tmp_path) as start:
        yield start


@pytest.fixture
def front(real_site: Site, start_front: StartFront) -> Front:
    """A front door of ``real_site``; without a worker, unless the test starts one."""
    return start_front(real_site.env)


@pytest.fixture
def web(front: Front) -> Iterator[httpx.Client]:
    """A client of ``front``."""
    with front.client() as client:
        yield client


def begun(web: httpx.Client, length: int | None, *, files: str = "/files", **headers: str) -> str:
    """Begin an upload by tus; return its URL."""
    said = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
    answer = web.post(files, headers={**TUS, **said, **headers})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return answer.headers["location"]


def sent(web: httpx.Client, url: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
    """Send bytes by tus."""
    said = {**BYTES, "Upload-Offset": str(offset), **headers}
    return web.patch(url, headers=said, content=data)


def offset_of(web: httpx.Client, url: str) -> int:
    """Where the server says to go on."""
    answer = web.head(url, headers=TUS)
    assert answer.status_code == httpx.codes.OK, answer.status_code
    return int(answer.headers["upload-offset"])


def head_of(method: str, url: str, **headers: str) -> bytes:
    """The head of a request of tus, for a body that a test sends by hand."""
    said = [f"{name}: {value}" for name, value in {**TUS, **headers}.items()]
    return "\r\n".join([f"{method} {url} HTTP/1.1", "Host: x", *said, "", ""]).encode()


def answer_of(connection: socket.socket) -> tuple[int, str]:
    """Status and head of the answer that comes first."""
    head = b""
    while b"\r\n\r\n" not in head and (data := connection.recv(65536)):
        head += data
    text = head.partition(b"\r\n\r\n")[0].decode("latin-1").lower()
    return int(text.split(" ")[1]) if text else 0, text
