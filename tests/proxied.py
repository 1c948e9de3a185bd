"""Uploads to real servers through a proxy that breaks their requests, and workers at them.

``Subject`` is a store behind the proxy, ``World`` the workers and what they have asked it for.
Knows nothing of which requests a store makes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from botocore.retries.standard import ExponentialBackoff
from tests.producing import OneStore, Site, small_parts
from tests.servers.azurite import ACCOUNT, AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.http_proxy import Rule
from tests.servers.proxy import ProxyProcess
from tests.servers.s3 import S3Server
from tests.storing import Store

from chunkferry.moves import Deferral
from chunkferry.state import State
from chunkferry.storage import from_url
from chunkferry.storage.azure import client as azure_client
from chunkferry.storage.gcs import client as gcs_client
from chunkferry.storage.per_process import PerProcess
from chunkferry.storage.s3 import client as s3_client
from chunkferry.storage.s3.store import S3Store
from chunkferry.testing import ManualClock, MemoryLedger
from chunkferry_worker.drain import Drain
from chunkferry_worker.sweep import Sweep

#: How a request is broken, and the amount that goes with it; see ``Rule``.
FAULTS = {"500": 0.0, "503": 0.0, "reset": 100_000.0, "lose": 0.0, "stall": 1.0}
#: Silence that a worker puts up with here: long for a server on loopback, and less than a stall.
READ_SECONDS = 0.4
#: Google's SDK repeats requests for so long, however many these are.
RETRY_SECONDS = 0.2

#: By endpoint and way: a client is slow to make, and one that meets very many faults stops to
#: repeat requests at all (botocore's retry quota).
_S3_CLIENTS: dict[tuple[str, str], PerProcess[Any]] = {}


class Proxies:
    """One process of proxies, with one before each server."""

    def __init__(self, process: ProxyProcess) -> None:
        self.process = process
        self._ports: dict[str, int] = {}

    def before(self, name: str, endpoint: str) -> str:
        """The proxied endpoint of the server called ``name``."""
        if name not in self._ports:
            port = urlsplit(endpoint).port
            assert port is not None
            self._ports[name] = self.process.listen(name, port, http=True)
        return f"http://127.0.0.1:{self._ports[name]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A store behind a proxy, and a look at its server past that."""

    process: ProxyProcess
    #: Of the proxy.
    name: str
    store: Store
    #: What unfinished uploads have left.
    leftovers: Callable[[], list[str]]
    #: Requests that one call of the store makes at most while they fail.
    attempts: int
    #: True where every call makes a second one; False where it goes by the call and by time.
    repeats: bool = True
    #: False where a session whose URI got lost on its way ends by itself, after a week.
    finds_sessions: bool = True


