"""An ASGI application served by uvicorn from a thread of the test: real sockets, quick to start.

For what does not take a process of its own; see ``tests.servers.front`` for those.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from tests.waiting import wait_until

from chunkferry.ledger.records import RedisRecords
from chunkferry.tus.app import TusApp


@contextmanager
def served(app: Starlette) -> Iterator[httpx.Client]:
    """A client of ``app``, which does not go on to where it is redirected."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = uvicorn.Server(
        uvicorn.Config(app, http="httptools", log_level="critical", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]), daemon=True)
    thread.start()
    wait_until(lambda: server.started, what="uvicorn")
    port = listening.getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
        _let_go(app)


def _let_go(app: Starlette) -> None:
    """Close the connections to Redis, which a process ends by ending."""
    for route in app.routes:
        uploads = getattr(route, "app", None)
        if isinstance(uploads, TusApp):
            records = uploads.door.manager._ledger.records
            assert isinstance(records, RedisRecords)
            records._client.close()
            records._waiting.close()
