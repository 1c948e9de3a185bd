"""The servers of docs/http.md, started as it says."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.servers.front import BYTES, begun, head_of, offset_of, sent
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry.parts import MIB
from chunkferry_worker import tether

PAGE = Path(__file__).parents[2] / "docs" / "http.md"
CONTENT = os.urandom(6 * MIB + 1)


def commands() -> dict[str, list[str]]:
    """Of the section "In production", by the server."""
    section = PAGE.read_text().partition("## In production")[2]
    block = re.search(r"```console\n(.*?)```", section, re.DOTALL)
    assert block is not None
    lines = block[1].replace("\\\n", " ").splitlines()
    return {words[1]: words[1:] for words in map(shlex.split, lines)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One of them, with all its processes."""

    process: subprocess.Popen[bytes]
    url: str

    def answers(self) -> bool:
        """Whether it takes requests."""
        assert self.process.poll() is None
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/healthz", timeout=5).is_success
        return False

    def ends(self) -> bool:
        """Have it end as an orchestrator does; whether it does so in order."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30) in {0, -signal.SIGTERM}


@pytest.fixture(params=sorted(commands()))
def server(request: pytest.FixtureRequest, real_site: Site, tmp_path: Path) -> Iterator[Server]:
    """Each, for this machine only and with less processes."""
    name, *options = commands()[request.param]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options[options.index("--host") + 1] = "127.0.0.1"
    options[options.index("--workers") + 1] = "2"
    # Without the witness, who lets nobody read.
    real_site.service(f"file://{tmp_path}/objects")
    with (tmp_path / "web.log").open("wb") as out:
        process = tether.spawn(
            [sys.executable, "-m", name, *options, "--port", str(port)],
            env={**os.environ, **real_site.env},
            stdout=out,
            stderr=out,
        )
    found = Server(process=process, url=f"http://127.0.0.1:{port}")
    try:
        wait_until(found.answers, 60, what=str(tmp_path / "web.log"))
        yield found
    finally:
        with suppress(ProcessLookupError):
            # A session of its own: with all that it has started.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


@pytest.fixture
def web(server: Server) -> Iterator[httpx.Client]:
    """A client of a server."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def test_it_ends_though_a_page_is_open(server: Server, web: httpx.Client) -> None:
    """Which reads news all the time, and never ends by itself."""
    with web.stream("GET", "/api/uploads/events") as news:
        assert next(news.iter_lines()) == "event: uploads"
        assert server.ends()


def test_an_upload_in_pieces_is_stored_and_served(
    web: httpx.Client, real_site: Site, start_worker: StartWorker
) -> None:
    """Whichever process each request reaches."""
    start_worker(real_site.env)
    url = begun(web, len(CONTENT))
    for start in range(0, len(CONTENT), 2 * MIB):
        answer = sent(web, url, start, CONTENT[start : start + 2 * MIB])
        assert answer.status_code == httpx.codes.NO_CONTENT
    wait_until(lambda: real_site.manager().get(url.rpartition("/")[2]).is_complete)
    assert web.get(url).content == CONTENT


def test_a_broken_connection_loses_next_to_nothing(web: httpx.Client) -> None:
    """Its upload goes on where it ended."""
    url = begun(web, len(CONTENT))
    headers = {**BYTES, "Upload-Offset": "0", "Content-Length": str(len(CONTENT))}
    with socket.create_connection((web.base_url.host, web.base_url.port or 0)) as made:
        made.sendall(head_of("PATCH", url, **headers) + CONTENT[: 4 * MIB])
    wait_until(lambda: offset_of(web, url) > 3 * MIB)

    def goes_on() -> bool:
        # The last bytes of the old connection may come in between: 409.
        offset = offset_of(web, url)
        return sent(web, url, offset, CONTENT[offset:]).is_success

    wait_until(goes_on)