class World:
    """Workers at a store, with a ledger in memory, and what they ask the store for."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        settings = small_parts()
        self._clock = ManualClock()
        self._site = Site(MemoryLedger(settings, clock=self._clock), settings)
        stores = OneStore(subject.store, settings)
        ledger, waker = self._site.ledger, self._site.waker
        self._drain = Drain(ledger, stores, waker, settings, worker="w")
        self._sweep = Sweep(ledger, stores, waker, settings)
        self.manager = self._site.manager
        #: The requests of each turn of a worker and of each sweep, with how they were broken.
        self.turns: list[list[tuple[str, str]]] = []
        #: Turns that put the upload off.
        self.deferrals = 0

    def begin(self, filepath: str, data: bytes, length: int) -> str:
        """An upload of ``length`` bytes whose first ones are sent."""
        upload_id = self.manager.create(filepath, length).upload_id
        self.manager.append(upload_id, 0, data)
        return upload_id

    def aim(self, rule: Rule) -> None:
        """Break requests from now on."""
        self.subject.process.aim(self.subject.name, rule)

    def forget(self) -> None:
        """Break nothing any more, and begin the record of turns anew."""
        self.subject.process.calm(self.subject.name)
        self.subject.process.seen(self.subject.name)
        self.turns.clear()
        self.deferrals = 0

    def answer(self) -> None:
        """Answer the wake-ups that there are, one turn each."""
        for upload_id in self._site.waker.take():
            self.deferrals += self._drain.run(upload_id).outcome == Deferral.DEFERRED
            self._note()

    def settle(self, upload_id: str) -> State:
        """Let workers work and time pass until the upload stands still."""
        for _ in range(20):
            self.answer()
            upload = self.manager.get(upload_id)
            if upload.has_ended or upload.state is State.FAILED:
                break
            self._pass_time()
        return self.manager.get(upload_id).state

    def look_after_graves(self) -> None:
        """Let sweeps look at what ended uploads left."""
        for _ in range(3):
            self._pass_time()

    def requests(self) -> list[str]:
        """What the store was asked for, in order."""
        return [operation for turn in self.turns for operation, _ in turn]

    def _pass_time(self) -> None:
        self._clock.advance(timedelta(seconds=61))
        self._sweep.run()
        self._note()

    def _note(self) -> None:
        self.turns.append(self.subject.process.seen(self.subject.name))


def on_s3(request: pytest.FixtureRequest, proxies: Proxies, way: str, fixture: str) -> Subject:
    """A prefix of a bucket on the server of ``fixture``."""
    server: S3Server = request.getfixturevalue(fixture)
    prefix, endpoint = secrets.token_hex(8), proxies.before(fixture, server.endpoint)
    options = {"profile": "ceph" if fixture == "rgw" else "aws", "endpoint_url": endpoint}
    if way == "silent":  # the others keep the time-out that a busy machine never runs into
        options["read_timeout_seconds"] = str(READ_SECONDS)
    store = from_url(server.url(prefix, **options))
    assert isinstance(store, S3Store)
    clients = _S3_CLIENTS.setdefault((endpoint, way), store._bucket._clients)
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setattr(store._bucket, "_clients", clients)
    # Whether it repeats a request is what counts here, not that it takes its time.
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)

    def leftovers() -> list[str]:
        found = store._bucket.client.list_multipart_uploads(
            Bucket=server.bucket, Prefix=f"{prefix}/"
        )
        return [upload["Key"] for upload in found.get("Uploads", [])]

    return Subject(
        process=proxies.process,
        name=fixture,
        store=store,
        leftovers=leftovers,
        attempts=s3_client.ATTEMPTS,
    )


def on_gcs(request: pytest.FixtureRequest, proxies: Proxies, way: str) -> Subject:
    """A prefix of an emulated bucket."""
    server: GcsServer = request.getfixturevalue("gcs")
    prefix, endpoint = secrets.token_hex(8), proxies.before("gcs", server.endpoint)
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setattr(gcs_client, "READ_SECONDS", READ_SECONDS)
    monkeypatch.setattr(gcs_client, "RETRY_SECONDS", RETRY_SECONDS)
    store = cast("Store", from_url(server.url(prefix, endpoint_url=endpoint)))
    # A fresh client of the SDK looks at the bucket before all else, once.
    assert not store.exists("file")
    return Subject(
        process=proxies.process,
        name="gcs",
        store=store,
        leftovers=lambda: server.leftovers(prefix),
        attempts=9,
        repeats=False,
        finds_sessions=False,
    )


def on_azurite(request: pytest.FixtureRequest, proxies: Proxies, way: str) -> Subject:
    """A prefix of an emulated container."""
    server: AzureServer = request.getfixturevalue("azurite")
    prefix, endpoint = secrets.token_hex(8), proxies.before("azurite", server.endpoint)
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setattr(azure_client, "READ_SECONDS", READ_SECONDS)
    monkeypatch.setattr(azure_client, "_BACKOFF", 0)
    return Subject(
        process=proxies.process,
        name="azurite",
        store=cast("Store", from_url(server.url(prefix, endpoint_url=f"{endpoint}/{ACCOUNT}"))),
        leftovers=lambda: server.leftovers(prefix),
        attempts=azure_client.RETRIES + 1,
    )
