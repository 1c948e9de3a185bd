"""Uploads to clouds through a proxy that breaks requests, each kind in each step.

After any fault either the call succeeds, or another worker goes on; the object ends whole, and
nothing is left.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar, cast
from urllib.parse import urlsplit

import pytest
from tests import storing
from tests.servers.azurite import ACCOUNT, AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.proxy import ProxyProcess
from tests.storing import PART, FileService, Store, crc32c, cut, new_upload, no_heartbeat, send

from chunkferry.errors import SessionLost, StoreUnavailable
from chunkferry.storage import from_url
from chunkferry.storage.azure import client as azure_client
from chunkferry.storage.gcs import client as gcs_client
from chunkferry.upload import ChunkUpload

T = TypeVar("T")

#: How a request is broken, and the amount that goes with it; see ``ProxyProcess``.
FAULTS = {"500": 0.0, "503": 0.0, "reset": 100_000.0, "lose": 0.0, "stall": 1.0}
STEPS = ["initialize", "first part", "last part", "complete", "cleanup"]


@pytest.fixture(scope="module")
def proxy() -> Iterator[ProxyProcess]:
    with ProxyProcess() as process:
        yield process


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A store behind a proxy, and a look at its server past that."""

    proxy: ProxyProcess
    #: Of the proxy.
    name: str
    store: Store
    leftovers: Callable[[], list[str]]
    #: False where a session whose URI got lost on its way ends by itself, after a week.
    finds_sessions: bool = True

    def attempt(
        self, upload: ChunkUpload, before: FileService, call: Callable[[FileService], T]
    ) -> T:
        """What ``call`` returns; if the store fails, what another worker's does."""
        try:
            return call(before)
        except StoreUnavailable:
            self.proxy.calm(self.name)
            successor = self.store.chunk_file_service()
            successor.restore(upload, before.save())
            return call(successor)


def on_gcs(request: pytest.FixtureRequest, proxy: ProxyProcess, name: str) -> Subject:
    server: GcsServer = request.getfixturevalue("gcs")
    port = proxy.listen(name, cast("int", urlsplit(server.endpoint).port), http=True)
    url = server.url(name, endpoint_url=f"http://127.0.0.1:{port}")
    return Subject(
        proxy=proxy,
        name=name,
        store=cast("Store", from_url(url)),
        leftovers=lambda: server.leftovers(name),
        finds_sessions=False,
    )


def on_azurite(request: pytest.FixtureRequest, proxy: ProxyProcess, name: str) -> Subject:
    server: AzureServer = request.getfixturevalue("azurite")
    port = proxy.listen(name, cast("int", urlsplit(server.endpoint).port), http=True)
    url = server.url(name, endpoint_url=f"http://127.0.0.1:{port}/{ACCOUNT}")
    return Subject(
        proxy=proxy,
        name=name,
        store=cast("Store", from_url(url)),
        leftovers=lambda: server.leftovers(name),
    )


@pytest.fixture(
    params=[
        pytest.param(on_gcs, id="gcs"),
        pytest.param(on_azurite, id="azurite", marks=pytest.mark.azure),
    ]
)
def subject(
    request: pytest.FixtureRequest, proxy: ProxyProcess, monkeypatch: pytest.MonkeyPatch
) -> Subject:
    for module in (azure_client, gcs_client):
        monkeypatch.setattr(module, "READ_SECONDS", 0.6)
    monkeypatch.setattr(azure_client, "_BACKOFF", 0)
    return cast("Subject", request.param(request, proxy, secrets.token_hex(8)))


@pytest.mark.parametrize("requests", [1, 9])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS[:-1])
def test_an_upload_survives_any_fault(
    subject: Subject, step: str, fault: str, requests: int
) -> None:
    """One broken request is repeated at once; more of them are for another worker."""
    data = storing.content(PART + 300_000)
    upload = new_upload(length=len(data))
    first, last = cut(data)

    def breaking(current: str) -> None:
        if current == step:
            subject.proxy.break_requests(subject.name, fault, requests, amount=FAULTS[fault])

    def initialize(service: FileService) -> FileService:
        service.initialize_chunk(upload)
        return service

    breaking("initialize")
    service = subject.attempt(upload, subject.store.chunk_file_service(), initialize)
    subject.proxy.calm(subject.name)
    breaking("first part")
    parts = subject.attempt(upload, service, lambda it: send(it, [first]))
    subject.proxy.calm(subject.name)
    breaking("last part")
    parts += subject.attempt(upload, service, lambda it: send(it, [last]))
    subject.proxy.calm(subject.name)
    breaking("complete")
    made = subject.attempt(
        upload, service, lambda it: it.complete_upload(parts, crc32c(data), no_heartbeat)
    )
    subject.proxy.calm(subject.name)
    assert made.size == len(data)
    assert data == storing.read(subject.store, upload.filepath)
    if subject.finds_sessions or (step, fault) != ("initialize", "lose"):
        assert subject.leftovers() == []


@pytest.mark.parametrize("requests", [1, 9])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_removal_survives_any_fault(subject: Subject, fault: str, requests: int) -> None:
    """Whoever cleans up after a fault leaves nothing, and nothing comes back."""
    data = storing.content(300_000)
    upload = new_upload(length=len(data))
    service = subject.store.chunk_file_service()
    service.initialize_chunk(upload)
    parts = send(service, cut(data))
    subject.proxy.break_requests(subject.name, fault, requests, amount=FAULTS[fault])
    subject.attempt(upload, service, lambda it: it.cleanup(no_heartbeat))
    subject.proxy.calm(subject.name)
    assert subject.leftovers() == []
    assert not subject.store.exists(upload.filepath)
    with pytest.raises(SessionLost):
        service.complete_upload(parts, crc32c(data), no_heartbeat)
