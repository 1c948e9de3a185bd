"""The news of uploads as Server-Sent Events, over a real Redis and real connections."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.servers.finished import fail, finish, finished
from tests.servers.front import TUS, StartFront, begun
from tests.servers.inside import served
from tests.servers.redis import FreshRedis
from tests.sites import PART, Site
from tests.waiting import wait_until

from chunkferry.tus import asgi, events

#: More than all threads that a front door has.
CROWD = 120


@dataclass
class Told:
    """One event, as a browser has it."""

    event_id: str
    name: str
    data: dict[str, Any]


class Reader:
    """A browser's ``EventSource``, less its coming back."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines()
        #: Of the newest ``retry`` field.
        self.retry = ""

    def heard(self) -> Iterator[str]:
        """Comments; skips all else."""
        return (line for line in self._lines if line.startswith(":"))

    def __iter__(self) -> Iterator[Told]:
        fields = dict[str, str]()
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name == "retry":
                self.retry = value
            elif line and not line.startswith(":"):
                fields[name] = value
            elif fields:
                yield Told(fields["id"], fields["event"], json.loads(fields["data"]))
                fields = {}


@contextmanager
def reading(web: httpx.Client, upload_id: str, after: str | None = None) -> Iterator[Reader]:
    """A reader of an upload's news."""
    headers = {} if after is None else {"Last-Event-ID": after}
    with web.stream("GET", f"/files/{upload_id}/events", headers=headers) as answer:
        assert answer.status_code == httpx.codes.OK, answer.read()
        yield Reader(answer)


@pytest.fixture
def site(real_site: Site) -> Site:
    """A site whose objects are in a folder."""
    real_site.service(f"file://{real_site.folder}/objects")
    return real_site


@pytest.fixture
def web(site: Site) -> Iterator[httpx.Client]:
    """A client of its front door."""
    with served(asgi.site(site.settings())) as client:
        yield client


def names(told: list[Told]) -> list[str]:
    return [event.name for event in told]


def test_a_server_that_leaves_ends_its_streams(site: Site, start_front: StartFront) -> None:
    """At once, instead of being cut off when its grace is over, which uvicorn would log."""
    front = start_front(site.env)
    with front.client() as web, reading(web, begun(web, 4).rpartition("/")[2]) as reader:
        told = iter(reader)
        next(told)
        front.stop()
        assert list(told) == []
    assert "graceful" not in front.log.read_text()


def test_news_begin_with_the_present_and_end_with_the_end(site: Site, web: httpx.Client) -> None:
    """Received, stored, complete; then the server ends the answer."""
    manager = site.manager(lose_wake_ups=True)
    upload = manager.create("a/b", 2 * PART)
    with reading(web, upload.upload_id) as reader:
        told = iter(reader)
        first = next(told)
        assert (first.name, first.data) == (
            "received",
            {
                "state": "receiving",
                "received": 0,
                "stored": 0,
                "length": 2 * PART,
                "error": "",
                "error_code": "",
            },
        )
        manager.append(upload.upload_id, 0, bytes(PART))
        assert next(told).data["received"] == PART
        finish(site)
        manager.append(upload.upload_id, PART, bytes(PART))
        finish(site)
        rest = list(told)
    assert "stored" in names(rest)
    assert (rest[-1].name, rest[-1].data["state"]) == ("complete", "complete")
    assert rest[-1].data["stored"] == 2 * PART
    assert reader.retry == "2000"


def test_headers_keep_proxies_from_keeping_news(site: Site, web: httpx.Client) -> None:
    """No cache and no buffer."""
    upload = finished(site, b"x")
    with reading(web, upload.upload_id) as reader:
        headers = reader.answer.headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")


def test_news_are_replayed_from_any_id(site: Site, web: httpx.Client) -> None:
    """After each event come exactly those that came after it."""
    upload = finished(site, bytes(2 * PART))
    with reading(web, upload.upload_id, "0") as reader:
        everything = list(reader)
    assert len(everything) >= 3
    for index, event in enumerate(everything[:-1]):
        with reading(web, upload.upload_id, event.event_id) as reader:
            assert [e.event_id for e in reader] == [e.event_id for e in everything[index + 1 :]]


