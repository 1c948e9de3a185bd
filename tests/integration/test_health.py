"""What operators ask a front door, over real HTTP: alive, ready, and how it is doing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from tests.integration.test_metrics import metrics
from tests.servers.front import TUS, Front, StartFront
from tests.servers.redis import FreshRedis, RedisServer
from tests.servers.s3 import S3Server
from tests.sites import Site
from tests.waiting import wait_until

TOKENS = {"ann": "t0ken-of-ann", "root": "t0ken-of-root"}


@pytest.fixture
def redis(fresh_redis: FreshRedis, real_site: Site) -> RedisServer:
    """The Redis of the site, of the test's own."""
    server = fresh_redis()
    real_site.env["CHUNKFERRY_REDIS_URL"] = server.url
    return server


@pytest.fixture
def silent() -> Iterator[str]:
    """Host and port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def guarded(real_site: Site, start_front: StartFront) -> Front:
    """A front door that wants tokens."""
    real_site.env["CHUNKFERRY_HTTP_TOKENS"] = json.dumps(TOKENS)
    real_site.env["CHUNKFERRY_HTTP_ADMINS"] = '["root"]'
    return start_front(real_site.env)


def bearing(name: str) -> dict[str, str]:
    """The headers of a request of ``name``; none for nobody."""
    return {"Authorization": f"Bearer {TOKENS[name]}"} if name else {}


def readiness(web: httpx.Client) -> tuple[int, dict[str, object]]:
    """Status and content."""
    answer = web.get("/readyz")
    return answer.status_code, answer.json()


def test_all_is_well(web: httpx.Client) -> None:
    """Alive and ready; where nobody needs a token, everybody is told by whom."""
    assert (web.get("/healthz").status_code, web.get("/healthz").text) == (200, "ok\n")
    assert readiness(web) == (
        200,
        {"ready": True, "redis": "ok", "broker": "ok", "stores": {"default": "ok"}},
    )
    assert web.head("/readyz").headers["cache-control"] == "no-store"


def test_without_redis_it_lives_and_is_not_ready(
    redis: RedisServer, real_site: Site, start_front: StartFront
) -> None:
    """It must not be restarted for that; it is ready again once Redis is back."""
    with start_front(real_site.env).client() as web:
        assert readiness(web)[0] == 200
        redis.kill()
        wait_until(lambda: readiness(web)[0] == 503, what="it is noticed")
        assert web.get("/healthz").status_code == 200
        _, told = readiness(web)
        assert told["stores"] == {"default": "ok"}
        assert "ok" not in {told["redis"], told["broker"]}
        redis.start()
        wait_until(lambda: readiness(web)[0] == 200, what="it is back")


def test_requests_that_cannot_be_served_are_counted_by_their_reason(
    redis: RedisServer, real_site: Site, start_front: StartFront
) -> None:
    """Told once Redis is back; until then a scrape says that it is away, and nothing else."""
    with start_front(real_site.env).client() as web:
        redis.kill()
        refused = web.post("/files", headers={**TUS, "Upload-Length": "5"})
        assert (refused.status_code, refused.json()["code"]) == (503, "redis_unavailable")
        assert metrics(web) == {}
        redis.start()
        wait_until(
            lambda: metrics(web).get("chunkferry_http_unavailable_total redis_unavailable") == 1,
            30,
            what="it is told",
        )
        assert metrics(web)["chunkferry_http_requests_total POST 5xx"] == 1


def test_a_dead_broker_is_told(real_site: Site, start_front: StartFront) -> None:
    """Without its address and password."""
    real_site.env["CHUNKFERRY_BROKER_URL"] = "redis://user:s3cret@127.0.0.1:1/0"
    with start_front(real_site.env).client() as web:
        answer = web.get("/readyz")
    assert (answer.status_code, answer.json()["broker"]) == (503, "broker_unavailable")
    assert "s3cret" not in answer.text
    assert "127.0.0.1" not in answer.text


def test_a_store_that_hangs_is_not_waited_for(
    real_site: Site, start_front: StartFront, silent: str
) -> None:
    """Each probe is answered soon, all others go on; the store that answers is told apart."""
    hanging = S3Server(endpoint=f"http://{silent}", access_key="a", secret_key="b").url()
    stores = {"fine": f"file://{real_site.folder}/objects", "hanging": hanging}
    real_site.env |= {
        "CHUNKFERRY_SERVICES": json.dumps(stores),
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    with start_front(real_site.env).client() as web:
        for _ in range(2):
            answer = web.get("/readyz", timeout=5)
            assert answer.status_code == 503
            assert answer.json()["stores"] == {"fine": "ok", "hanging": "no answer"}


@pytest.mark.parametrize(("name", "status"), [("", 401), ("ann", 403), ("root", 200)])
def test_metrics_are_for_administrators(guarded: Front, name: str, status: int) -> None:
    """What a front door's users send is nobody else's business."""
    with guarded.client() as web:
        assert web.get("/metrics", headers=bearing(name)).status_code == status


def test_metrics_may_be_opened(real_site: Site, start_front: StartFront) -> None:
    """For a Prometheus that has no token."""
    real_site.env["CHUNKFERRY_HTTP_TOKENS"] = json.dumps(TOKENS)
    real_site.env["CHUNKFERRY_HTTP_METRICS_OPEN"] = "true"
    with start_front(real_site.env).client() as web:
        answer = web.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")


@pytest.mark.parametrize("name", ["", "ann", "root"])
def test_probes_need_no_token_and_learn_no_details(guarded: Front, name: str) -> None:
    """What stands behind the front door is told to administrators."""
    with guarded.client() as web:
        assert web.get("/healthz").text == "ok\n"
        answer = web.get("/readyz", headers=bearing(name))
    assert answer.status_code == 200
    assert set(answer.json()) == (
        {"ready", "redis", "broker", "stores"} if name == "root" else {"ready"}
    )
