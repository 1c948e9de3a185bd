"""What may take long at the front door, and stands in nobody's way."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from starlette.requests import Request

from chunkferry import config
from chunkferry.manager import ChunkManager
from chunkferry.testing import MemoryLedger
from chunkferry.tus import Action, Creation, Hooks, Principal, TusApp
from chunkferry.upload import ChunkUpload
from chunkferry.wakeup import NoWaker

TUS = {"Tus-Resumable": "1.0.0"}
NEW = {**TUS, "Upload-Length": "1"}
BYTES = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
#: More than any kind of call has threads.
MANY = 100
SECRET = "".join(["sword", "fish"])


class Gate:
    """Where threads wait until they are let through."""

    def __init__(self) -> None:
        self.waiting = 0
        self._is_open = threading.Event()

    def pass_through(self, *_: object) -> None:
        """Wait; fails where nobody opens."""
        self.waiting += 1
        assert self._is_open.wait(30)

    def open(self) -> None:
        """Let all through."""
        self._is_open.set()


def uploads(hooks: Hooks | None = None) -> TusApp:
    """The application, over a ledger in memory, with one upload: ``a``."""
    settings = config.load(services={"default": "memory://door"}, durability="fsynced")
    manager = ChunkManager(settings=settings, ledger=MemoryLedger(settings), waker=NoWaker())
    return TusApp(manager, hooks=hooks)


async def answered_meanwhile(
    app: TusApp, gate: Gate, send: Callable[[httpx.AsyncClient, int], Any]
) -> int:
    """The status of a HEAD while as many requests as may wait at ``gate``."""
    url = f"/{app.door.manager.create('a', 1).upload_id}"
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as web:
        waiting = [asyncio.create_task(send(web, number)) for number in range(MANY)]
        try:
            before = -1
            while gate.waiting != before or not gate.waiting:  # until no more of them come
                before = gate.waiting
                await anyio.sleep(0.2)
            with anyio.fail_after(20):
                return (await web.head(url, headers=TUS)).status_code
        finally:
            gate.open()
            await asyncio.gather(*waiting)


def test_slow_hooks_are_in_nobodys_way() -> None:
    """HEAD is answered while hooks hold all the threads they may."""
    gate = Gate()

    def dawdle(request: Request, creation: Creation) -> Creation:
        del request
        gate.pass_through()
        return creation

    async def begin(web: httpx.AsyncClient, _: int) -> httpx.Response:
        return await web.post("/", headers=NEW)

    app = uploads(Hooks(on_create=dawdle))
    assert asyncio.run(answered_meanwhile(app, gate, begin)) == 200


def test_slow_disks_are_in_nobodys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """HEAD is answered while bytes wait for Redis' disk."""
    gate, app = Gate(), uploads()
    manager = app.door.manager
    urls = [f"/{manager.create(f'b{number}', 1).upload_id}" for number in range(MANY)]
    monkeypatch.setattr(manager, "ensure_durable", gate.pass_through)

    async def append(web: httpx.AsyncClient, number: int) -> httpx.Response:
        return await web.patch(urls[number], headers=BYTES, content=b"x")

    assert asyncio.run(answered_meanwhile(app, gate, append)) == 200


def fail(request: Request, action: Action, upload: ChunkUpload | None) -> Principal | None:
    """A hook whose database is away."""
    raise ConnectionError(f"{SECRET} {request.url} {action} {upload}")


async def fail_later(
    request: Request, action: Action, upload: ChunkUpload | None
) -> Principal | None:
    """The same, as a coroutine function."""
    return fail(request, action, upload)


@pytest.mark.parametrize("authorize", [fail, fail_later])
@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 423), ("PATCH", 500), ("DELETE", 500), ("GET", 500)]
)
@pytest.mark.parametrize("marks", [TUS, {}])
def test_a_hook_that_fails_costs_no_upload(
    authorize: Any, method: str, status: int, marks: dict[str, str]
) -> None:
    """With when to come back; after any 5xx to HEAD, tus-js-client would begin a new upload."""
    app = uploads(Hooks(authorize=authorize))
    url = f"/{app.door.manager.create('a', 1).upload_id}"

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as web:
            return await web.request(method, url, headers=marks)

    answer = asyncio.run(ask())
    expected = 412 if method == "PATCH" and not marks else status
    assert (answer.status_code, SECRET in answer.text) == (expected, False)
    assert "retry-after" in answer.headers or expected == 412


def test_what_a_hook_raises_is_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    """It may hold what a client sent; type and place are there."""
    app = uploads(Hooks(authorize=fail))
    url = f"/{app.door.manager.create('a', 1).upload_id}"

    async def ask() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as web:
            await web.head(url, headers=TUS)

    with caplog.at_level(logging.ERROR):
        asyncio.run(ask())
    assert "A hook failed: ConnectionError" in caplog.text
    assert "in fail" in caplog.text
    assert SECRET not in caplog.text
