"""Pages of other origins: what browsers ask, and what they let a script read."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.servers.front import BYTES, TUS, StartFront, begun, sent
from tests.sites import Site

APP = "https://app.example.org"
#: What tus-js-client and Uppy send, by both protocols.
CLIENTS = [
    "authorization", "content-type", "tus-resumable", "upload-length", "upload-offset",
    "upload-metadata", "upload-defer-length", "upload-concat", "upload-checksum",
    "x-http-method-override", "x-request-id", "x-requested-with", "upload-complete",
    "upload-incomplete", "upload-draft-interop-version", "content-disposition",
    "content-digest", "repr-digest", "idempotency-key", "last-event-id",
]  # fmt: skip
#: What they read of an answer.
READ = {
    "location", "upload-offset", "upload-length", "upload-metadata", "upload-defer-length",
    "upload-concat", "upload-expires", "tus-version", "tus-resumable", "tus-max-size",
    "tus-extension", "tus-checksum-algorithm", "upload-complete", "upload-incomplete",
    "upload-limit", "upload-draft-interop-version", "accept-patch", "retry-after", "x-request-id",
    "want-content-digest", "want-repr-digest",
}  # fmt: skip


@pytest.fixture
def open_web(real_site: Site, start_front: StartFront) -> Iterator[httpx.Client]:
    """A client of a front door that is open to pages of ``APP``."""
    env = {"CHUNKFERRY_HTTP_CORS_ORIGINS": f'["{APP}"]'}
    with start_front({**real_site.env, **env}).client() as client:
        yield client


def asked(web: httpx.Client, method: str, origin: str = APP) -> httpx.Response:
    """The answer to the question that a browser asks before a request."""
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    return web.options(
        "/files/x", headers={**headers, "Access-Control-Request-Headers": ",".join(CLIENTS)}
    )


def listed(answer: httpx.Response, name: str) -> set[str]:
    """The names in a header of an answer."""
    return {item.strip().lower() for item in answer.headers.get(name, "").split(",")}


def exposed(answer: httpx.Response) -> set[str]:
    """What a script may read of an answer."""
    return listed(answer, "access-control-expose-headers")


@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE", "GET", "PUT"])
def test_a_page_may_send_what_clients_send(open_web: httpx.Client, method: str) -> None:
    """All methods, with all headers."""
    answer = asked(open_web, method)
    allowed = {
        name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")
    }
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, APP)
    assert {*CLIENTS} <= allowed
    assert method in answer.headers["access-control-allow-methods"]


def test_a_page_may_read_what_clients_read(open_web: httpx.Client) -> None:
    """Of every answer, errors as well: else a script sees an error of the network."""
    origin = {"Origin": APP}
    url = begun(open_web, 4, **origin)
    answers = [
        open_web.post("/files", headers={**TUS, "Upload-Length": "4", **origin}),
        open_web.head(url, headers={**TUS, **origin}),
        sent(open_web, url, 0, b"ab", **origin),
        sent(open_web, url, 0, b"ab", **origin),
        open_web.post("/files", headers={**TUS, **origin}),
        open_web.head("/files/x", headers={**TUS, **origin}),
        open_web.head(url, headers={**TUS, **origin, "X-Padding": "x" * 40_000}),
        open_web.put(url, headers={**BYTES, **origin}),
    ]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [201, 200, 204, 409, 400, 404, 431, 405]
    assert [answer.headers.get("access-control-allow-origin") for answer in answers] == [APP] * 8
    assert [READ - exposed(answer) for answer in answers] == [set()] * 8


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"{APP}.evil.example", "null", f"{APP}:81"]
)
def test_other_origins_may_do_nothing(open_web: httpx.Client, origin: str) -> None:
    """An origin is compared as a whole."""
    assert asked(open_web, "PATCH", origin).status_code == 400
    answer = open_web.post("/files", headers={**TUS, "Upload-Length": "4", "Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


def test_by_default_no_other_origin_may(shared_web: httpx.Client) -> None:
    """Who mounts the application says which."""
    assert "access-control-allow-origin" not in asked(shared_web, "PATCH").headers


def test_all_origins_may_if_that_is_set(real_site: Site, start_front: StartFront) -> None:
    """Without cookies: a page cannot use what another site has given its user."""
    env = {"CHUNKFERRY_HTTP_CORS_ORIGINS": '["*"]'}
    with start_front({**real_site.env, **env}).client() as web:
        answer = asked(web, "PATCH", "https://any.example")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


def test_an_address_tells_a_page_what_the_server_can(open_web: httpx.Client) -> None:
    """An OPTIONS request that is no browser's question is tus'."""
    answer = open_web.options("/files", headers={"Origin": APP})
    assert (answer.status_code, answer.headers["tus-version"]) == (204, "1.0.0")
    assert exposed(answer) >= READ
