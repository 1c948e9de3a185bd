"""Uploads under load: slow clients, full Redises, large bodies; a front door of its own."""

from __future__ import annotations

import hashlib
import os
import re
import select
from base64 import b64encode
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from tests.servers.front import BYTES, Front, StartFront, begun, head_of, offset_of, sent
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry import ChunkManager
from chunkferry.parts import MIB

#: More than the front door has threads for any kind of call.
MANY = 100
#: As many as it has for calls of Redis.
HELD = 64
LARGE = 200 * MIB


@pytest.fixture
def real_site(real_site: Site) -> Site:
    """With a folder that takes bytes as fast as they come."""
    real_site.service(f"file://{real_site.folder}/objects")
    return real_site


def patch(url: str, offset: int, length: int) -> bytes:
    """The head of a PATCH whose body is still to come."""
    said = {"Upload-Offset": str(offset), "Content-Length": str(length)}
    return head_of("PATCH", url, **BYTES, **said)


def expiries(manager: ChunkManager) -> set[tuple[str, datetime]]:
    """Until when each upload is kept."""
    return {(upload.upload_id, upload.expiry) for upload in manager.list_uploads()}


def threads(front: Front) -> int:
    """How many the process of the front door has."""
    return len([*Path(f"/proc/{front.pid}/task").iterdir()])


def peak(front: Front) -> int:
    """Most bytes of memory that the front door has had so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{front.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def test_slow_clients_hold_no_thread(front: Front, web: httpx.Client) -> None:
    """More of them than threads, and everybody else is served; then they go on."""
    with ExitStack() as stack:
        urls = [begun(web, 4) for _ in range(MANY)]
        slow = [stack.enter_context(front.connection()) for _ in urls]
        for url, client in zip(urls, slow, strict=True):
            client.sendall(patch(url, 0, 4) + b"ab")
        wait_until(lambda: all(offset_of(web, url) == 2 for url in urls))
        assert sent(web, begun(web, 1), 0, b"x").status_code == httpx.codes.NO_CONTENT
        assert threads(front) < MANY
        for client in slow:
            client.sendall(b"cd")
        assert all(client.recv(100).startswith(b"HTTP/1.1 204 ") for client in slow)


def test_clients_that_wait_for_room_hold_no_thread(
    real_site: Site, start_front: StartFront
) -> None:
    """More of them than threads; HEAD is answered long before any of them is told 503."""
    full = {"CHUNKFERRY_MEMORY_LIMIT": "1", "CHUNKFERRY_APPEND_WAIT_SECONDS": "5"}
    front, manager = start_front({**real_site.env, **full}), real_site.manager()
    with front.client() as web, ExitStack() as stack:
        urls = [begun(web, 4) for _ in range(MANY)]
        before = expiries(manager)
        waiting = [stack.enter_context(front.connection()) for _ in urls]
        for url, client in zip(urls, waiting, strict=True):
            client.sendall(patch(url, 0, 4) + b"abcd")
        # Who waits for room is not silent, and is kept for longer.
        wait_until(lambda: len(expiries(manager) - before) >= HELD)
        assert [offset_of(web, url) for url in urls[:9]] == [0] * 9
        assert select.select(waiting, [], [], 0)[0] == []
        assert all(client.recv(100).startswith(b"HTTP/1.1 503 ") for client in waiting)


@pytest.mark.parametrize("has_checksum", [False, True])
def test_memory_does_not_grow_with_the_body(
    real_site: Site, start_front: StartFront, start_worker: StartWorker, has_checksum: bool
) -> None:
    """200 MiB in one request take less than 48 MiB of it, also while their checksum is awaited."""
    front = start_front(real_site.env)
    start_worker(real_site.env)
    with front.client() as web:
        assert sent(web, begun(web, MIB), 0, bytes(MIB)).status_code == httpx.codes.NO_CONTENT
        before = peak(front)
        url, said = begun(web, LARGE), {"Upload-Offset": "0"}
        body = os.urandom(LARGE)
        if has_checksum:
            said["Upload-Checksum"] = f"md5 {b64encode(hashlib.md5(body).digest()).decode()}"
        answer = web.patch(url, headers={**BYTES, **said}, content=body)
    assert answer.status_code == httpx.codes.NO_CONTENT
    assert peak(front) - before < 48 * MIB
