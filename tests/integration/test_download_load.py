"""Downloads under load: slow clients, gone clients, large objects; a front door of its own."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.servers.finished import finished
from tests.servers.front import TUS, Front, StartFront
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry import ChunkUpload
from chunkferry.parts import MIB

#: More than all threads that a front door has.
CROWD = 120
SIZE = 24 * MIB


@pytest.fixture
def site(real_site: Site) -> Site:
    """A site whose objects are in a folder."""
    real_site.service(f"file://{real_site.folder}/objects")
    return real_site


@pytest.fixture
def front(site: Site, start_front: StartFront) -> Front:
    """A front door of the site."""
    return start_front(site.env)


@pytest.fixture
def web(front: Front) -> Iterator[httpx.Client]:
    """A client of it that does not wait for ever."""
    with front.client() as client:
        yield client


def readers_of(front: Front, filepath: Path) -> int:
    """How often the front door has a file open."""
    count = 0
    for entry in Path(f"/proc/{front.pid}/fd").iterdir():
        try:
            count += entry.readlink() == filepath
        except FileNotFoundError:
            continue
    return count


def slow_reader(front: Front, upload: ChunkUpload) -> socket.socket:
    """A client that asks for an object, and reads but the first bytes of the answer."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(30)
    made.connect(("127.0.0.1", int(front.url.rpartition(":")[2])))
    made.sendall(f"GET /files/{upload.upload_id} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert made.recv(12) == b"HTTP/1.1 200"
    return made


def test_a_slow_reader_holds_no_thread(site: Site, front: Front, web: httpx.Client) -> None:
    """More of them than threads, and everybody else is served; then all is let go."""
    data = os.urandom(SIZE)
    upload = finished(site, data)
    stored = site.folder / "objects" / upload.filepath
    with ExitStack() as stack:
        for _ in range(CROWD):
            stack.enter_context(slow_reader(front, upload))
        wait_until(lambda: readers_of(front, stored) == CROWD, what="all read")
        assert web.get(f"/files/{upload.upload_id}").content == data
        assert web.head(f"/files/{upload.upload_id}", headers=TUS).status_code == httpx.codes.OK
    wait_until(lambda: readers_of(front, stored) == 0, what="nobody reads")


def test_a_client_that_goes_away_lets_the_file_go(site: Site, front: Front) -> None:
    """The store's stream is closed as soon as nobody is there to send to."""
    upload = finished(site, bytes(SIZE))
    stored = site.folder / "objects" / upload.filepath
    with slow_reader(front, upload):
        wait_until(lambda: readers_of(front, stored) == 1)
    wait_until(lambda: readers_of(front, stored) == 0)


def test_a_finished_download_lets_the_file_go(site: Site, front: Front, web: httpx.Client) -> None:
    """Also where its connection stays."""
    upload = finished(site, bytes(SIZE))
    stored = site.folder / "objects" / upload.filepath
    assert len(web.get(f"/files/{upload.upload_id}").content) == SIZE
    wait_until(lambda: readers_of(front, stored) == 0)


def test_an_object_that_breaks_off_is_no_whole_answer(
    site: Site, front: Front, web: httpx.Client
) -> None:
    """Its client sees that bytes are missing, and no bytes of another version."""
    upload = finished(site, bytes(SIZE))
    stored = site.folder / "objects" / upload.filepath
    with web.stream("GET", f"/files/{upload.upload_id}") as answer:
        pieces = answer.iter_raw(64 * 1024)
        next(pieces)
        with stored.open("r+b") as file:
            file.write(b"changed in its place")
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    assert "A download broke off: integrity" in front.log.read_text()
    assert "Traceback" not in front.log.read_text()


def test_memory_does_not_grow_with_the_object(site: Site, front: Front, web: httpx.Client) -> None:
    """200 MB, to a quick client and to ten that stop, take less than 32 MB of it."""
    size = 200 * 10**6
    upload = finished(site, bytes(size))
    assert web.get(f"/files/{upload.upload_id}", headers={"Range": "bytes=0-0"}).content == b"\0"
    before = peak(front)
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(slow_reader(front, upload))
        with web.stream("GET", f"/files/{upload.upload_id}") as answer:
            assert sum(map(len, answer.iter_raw())) == size
    assert peak(front) - before < 32 * MIB


def peak(front: Front) -> int:
    """Most bytes of memory that the front door has had so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{front.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
