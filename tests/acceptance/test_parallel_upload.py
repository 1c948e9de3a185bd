"""A file sent in parallel, as tus clients do, while front doors and workers are killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import httpx
import pytest
import redis
from tests.chaos.checker import upload_keys
from tests.servers.front import BYTES, TUS, Front, StartFront
from tests.servers.receiver import SECRET, Answer, Receiver, Request
from tests.servers.stores import local_store
from tests.servers.workers import CeleryProcess, StartBeat, StartWorker
from tests.sites import PART, Site
from tests.waiting import wait_until

from chunkferry import ChunkManager, webhooks
from chunkferry.filepath import PARTIALS
from chunkferry.ledger import RedisLedger
from chunkferry.ledger.telling import LEAST
from chunkferry.parts import MIB
from chunkferry.services import ListService
from chunkferry.upload import ChunkUpload

#: Four of different sizes: of some parts and a bit, so that each takes several requests and turns.
PIECES = [os.urandom(size) for size in (2 * PART + 1, 3 * PART, PART - 7, 2 * PART + MIB)]
WHOLE = b"".join(PIECES)
#: Long enough for a busy machine to send a request, and short enough to be waited for.
EXPIRY = 40
#: What a client tries again after: the server says later. 409: it has other bytes than thought.
LATER = {409, 423, 503}


class Client:
    """A client behind a proxy without stickiness: one front door that is up after the other."""

    def __init__(self, fronts: list[Front]) -> None:
        self._fronts = fronts
        self._turns = count()
        self._web = httpx.Client(timeout=5)

    def _try(self, method: str, url: str, **options: Any) -> httpx.Response | None:
        """An answer; None if it is "later", or got lost."""
        fronts = [front for front in self._fronts if front.is_running]
        front = fronts[next(self._turns) % len(fronts)]
        try:
            answer = self._web.request(method, front.url + url, **options)
        except httpx.HTTPError:
            return None
        return None if answer.status_code in LATER else answer

    def ask(self, method: str, url: str, **options: Any) -> httpx.Response:
        """The first answer to a request that may be repeated."""
        while (answer := self._try(method, url, **options)) is None:
            pass
        return answer

    def close(self) -> None:
        """Let the connections go."""
        self._web.close()

    def partial(self, length: int) -> str:
        """Begin a partial upload; return its URL."""
        said = {**TUS, "Upload-Concat": "partial", "Upload-Length": str(length)}
        answer = self.ask("POST", "/files", headers=said)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return httpx.URL(answer.headers["location"]).path

    def send(self, url: str, piece: bytes) -> None:
        """Send all of it, a MiB a request, each to another front door than the one before."""
        while (at := int(self.ask("HEAD", url, headers=TUS).headers["upload-offset"])) < len(piece):
            said = {**BYTES, "Upload-Offset": str(at)}
            answer = self._try("PATCH", url, headers=said, content=piece[at : at + MIB])
            assert answer is None or answer.status_code == httpx.codes.NO_CONTENT, answer.text

    def join(self, urls: list[str]) -> str:
        """Have them joined; return the URL of the whole."""
        said = {**TUS, "Upload-Concat": f"final;{' '.join(urls)}"}
        answer = self.ask("POST", "/files", headers=said)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return httpx.URL(answer.headers["location"]).path


@dataclass
class World:
    """One deployment, and what is known of it from outside."""

    site: Site
    manager: ChunkManager
    receiver: Receiver

    def upload(self, url: str) -> ChunkUpload:
        """The upload behind a URL."""
        return self.manager.get(url.rpartition("/")[2])

    def received(self, *urls: str) -> int:
        """Bytes of all of these."""
        return sum(self.upload(url).received for url in urls)

    def require_told(self, path: str) -> None:
        """Of nothing but the upload to ``path``; each event came, and the first time in order."""
        expected = ["upload.created", "upload.received", "upload.complete"]
        kinds = self.receiver.kinds
        wait_until(lambda: len(kinds(path)) >= 2 * len(expected), 60, what="all events, twice")
        assert list(dict.fromkeys(kinds(path))) == expected
        for request in self.receiver.requests:
            event = webhooks.verify(request.headers, request.body, SECRET)
            assert event["upload"]["filepath"] == path

    def require_tidy(self) -> None:
        """Of all that was begun only objects stay: at the store, and in Redis."""
        store = local_store(self.site.folder / "objects")
        opened = store.open()
        assert isinstance(opened, ListService)
        partials = partial(opened.objects, PARTIALS)
        wait_until(lambda: not list(partials()), EXPIRY * 4, what="no partial object")
        assert store.leftovers() == []
        with redis.Redis.from_url(self.site.env["CHUNKFERRY_REDIS_URL"]) as client:

            def is_nearly_empty() -> bool:
                # -1: it would stay for ever. -2: it has just vanished.
                return all(-1 != client.pttl(key) <= LEAST for key in upload_keys(client))

            wait_until(is_nearly_empty, EXPIRY * 4, what="every key of an upload about to vanish")


@pytest.fixture
def world(real_site: Site, receiver: Receiver) -> Iterator[World]:
    """A store in a folder, a receiver of webhooks, and little patience with whoever is silent."""
    real_site.service(f"file://{real_site.folder}/objects")
    real_site.env |= {
        "CHUNKFERRY_INCOMPLETE_UPLOAD_EXPIRY": str(EXPIRY),
        "CHUNKFERRY_RESULT_TTL": "10",
        "CHUNKFERRY_SLICE_BYTES": str(PART),
        "CHUNKFERRY_WINDOW": str(3 * PART),
        "CHUNKFERRY_WEBHOOK_URLS": json.dumps([receiver.url]),
        "CHUNKFERRY_WEBHOOK_SECRETS": json.dumps([SECRET]),
        "CHUNKFERRY_WEBHOOK_ALLOW_PRIVATE": "true",
    }
    seen = set[str]()

    def fails_first(request: Request) -> Answer:
        is_new = request.event_id not in seen
        seen.add(request.event_id)
        return Answer(503 if is_new else 204)

    receiver.answer = fails_first
    manager = real_site.manager()
    yield World(real_site, manager, receiver)
    ledger = manager.ledger
    assert isinstance(ledger, RedisLedger)
    ledger.records._waiting.close()
    ledger.records._client.close()


@pytest.fixture
def fronts(world: World, start_front: StartFront) -> list[Front]:
    """Two."""
    return [start_front(world.site.env), start_front(world.site.env)]


@pytest.fixture
def workers(world: World, start_worker: StartWorker, start_beat: StartBeat) -> list[CeleryProcess]:
    """Two, and a beat."""
    start_beat(world.site.env)
    return [start_worker(world.site.env), start_worker(world.site.env)]


@pytest.fixture
def client(fronts: list[Front]) -> Iterator[Client]:
    """Of both front doors."""
    with closing(Client(fronts)) as made:
        yield made


def test_a_parallel_upload_survives_what_is_killed(
    world: World, fronts: list[Front], workers: list[CeleryProcess], client: Client
) -> None:
    """Whole in the store, told of in order, and nothing is left: of what was given up neither."""
    # Somebody else's, never joined: one that is sent, one that is begun.
    client.send(client.partial(3), b"abc")
    client.partial(3)

    urls = [client.partial(len(piece)) for piece in PIECES]
    with ThreadPoolExecutor(len(urls)) as pool:
        sending = [pool.submit(client.send, *one) for one in zip(urls, PIECES, strict=True)]
        wait_until(lambda: world.received(*urls) > len(WHOLE) // 4, 60, what="a quarter")
        fronts[0].kill()
        workers[0].kill()
        wait_until(lambda: world.received(*urls) > len(WHOLE) // 2, 60, what="the half")
        fronts[0].start()
        fronts[1].kill()
        workers[0].start(" ready.")
        for one in sending:
            one.result(120)
    fronts[1].start()

    final = client.join(urls)
    wait_until(lambda: world.received(final) > PART, 60, what="a join that has begun")
    fronts[0].kill()
    workers[1].kill()
    assert not world.upload(final).is_complete
    workers[1].start(" ready.")
    fronts[0].start()
    wait_until(lambda: world.upload(final).is_complete, 120, what="the object")

    path = world.upload(final).filepath
    assert int(client.ask("HEAD", final, headers=TUS).headers["upload-offset"]) == len(WHOLE)
    world.require_told(path)
    world.require_tidy()
    assert world.site.stored(path) == WHOLE
