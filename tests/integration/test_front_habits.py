"""What tus-js-client and Uppy make of an answer, and what they are therefore told.

Their sources are the law here: they try again after 409, 423 and 5xx, and give up on any other
4xx; after a 5xx to HEAD they begin anew.
"""

from __future__ import annotations

import os
import threading

import httpx
import pytest
from tests.servers.front import (
    BYTES,
    TUS,
    Front,
    StartFront,
    begun,
    head_of,
    offset_of,
    sent,
)
from tests.servers.redis import FreshRedis, RedisServer
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry.parts import MIB

CONTENT = os.urandom(12 * MIB + 1)
RETRIED = {409, 423, 500, 501, 502, 503, 504}


@pytest.fixture
def own_redis(real_site: Site, fresh_redis: FreshRedis) -> RedisServer:
    """The Redis of the site, for a test to stop and to start."""
    server = fresh_redis()
    real_site.env["CHUNKFERRY_REDIS_URL"] = server.url
    return server


def patch(url: str, offset: int, length: int) -> bytes:
    """The head of a PATCH whose body is still to come."""
    return head_of(
        "PATCH", url, **BYTES, **{"Upload-Offset": str(offset), "Content-Length": str(length)}
    )


def test_an_outage_of_redis_is_told_to_head_as_locked(
    own_redis: RedisServer, real_site: Site, start_front: StartFront
) -> None:
    """423 with Retry-After, and no offset: after any 5xx tus-js-client begins a new upload."""
    with start_front(real_site.env).client() as web:
        url = begun(web, 4)
        sent(web, url, 0, b"ab")
        own_redis.stop()
        answer = web.head(url, headers=TUS)
        assert (answer.status_code, answer.headers["retry-after"]) == (423, "1")
        assert "upload-offset" not in answer.headers
        own_redis.start()
        assert offset_of(web, url) == 2


def test_a_store_that_is_not_there_does_not_matter_to_head(
    real_site: Site, start_front: StartFront
) -> None:
    """Its answer comes from Redis alone."""
    real_site.service("file:///nowhere/that/can/be")
    with start_front(real_site.env).client() as web:
        assert offset_of(web, begun(web, 4)) == 0


