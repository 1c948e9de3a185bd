"""The list of uploads over HTTP, its news, and what may be done to them, by a real front door."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import pytest
from tests.servers.front import Front, StartFront, begun, sent
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry import connection
from chunkferry.ledger import RedisLedger
from chunkferry.parts import MIB
from chunkferry.state import State

TOKENS = {"alice": "a" * 20, "bob": "b" * 20, "root": "r" * 20}
#: What a browser sends to other sites' servers only after asking them.
OURS = {"X-Chunkferry": "test"}


@pytest.fixture
def guarded(real_site: Site, start_front: StartFront) -> Front:
    """A front door that knows three principals, one of whom is an administrator."""
    access = {
        "CHUNKFERRY_HTTP_TOKENS": json.dumps(TOKENS),
        "CHUNKFERRY_HTTP_ADMINS": '["root"]',
    }
    return start_front({**real_site.env, **access})


@contextmanager
def someone(front: Front, name: str) -> Iterator[httpx.Client]:
    """A client with the token of ``name``."""
    with front.client() as client:
        client.headers["Authorization"] = f"Bearer {TOKENS[name]}"
        yield client


def upload_id(url: str) -> str:
    """Of an upload at ``url``."""
    return url.rpartition("/")[2]


def listed(web: httpx.Client, **query: str) -> list[dict[str, Any]]:
    """The list."""
    answer = web.get("/api/uploads", params=query)
    assert answer.status_code == httpx.codes.OK, answer.text
    uploads: list[dict[str, Any]] = answer.json()["uploads"]
    return uploads


def status(web: httpx.Client, url: str, action: str, **headers: str) -> int:
    """What an attempt to do something to an upload is answered with."""
    path = f"/api/uploads/{upload_id(url)}/{action}"
    return web.post(path, headers={**OURS, **headers}).status_code


def failed(site: Site, web: httpx.Client) -> str:
    """An upload, all received, that failed as with a worker whose store refuses it."""
    url = begun(web, 10)
    sent(web, url, 0, bytes(10))
    settings = site.settings()
    client = connection.connect(settings.redis_url)
    with closing(client):
        leases = RedisLedger(client, settings).leases
        leases.acquire(upload_id(url), "nonce", "worker")
        leases.fail(upload_id(url), "nonce", "store_refused", "no such <bucket>")
    return url


class News:
    """The events of the list, read one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()

    def next(self) -> tuple[str, Any]:
        """The name and the data of the next event."""
        name = ""
        for line in self._lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            if line.startswith("data: "):
                return name, json.loads(line.removeprefix("data: "))
        pytest.fail("the stream has ended")


