"""Behind nginx and Caddy, set up as docs/http.md says, in front of two replicas."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.servers import reverse_proxies
from tests.servers.front import BYTES, StartFront, begun, offset_of, sent
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry.parts import MIB

CONTENT = os.urandom(12 * MIB)
TRUSTING = {
    "CHUNKFERRY_HTTP_LOCATION": "absolute",
    "CHUNKFERRY_HTTP_TRUSTED_PROXIES": '["127.0.0.0/8"]',
}


@dataclass(frozen=True)
class Proxied:
    """A proxy with two replicas behind it."""

    url: str
    web: httpx.Client


@pytest.fixture(params=["nginx", "caddy"])
def proxied(
    request: pytest.FixtureRequest, real_site: Site, start_front: StartFront, tmp_path: Path
) -> Iterator[Proxied]:
    fronts = [start_front({**real_site.env, **TRUSTING}) for _ in range(2)]
    with (
        reverse_proxies.running(request.param, [front.url for front in fronts], tmp_path) as url,
        httpx.Client(base_url=url, timeout=60) as web,
    ):
        yield Proxied(url, web)


def test_an_upload_goes_through(
    proxied: Proxied, real_site: Site, start_worker: StartWorker
) -> None:
    """Whichever replica each request reaches."""
    start_worker(real_site.env)
    url = begun(proxied.web, len(CONTENT))
    for start in range(0, len(CONTENT), 2 * MIB):
        piece = CONTENT[start : start + 2 * MIB]
        assert sent(proxied.web, url, start, piece).status_code == httpx.codes.NO_CONTENT
    upload_id = url.rpartition("/")[2]
    wait_until(lambda: real_site.manager().get(upload_id).is_complete)
    assert real_site.stored(real_site.manager().get(upload_id).filepath) == CONTENT


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
def test_without_a_replica_no_upload_is_begun_anew(proxy: str, tmp_path: Path) -> None:
    """After a 5xx to HEAD tus-js-client would; after these answers it asks again."""
    with (
        reverse_proxies.running(proxy, ["http://127.0.0.1:1"], tmp_path) as url,
        httpx.Client(base_url=url, timeout=60) as web,
    ):
        assert web.head("/files/1-0", headers=BYTES).status_code == httpx.codes.LOCKED
        answer = sent(web, "/files/1-0", 0, b"abc")
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE


def test_the_location_is_what_the_client_sees(proxied: Proxied) -> None:
    """Host and port of the proxy, not of a replica."""
    assert begun(proxied.web, 1).startswith(f"{proxied.url}/files/")


@pytest.mark.parametrize(
    "said",
    [
        {"Forwarded": "host=evil.example;proto=https"},
        {
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Port": "1",
            "X-Forwarded-Prefix": "/evil",
        },
    ],
)
def test_a_client_cannot_say_where_it_is(proxied: Proxied, said: dict[str, str]) -> None:
    """The front door believes the proxy, and that passes on nothing that a client made up."""
    assert begun(proxied.web, 1, **said).startswith(f"{proxied.url}/files/")


def test_bytes_arrive_while_the_body_is_being_sent(proxied: Proxied) -> None:
    """The proxy passes them on as they come: what was sent before a break is kept."""
    url = begun(proxied.web, len(CONTENT))
    place = urlsplit(proxied.url)
    lines = [f"PATCH {urlsplit(url).path} HTTP/1.1", f"Host: {place.netloc}"]
    lines += [f"Content-Length: {len(CONTENT)}", "Upload-Offset: 0"]
    lines += [f"{name}: {value}" for name, value in BYTES.items()] + ["", ""]
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall("\r\n".join(lines).encode() + CONTENT[: 2 * MIB])
        wait_until(lambda: offset_of(proxied.web, url) == 2 * MIB)