def test_a_patch_outlasts_an_outage_of_redis(
    own_redis: RedisServer, real_site: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """Its client is not read from meanwhile; then it goes on as if nothing had been."""
    front = start_front(real_site.env)
    with front.client() as web, front.connection() as client:
        url = begun(web, len(CONTENT))
        client.sendall(patch(url, 0, len(CONTENT)) + CONTENT[: 2 * MIB])
        wait_until(lambda: offset_of(web, url) == 2 * MIB)
        own_redis.stop()
        rest = threading.Thread(target=client.sendall, args=(CONTENT[2 * MIB :],))
        rest.start()
        own_redis.start()
        assert client.recv(100).startswith(b"HTTP/1.1 204 ")
        rest.join()
        start_worker(real_site.env)
        upload_id = url.rpartition("/")[2]
        wait_until(lambda: real_site.manager().get(upload_id).is_complete)
        assert real_site.stored(real_site.manager().get(upload_id).filepath) == CONTENT


def test_an_outage_that_lasts_is_told_as_retryable(
    own_redis: RedisServer, real_site: Site, start_front: StartFront
) -> None:
    """503 with Retry-After after ``append_wait_seconds``; what came before is kept."""
    front = start_front({**real_site.env, "CHUNKFERRY_APPEND_WAIT_SECONDS": "0.5"})
    with front.client() as web, front.connection() as client:
        url = begun(web, len(CONTENT))
        client.sendall(patch(url, 0, len(CONTENT)) + CONTENT[:MIB])
        wait_until(lambda: offset_of(web, url) == MIB)
        own_redis.stop()
        client.sendall(CONTENT[MIB : 3 * MIB])
        head = client.recv(1000)
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in head
        own_redis.start()
        wait_until(lambda: offset_of(web, url) == MIB)


def test_too_many_uploads_are_told_as_retryable(real_site: Site, start_front: StartFront) -> None:
    """503 and not 429, on which tus-js-client gives up."""
    with start_front({**real_site.env, "CHUNKFERRY_MAX_OPEN_UPLOADS": "1"}).client() as web:
        begun(web, 4)
        answer = web.post("/files", headers={**TUS, "Upload-Length": "4"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["code"] == "backpressure"


def test_a_half_dead_connection_hinders_nobody(
    real_site: Site, front: Front, web: httpx.Client, start_worker: StartWorker
) -> None:
    """It waits for bytes; a new request takes over, and what the old one still brings is past."""
    start_worker(real_site.env)
    url = begun(web, len(CONTENT))
    with front.connection() as old:
        old.sendall(patch(url, 0, len(CONTENT)) + CONTENT[:MIB])
        wait_until(lambda: offset_of(web, url) == MIB)
        answer = sent(web, url, MIB, CONTENT[MIB : 6 * MIB])
        assert answer.headers["upload-offset"] == str(6 * MIB)
        old.sendall(os.urandom(2 * MIB))
        assert old.recv(100).startswith(b"HTTP/1.1 409 ")
        answer = sent(web, url, 6 * MIB, CONTENT[6 * MIB :])
        assert answer.headers["upload-offset"] == str(len(CONTENT))
    upload_id = url.rpartition("/")[2]
    wait_until(lambda: real_site.manager().get(upload_id).is_complete)
    assert real_site.stored(real_site.manager().get(upload_id).filepath) == CONTENT


def test_the_same_bytes_twice_do_no_harm(front: Front, web: httpx.Client) -> None:
    """A half-dead connection that comes alive again brings what was sent anew meanwhile."""
    url = begun(web, 4 * MIB)
    with front.connection() as old:
        old.sendall(patch(url, 0, 4 * MIB) + CONTENT[:MIB])
        wait_until(lambda: offset_of(web, url) == MIB)
        sent(web, url, MIB, CONTENT[MIB : 2 * MIB])
        old.sendall(CONTENT[MIB : 4 * MIB])
        assert old.recv(100).startswith((b"HTTP/1.1 204 ", b"HTTP/1.1 409 "))
    wait_until(lambda: sent(web, url, offset_of(web, url), b"").status_code == 204)
    assert offset_of(web, url) in {2 * MIB, 3 * MIB, 4 * MIB}


def test_head_is_answered_while_a_body_arrives(front: Front, web: httpx.Client) -> None:
    """Nothing is locked by a request."""
    url = begun(web, 2 * MIB)
    with front.connection() as slow:
        slow.sendall(patch(url, 0, 2 * MIB) + CONTENT[:100])
        wait_until(lambda: offset_of(web, url) == 100)
        slow.sendall(CONTENT[100:200])
        wait_until(lambda: offset_of(web, url) == 200)


def test_a_wrong_offset_is_retried(web: httpx.Client) -> None:
    """409: the client asks HEAD, and goes on from there."""
    url = begun(web, 8)
    sent(web, url, 0, b"abcd")
    answer = sent(web, url, 2, b"cdef")
    assert answer.status_code == 409
    assert answer.status_code in RETRIED
    assert offset_of(web, url) == 4


def test_an_empty_patch_at_the_end_says_the_length(web: httpx.Client) -> None:
    """tus-js-client with a source of unknown length that ends at the border of a chunk."""
    url = begun(web, None)
    sent(web, url, 0, b"abcd")
    answer = sent(web, url, 4, b"", **{"Upload-Length": "4"})
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "4")
    head = web.head(url, headers=TUS)
    assert (head.headers["upload-length"], head.headers["upload-offset"]) == ("4", "4")


def test_the_last_patch_may_be_repeated(web: httpx.Client) -> None:
    """Its answer got lost: an empty one at the end is acknowledged again."""
    url = begun(web, 4)
    sent(web, url, 0, b"abcd")
    assert [sent(web, url, 4, b"").status_code for _ in range(2)] == [204, 204]