@contextmanager
def news_of(web: httpx.Client) -> Iterator[News]:
    """What happens from now on."""
    with web.stream("GET", "/api/uploads/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        yield News(response)


def test_the_list_tells_how_an_upload_stands(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """Both halves, and what it is about; the newest first."""
    start_worker(real_site.env)
    first = begun(web, 5 * MIB, **{"Upload-Metadata": "filename ZmlsbQ=="})
    begun(web, None)
    sent(web, first, 0, bytes(5 * MIB))
    wait_until(lambda: real_site.manager().get(upload_id(first)).is_complete)
    newer, older = listed(web)
    assert older["url"] == first
    assert (older["state"], older["filename"], older["service"]) == ("complete", "film", "default")
    assert older["length"] == older["received"] == older["stored"] == 5 * MIB
    assert (newer["length"], newer["received"], newer["state"]) == (None, 0, "receiving")
    assert newer["created_at"] > older["created_at"]
    assert newer["filepath"] not in {"", older["filepath"]}
    assert (newer["error"], newer["error_code"], newer["holder"]) == ("", "", "")


def test_the_list_is_filtered_by_state_and_bounded(real_site: Site, web: httpx.Client) -> None:
    """A failed one is found among others; a limit says that there are more."""
    bad = failed(real_site, web)
    for _ in range(3):
        begun(web, 10)
    assert [upload["url"] for upload in listed(web, state="failed")] == [bad]
    whole = web.get("/api/uploads", params={"limit": "2"}).json()
    assert (len(whole["uploads"]), whole["has_more"]) == (2, True)
    whole = web.get("/api/uploads", params={"limit": "4"}).json()
    assert (len(whole["uploads"]), whole["has_more"]) == (4, False)


@pytest.mark.parametrize(
    "query", ["state=nonsense", "limit=0", "limit=201", "limit=-1", "limit=x", "limit=9" * 99]
)
def test_a_query_that_means_nothing_is_refused(web: httpx.Client, query: str) -> None:
    """400, with what was expected."""
    answer = web.get(f"/api/uploads?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


def test_news_begin_with_the_whole_list_and_tell_each_change(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """Begun, received, stored: until it is complete."""
    start_worker(real_site.env)
    old = begun(web, 10)
    with news_of(web) as news:
        name, whole = news.next()
        assert (name, [upload["url"] for upload in whole["uploads"]]) == ("uploads", [old])
        url = begun(web, 5 * MIB)
        name, changes = news.next()
        assert name == "changes"
        assert ([upload["url"] for upload in changes["changed"]], changes["gone"]) == ([url], [])
        sent(web, url, 0, bytes(5 * MIB))
        states = [changes["changed"][0]["state"]]
        while states[-1] != "complete":
            states.append(news.next()[1]["changed"][0]["state"])


def test_news_end_with_the_server(front: Front, web: httpx.Client) -> None:
    """SIGTERM does not wait for open pages; the stream ends in order."""
    with news_of(web) as news:
        assert news.next()[0] == "uploads"
        front.stop()
        with pytest.raises(pytest.fail.Exception, match="the stream has ended"):
            news.next()
    assert "Cancel" not in front.log.read_text()


def test_news_tell_that_nothing_can_be_seen(real_site: Site, web: httpx.Client) -> None:
    """Without Redis the stream stays, and says why it has no news; a new question is told 503."""
    with news_of(web) as news, closing(connection.connect(real_site.settings().redis_url)) as redis:
        assert news.next()[0] == "uploads"
        redis.shutdown(nosave=True)
        assert news.next() == ("trouble", {"code": "redis_unavailable"})
    answer = web.get("/api/uploads")
    assert (answer.status_code, answer.json()["code"]) == (503, "redis_unavailable")


def test_readers_are_bounded(real_site: Site, start_front: StartFront) -> None:
    """One too many is told 503; when one has left, there is room again."""
    front = start_front({**real_site.env, "CHUNKFERRY_HTTP_EVENT_READERS": "1"})
    with front.client() as web:
        with news_of(web) as news:
            news.next()
            answer = web.get("/api/uploads/events")
            assert (answer.status_code, answer.json()["code"]) == (503, "too_many_readers")
            assert answer.headers["retry-after"] == "5"

        def has_room() -> bool:
            with web.stream("GET", "/api/uploads/events") as response:
                return response.status_code == httpx.codes.OK

        wait_until(has_room)


def test_everybody_sees_their_own_and_an_administrator_all(guarded: Front) -> None:
    """In the list and in the news."""
    with someone(guarded, "alice") as alice, someone(guarded, "bob") as bob:
        hers, his = begun(alice, 10), begun(bob, 10)
        assert [upload["url"] for upload in listed(alice)] == [hers]
        assert [upload["url"] for upload in listed(bob)] == [his]
        with news_of(alice) as news:
            whole = news.next()[1]
            assert [upload["url"] for upload in whole["uploads"]] == [hers]
            assert (whole["principal"], whole["is_admin"]) == ("alice", False)
            begun(bob, 10)
            another = begun(alice, 10)
            told = news.next()[1]["changed"]
            assert [upload["url"] for upload in told] == [another]
    with someone(guarded, "root") as root:
        assert len(listed(root)) == 4


def test_whoever_has_no_token_learns_nothing(guarded: Front) -> None:
    """401 with the way to log in, whatever is asked for."""
    with someone(guarded, "alice") as alice:
        url = begun(alice, 10)
    with guarded.client() as nobody:
        for path in ("/api/uploads", "/api/uploads/events"):
            answer = nobody.get(path)
            assert answer.status_code == httpx.codes.UNAUTHORIZED
            assert answer.headers["www-authenticate"] == "Bearer"
        assert status(nobody, url, "cancel") == httpx.codes.UNAUTHORIZED
        assert status(nobody, "/files/0-none", "cancel") == httpx.codes.UNAUTHORIZED
        # A token in a URL would end up in logs: it counts for nothing.
        answer = nobody.get("/api/uploads", params={"token": TOKENS["root"]})
        assert answer.status_code == httpx.codes.UNAUTHORIZED


def test_cancelling_is_for_the_owner_and_administrators(real_site: Site, guarded: Front) -> None:
    """For others there is no such upload."""
    manager = real_site.manager()
    with someone(guarded, "alice") as alice, someone(guarded, "bob") as bob:
        first, second = begun(alice, 10), begun(alice, 10)
        assert status(bob, first, "cancel") == httpx.codes.NOT_FOUND
        assert manager.get(upload_id(first)).state is State.RECEIVING
        assert status(alice, first, "cancel") == httpx.codes.NO_CONTENT
    with someone(guarded, "root") as root:
        assert status(root, second, "cancel") == httpx.codes.NO_CONTENT
        assert status(root, "/files/0-none", "cancel") == httpx.codes.NOT_FOUND
    assert manager.get(upload_id(first)).state is State.ABORTING
    assert manager.get(upload_id(second)).state is State.ABORTING


def test_requeueing_is_for_administrators(real_site: Site, guarded: Front) -> None:
    """Not even one's own: whoever may do it knows why it failed."""
    with someone(guarded, "alice") as alice:
        url = failed(real_site, alice)
        (upload,) = listed(alice)
        assert (upload["state"], upload["error"]) == ("failed", "no such <bucket>")
        assert status(alice, url, "requeue") == httpx.codes.FORBIDDEN
    with someone(guarded, "root") as root:
        assert status(root, url, "requeue") == httpx.codes.NO_CONTENT
        assert status(root, url, "requeue") == httpx.codes.GONE
    assert real_site.manager().get(upload_id(url)).state is State.RECEIVED


@pytest.mark.parametrize("action", ["cancel", "requeue"])
def test_a_page_of_another_site_can_do_nothing(
    real_site: Site, web: httpx.Client, action: str
) -> None:
    """What a form can send is refused, and what it cannot send is not allowed in advance."""
    url = begun(web, 10)
    before = real_site.manager().get(upload_id(url)).state
    path = f"/api/uploads/{upload_id(url)}/{action}"
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://evil.example"}
    assert web.post(path, headers=form, content=b"a=b").status_code == httpx.codes.BAD_REQUEST
    asked = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-chunkferry",
    }
    answer = web.options(path, headers=asked)
    assert "access-control-allow-origin" not in answer.headers
    assert web.get(path, headers=OURS).status_code == httpx.codes.METHOD_NOT_ALLOWED
    assert real_site.manager().get(upload_id(url)).state is before