def test_whoever_knows_the_end_stays_away(site: Site, web: httpx.Client) -> None:
    """204: after anything else a browser would come back for ever."""
    upload = finished(site, b"x")
    with reading(web, upload.upload_id) as reader:
        (end,) = reader
    headers = {"Last-Event-ID": end.event_id}
    answer = web.get(f"/files/{upload.upload_id}/events", headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_failed_upload_may_go_on(site: Site, web: httpx.Client) -> None:
    """``failed`` with its reason is not the end: after a requeue, more comes."""
    manager = site.manager(lose_wake_ups=True)
    upload = manager.create("a/b", 1)
    manager.append(upload.upload_id, 0, b"x")
    with reading(web, upload.upload_id) as reader:
        told = iter(reader)
        fail(site, upload.upload_id, "store_refused", "no room")
        failed = next(event for event in told if event.name == "failed")
        assert (failed.data["error_code"], failed.data["error"]) == ("store_refused", "no room")
        manager.requeue(upload.upload_id)
        finish(site)
        assert names(list(told))[-1] == "complete"


def test_a_cancelled_upload_ends_the_news(site: Site, web: httpx.Client) -> None:
    """``cancelled``, when it is removed."""
    manager = site.manager(lose_wake_ups=True)
    upload = manager.create("a/b", 2)
    with reading(web, upload.upload_id) as reader:
        manager.cancel(upload.upload_id)
        finish(site)
        assert names(list(reader))[-1] == "cancelled"


@pytest.mark.parametrize("event_id", ["x", "-1", "1-", "1-2-3", "9" * 20, "\xb2", "1\t2", "{}"])
def test_what_is_no_id_is_refused(site: Site, web: httpx.Client, event_id: str) -> None:
    """400, and never 500."""
    upload = finished(site, b"x")
    headers = [(b"last-event-id", event_id.encode("latin-1"))]
    answer = web.get(f"/files/{upload.upload_id}/events", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


def test_an_id_of_another_time_begins_anew(site: Site, web: httpx.Client) -> None:
    """Redis came back without its newest events: the present is told, and what follows it."""
    manager = site.manager(lose_wake_ups=True)
    upload = manager.create("a/b", 1)
    with reading(web, upload.upload_id, "9" * 19) as reader:
        told = iter(reader)
        assert next(told).data["state"] == "receiving"
        manager.append(upload.upload_id, 0, b"x")
        finish(site)
        assert names(list(told))[-1] == "complete"


def test_news_are_only_for_whom_they_belong_to(site: Site) -> None:
    """404 for anybody else."""
    upload = finished(site, b"x", notes={"principal": "ann"})
    tokens = {"ann": "a" * 32, "bob": "b" * 32}
    with served(asgi.site(site.settings().changed(http_tokens=tokens))) as web:
        for token, status in {"": 401, tokens["bob"]: 404, tokens["ann"]: 200}.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = web.get(f"/files/{upload.upload_id}/events", headers=headers)
            assert answer.status_code == status


def test_there_are_so_many_readers(site: Site) -> None:
    """503 for one more, with when to come back; a seat that is left can be taken."""
    upload = site.manager(lose_wake_ups=True).create("a/b", 1)
    where = f"/files/{upload.upload_id}/events"
    with served(asgi.site(site.settings().changed(http_event_readers=2))) as web:
        with ExitStack() as stack:
            readers = [stack.enter_context(reading(web, upload.upload_id)) for _ in range(2)]
            answer = web.get(where)
            assert (answer.status_code, answer.json()["code"]) == (503, "too_many_readers")
            assert answer.headers["retry-after"] == "5"
            assert [next(iter(reader)).name for reader in readers] == ["received"] * 2

        def has_seat() -> bool:
            with web.stream("GET", where) as tried:
                return tried.status_code == httpx.codes.OK

        wait_until(has_seat)


def test_a_silent_connection_shows_signs_of_life(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comments, which readers skip."""
    monkeypatch.setattr(events, "_HEARTBEAT", 0.1)
    manager = site.manager(lose_wake_ups=True)
    upload = manager.create("a/b", 1)
    with (
        served(asgi.site(site.settings())) as web,
        web.stream("GET", f"/files/{upload.upload_id}/events") as answer,
    ):
        lines = answer.iter_lines()
        assert [next(line for line in lines if line.startswith(":")) for _ in range(3)] == [":"] * 3


def test_readers_outlive_redis(
    fresh_redis: FreshRedis, real_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is away there is no news, only signs of life; then it goes on."""
    monkeypatch.setattr(events, "_HEARTBEAT", 0.1)
    server = fresh_redis(settings={"appendfsync": "always"})
    real_site.env["CHUNKFERRY_REDIS_URL"] = server.url
    real_site.service(f"file://{real_site.folder}/objects")
    upload = real_site.manager(lose_wake_ups=True).create("a/b", 1)
    with (
        served(asgi.site(real_site.settings())) as web,
        reading(web, upload.upload_id) as reader,
    ):
        told = iter(reader)
        next(told)
        server.kill()
        heard = reader.heard()
        # The first may have been on its way.
        assert [next(heard) for _ in range(3)] == [":"] * 3
        server.start()
        real_site.manager(lose_wake_ups=True).append(upload.upload_id, 0, b"x")
        finish(real_site)
        assert names(list(told))[-1] == "complete"


def test_a_reader_holds_no_thread(site: Site, start_front: StartFront) -> None:
    """More of them than threads, and everybody else is served."""
    front = start_front(site.env)
    upload = site.manager(lose_wake_ups=True).create("a/b", 1)
    with ExitStack() as stack, front.client() as web:
        for _ in range(CROWD):
            made = stack.enter_context(socket.create_connection(("127.0.0.1", _port(front.url))))
            asked = f"GET /files/{upload.upload_id}/events HTTP/1.1\r\nHost: x\r\n\r\n"
            made.sendall(asked.encode())
            assert made.recv(12) == b"HTTP/1.1 200"
        answer = web.head(f"/files/{upload.upload_id}", headers=TUS)
        assert answer.status_code == httpx.codes.OK


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
