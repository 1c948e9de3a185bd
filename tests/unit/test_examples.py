"""The examples work, and are as short as the docs say."""

from __future__ import annotations

import ast
import importlib
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import cast
from urllib.parse import urlsplit

import pytest
from tests import storing
from tests.servers.receiver import SECRET, SECRET_BEFORE
from tests.storing import PART, FileService, crc32c, cut, new_upload, no_heartbeat, send

from chunkferry import webhooks
from chunkferry.config import load
from chunkferry.errors import SessionLost
from chunkferry.services import ChunkFileService, ChunkStore, Portable, Service
from chunkferry.state import State
from chunkferry.storage import from_url
from chunkferry.upload import Change
from chunkferry_worker.delivery import DeliveryFailed
from chunkferry_worker.webhook import Webhook

EXAMPLE = Path(__file__).parents[2] / "examples/sqlite_store.py"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChunkStore:
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    return from_url(f"sqlite_store:SqliteStore?path={tmp_path}/objects.db")


def service_of(store: ChunkStore) -> FileService:
    return cast("FileService", store.chunk_file_service())


def test_a_store_takes_less_than_60_lines() -> None:
    """Beside its imports, and its text for people."""
    text = EXAMPLE.read_text()
    body = [n for n in ast.parse(text).body if isinstance(n, ast.ClassDef | ast.Assign)]
    lines = text.splitlines()
    code = [line.strip() for n in body for line in lines[n.lineno - 1 : n.end_lineno]]
    code = [line for line in code if line and not line.startswith("#")]
    assert len(code) < 60


def test_a_worker_can_use_it(store: ChunkStore) -> None:
    """It is a store, and its uploads can be gone on with."""
    assert isinstance(store, Service)
    service = store.chunk_file_service()
    assert isinstance(service, ChunkFileService)
    assert isinstance(service, Portable)


@pytest.mark.parametrize("size", [0, 1, PART, 3 * PART + 7])
def test_another_worker_goes_on(store: ChunkStore, size: int) -> None:
    """Each part and the completion may be another worker's, and may be repeated."""
    data, upload = storing.content(size), new_upload(length=size)
    service = service_of(store)
    service.initialize_chunk(upload)
    stored = []
    for part in cut(data):
        state, service = service.save(), service_of(store)
        service.restore(upload, state)
        send(service, [part])
        stored += send(service, [part])
    assert service.find_object() is None
    first = service.complete_upload(stored, crc32c(data), no_heartbeat)
    assert first == service.complete_upload(stored, crc32c(data), no_heartbeat)
    assert data == storing.read(cast("Service", store), upload.filepath)


@pytest.mark.parametrize("size", [0, 4])
def test_late_effects_are_refused(store: ChunkStore, size: int) -> None:
    """After its removal nothing of an upload comes back, nor touches the next object."""
    data, upload = storing.content(size), new_upload(length=size)
    zombie = service_of(store)
    zombie.initialize_chunk(upload)
    parts = send(zombie, cut(data))
    service_of(store).restore(upload, "")
    zombie.cleanup(no_heartbeat)
    storing.store(store, new_upload(length=4), b"next")
    with pytest.raises(SessionLost):
        zombie.upload_part(cut(b"late")[0], no_heartbeat)
    with pytest.raises(SessionLost):
        zombie.complete_upload(parts, crc32c(data), no_heartbeat)
    assert storing.read(cast("Service", store), upload.filepath) == b"next"


def test_missing_parts_are_found_out(store: ChunkStore) -> None:
    """Other bytes than were received never become an object."""
    data, upload = storing.content(2 * PART), new_upload(length=2 * PART)
    service = service_of(store)
    service.initialize_chunk(upload)
    parts = send(service, cut(data)[:1])
    with pytest.raises(SessionLost):
        service.complete_upload(parts, crc32c(data), no_heartbeat)
    assert service.find_object() is None


# --- a receiver of webhooks -------------------------------------------------------------------


@pytest.fixture
def webhook_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example as a module, with a database of its own."""
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("WEBHOOK_EVENTS", str(tmp_path / "events.db"))
    yield importlib.import_module("webhook_receiver")
    del sys.modules["webhook_receiver"]


@pytest.fixture
def webhook_url(webhook_example: ModuleType) -> Iterator[str]:
    """Where it listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), webhook_example.Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def told_by(secret: str, url: str) -> Webhook:
    """What a worker posts with."""
    return Webhook(
        url, load(webhook_urls=[url], webhook_secrets=[secret], webhook_allow_private=True)
    )


@pytest.mark.parametrize("size", [-1, 64 * 1024 + 1])
def test_a_receiver_reads_no_more_than_an_event(webhook_url: str, size: int) -> None:
    """Nor does it wait for a sender to end who says that there is less than nothing."""
    place = urlsplit(webhook_url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as sender:
        sender.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        assert sender.recv(12) == b"HTTP/1.0 413"


def test_a_receiver_does_its_work_once(webhook_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """However often an event comes."""
    upload = new_upload()
    (event,) = webhooks.events(
        replace(upload, history=(Change(index=1, state=State.COMPLETE, time=upload.created_at),))
    )
    for _ in range(3):
        told_by(SECRET, webhook_url).deliver(event)
    assert capfd.readouterr().out == f"upload.complete {upload.filepath}\n"
    with pytest.raises(DeliveryFailed, match="answered 401"):
        told_by(SECRET_BEFORE, webhook_url).deliver(event)
