"""The proxies of a chaos run: what they pass on, and how they break it."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.servers import faulty_s3
from tests.servers.faulty_s3 import FaultyS3
from tests.servers.proxy import ProxyProcess
from tests.servers.redis import RedisServer
from tests.waiting import wait_until

BODY = bytes(range(256)) * 4096
PART = "/bucket/key?partNumber=1&uploadId=u"


@pytest.fixture
def proxies() -> Iterator[ProxyProcess]:
    with ProxyProcess() as process:
        yield process


@pytest.fixture
def client(proxies: ProxyProcess, redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of the shared Redis that tries once, through the proxy ``redis``."""
    port = proxies.listen("redis", redis_server.port)
    once = Retry(NoBackoff(), 0)
    with redis.Redis(
        port=port, db=8, password=redis_server.password, retry=once, socket_timeout=1
    ) as found:
        yield found


@pytest.fixture
def s3() -> Iterator[FaultyS3]:
    """An S3 that takes parts."""
    with faulty_s3.running() as server:
        server.on("PUT partNumber", faulty_s3.answer(200, "stored", ETag='"tag"'))
        server.on("HEAD", faulty_s3.answer(200, Content_Length="77"))
        yield server


@pytest.fixture
def store(proxies: ProxyProcess, s3: FaultyS3) -> Iterator[http.client.HTTPConnection]:
    """A connection to it through the proxy ``store``."""
    port = proxies.listen("store", s3.port, http=True)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    yield connection
    connection.close()


def put(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    """Send a part as boto3 does."""
    connection.request("PUT", PART, BODY, {"Expect": "100-continue"})
    return connection.getresponse()


def test_bytes_pass_whole(client: redis.Redis) -> None:
    """Without a fault a proxy changes nothing."""
    client.set("whole", BODY, ex=60)
    assert client.get("whole") == BODY


def test_reset(client: redis.Redis, proxies: ProxyProcess) -> None:
    """Open connections are reset; new ones work."""
    before = client.client_id()
    assert proxies.reset("redis") == 1
    # The client may notice before it sends anything, and connect anew by itself.
    with contextlib.suppress(redis.ConnectionError):
        client.ping()
    assert client.client_id() != before


def test_reset_after(client: redis.Redis, proxies: ProxyProcess) -> None:
    """A connection is reset once it has carried so many bytes, once."""
    client.ping()
    proxies.reset_after("redis", 100_000)
    with pytest.raises(redis.ConnectionError):
        client.set("halved", BODY, ex=60)
    assert client.get("halved") is None


def test_black_hole(client: redis.Redis, proxies: ProxyProcess) -> None:
    """A black hole answers nothing; once it is over, new connections work."""
    client.ping()
    proxies.black_hole("redis", 1000)
    with pytest.raises(redis.TimeoutError):
        client.set("swallowed", "x", ex=60)
    proxies.calm("redis")
    assert client.get("swallowed") is None
    assert proxies.counts("redis") == {"black-holed": 1}


def test_slow(client: redis.Redis, proxies: ProxyProcess) -> None:
    """A slow connection loses nothing."""
    proxies.slow("redis", 0.2, 1024 * 1024)
    client.set("slowed", BODY, ex=60)
    assert client.get("slowed") == BODY
    assert proxies.counts("redis")["slowed"] > 0


def test_requests_pass_whole(store: http.client.HTTPConnection, s3: FaultyS3) -> None:
    """Several requests of one connection, with a body and without, arrive as they are."""
    assert (put(store).status, put_text(store)) == (200, b"stored")
    store.request("HEAD", "/bucket/key")
    answer = store.getresponse()
    assert (answer.status, answer.headers["Content-Length"]) == (200, "77")
    assert [request.body for request in s3.seen("PUT partNumber")] == [BODY, BODY]


def put_text(connection: http.client.HTTPConnection) -> bytes:
    """The text of the answer to one more part."""
    connection.close()
    return put(connection).read()


@pytest.mark.parametrize(("how", "retry_after"), [("500", None), ("503", "1")])
def test_refusals(
    how: str,
    retry_after: str | None,
    store: http.client.HTTPConnection,
    proxies: ProxyProcess,
    s3: FaultyS3,
) -> None:
    """The next requests are refused before any effect, others and later ones not."""
    proxies.break_requests("store", how, 1, operation="PUT partNumber")
    store.request("HEAD", "/bucket/key")
    assert store.getresponse().status == 200
    store.close()
    answer = put(store)
    assert (answer.status, answer.headers["Retry-After"]) == (int(how), retry_after)
    answer.read()
    assert s3.seen("PUT partNumber") == []
    assert put(store).status == 200


@pytest.mark.parametrize(("how", "arrived"), [("stall", 0), ("reset", 0), ("lose", 1)])
def test_lost_answers(
    how: str,
    arrived: int,
    store: http.client.HTTPConnection,
    proxies: ProxyProcess,
    s3: FaultyS3,
) -> None:
    """A request ends without an answer; only where that was lost, it had an effect."""
    proxies.break_requests("store", how, 1, amount=0.1)
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        put(store)
    wait_until(lambda: len(s3.seen("PUT partNumber")) == arrived)
    store.close()
    assert put(store).status == 200
    assert len(s3.seen("PUT partNumber")) == arrived + 1
