"""Who may do what at the front door, and what nobody may: bounds, principals, secrets, hooks."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection

import httpx
import pytest
from tests.servers.doormen import SECRET
from tests.servers.front import (
    BYTES,
    TUS,
    Front,
    StartFront,
    answer_of,
    begun,
    head_of,
    offset_of,
    sent,
)
from tests.servers.redis import RedisServer
from tests.servers.workers import StartWorker
from tests.sites import Site, site_in
from tests.waiting import wait_until

from chunkferry.parts import MIB
from chunkferry.tus import wire

TOKENS = {"ann": "correct-horse-battery", "bob": "staple-of-bob", "root": "all-powerful"}
NOBODYS = f"/files/1-{'0' * 32}"


def by(name: str) -> dict[str, str]:
    """The header of somebody with a token."""
    return {"Authorization": f"Bearer {TOKENS[name]}"}


@pytest.fixture
def guarded(real_site: Site, start_front: StartFront) -> Front:
    """A front door with tokens."""
    env = {
        "CHUNKFERRY_HTTP_TOKENS": json.dumps(TOKENS),
        "CHUNKFERRY_HTTP_ADMINS": '["root"]',
        "CHUNKFERRY_HTTP_CORS_ORIGINS": '["https://app.example.org"]',
    }
    return start_front({**real_site.env, **env})


@pytest.fixture
def guarded_web(guarded: Front) -> Iterator[httpx.Client]:
    """A client of ``guarded``."""
    with guarded.client() as client:
        yield client


def statuses(web: httpx.Client, url: str, headers: dict[str, str]) -> list[int]:
    """What HEAD, PATCH and DELETE of an upload are answered with."""
    said = {**BYTES, "Upload-Offset": "0", **headers}
    return [
        web.request(
            method, url, headers=said, content=b"a" if method == "PATCH" else b""
        ).status_code
        for method in ("HEAD", "PATCH", "DELETE")
    ]


# --- principals -------------------------------------------------------------------------------


def test_without_a_token_nothing_is_told(guarded_web: httpx.Client) -> None:
    """401 with WWW-Authenticate, whether there is such an upload or not."""
    url = begun(guarded_web, 4, **by("ann"))
    assert statuses(guarded_web, url, {}) == [401, 401, 401]
    assert statuses(guarded_web, NOBODYS, {}) == [401, 401, 401]
    answer = guarded_web.post("/files", headers={**TUS, "Upload-Length": "4"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    "value",
    ["", "Bearer", "Bearer x", "Basic YTpi", f"bearer{TOKENS['ann']}", f"Token {TOKENS['ann']}"],
)
def test_other_credentials_are_none(guarded_web: httpx.Client, value: str) -> None:
    """401: another scheme, another token, or none."""
    said = {**TUS, "Upload-Length": "4", "Authorization": value}
    assert guarded_web.post("/files", headers=said).status_code == 401


def test_tokens_are_not_taken_from_urls(guarded_web: httpx.Client) -> None:
    """They would stand in logs and histories."""
    for name in ("token", "access_token", "authorization"):
        url = f"/files?{name}={TOKENS['ann']}"
        assert guarded_web.post(url, headers={**TUS, "Upload-Length": "4"}).status_code == 401


def test_the_upload_of_another_is_not_there(guarded_web: httpx.Client) -> None:
    """404, as for one that never was; nothing happens to it."""
    url = begun(guarded_web, 4, **by("ann"))
    assert statuses(guarded_web, url, by("bob")) == [404, 404, 404]
    assert statuses(guarded_web, NOBODYS, by("bob")) == [404, 404, 404]
    theirs = guarded_web.patch(url, headers={**BYTES, "Upload-Offset": "0", **by("bob")})
    never = guarded_web.patch(NOBODYS, headers={**BYTES, "Upload-Offset": "0", **by("bob")})
    assert theirs.text.replace(url.rpartition("/")[2], "") == never.text.replace(NOBODYS[7:], "")
    answer = guarded_web.head(url, headers={**TUS, **by("ann")})
    assert (answer.status_code, answer.headers["upload-offset"]) == (200, "0")


def test_an_administrator_sees_all(guarded_web: httpx.Client) -> None:
    """Whoever began it."""
    url = begun(guarded_web, 4, **by("ann"))
    assert statuses(guarded_web, url, by("root")) == [200, 204, 204]


# --- secrets ----------------------------------------------------------------------------------


def test_no_token_is_logged(guarded: Front, guarded_web: httpx.Client) -> None:
    """Not the right one, not a wrong one; nor is the address of an upload, which is a secret."""
    url = begun(guarded_web, 4, **by("ann"))
    guarded_web.patch(url, headers={**BYTES, "Upload-Offset": "9", **by("ann")}, content=b"a")
    guarded_web.head(url, headers={**TUS, "Authorization": "Bearer wrong-secret"})
    guarded.stop()
    log = guarded.log.read_text()
    secrets = [*TOKENS.values(), "wrong-secret", url.rpartition("/")[2]]
    assert [secret for secret in secrets if secret in log] == []


#: Runs the site with whatever anybody could log.
VERBOSE = """
import logging, sys
logging.basicConfig(level=1, stream=sys.stdout)
import uvicorn
from chunkferry.tus.asgi import site
from chunkferry.tus.wire import UploadHttp
uvicorn.run(site(), http=UploadHttp, fd=int(sys.argv[1]), log_level="trace", ws="none")
"""


def test_no_token_is_logged_at_any_level(real_site: Site) -> None:
    """Even where an operator turns on all that libraries can say."""
    env = {**os.environ, **real_site.env, "CHUNKFERRY_HTTP_TOKENS": json.dumps(TOKENS)}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = subprocess.Popen(
            [sys.executable, "-c", VERBOSE, str(listening.fileno())],
            pass_fds=[listening.fileno()],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx.Client(base_url=base, timeout=60) as web:
            url = begun(web, 4, **by("ann"))
            sent(web, url, 0, b"swordfish"[:4], **by("ann"))
            web.head(url, headers={**TUS, "Authorization": "Bearer wrong-secret"})
        process.terminate()
        log = process.communicate(timeout=30)[0].decode()
    assert "POST /files" in log
    assert [secret for secret in [*TOKENS.values(), "wrong-secret", "swor"] if secret in log] == []


# --- bounds -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def named(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A front door that has names."""
    folder = tmp_path_factory.mktemp("named")
    env = {
        **site_in(folder, redis_server.url).env,
        "CHUNKFERRY_HTTP_HOSTS": '["LocalHost", "[::1]", "127.0.0.1"]',
    }
    with closing(Front(env, folder / "log")) as front:
        front.start()
        yield front


PLACES = [
    ("GET", "/"),
    ("GET", "/page/app.js"),
    ("GET", "/api/uploads"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("POST", "/files"),
    ("HEAD", NOBODYS),
    ("GET", f"{NOBODYS}/events"),
    ("OPTIONS", "/files"),
    ("GET", "/nowhere"),
]


@pytest.mark.parametrize(("method", "path"), PLACES)
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "", "[::1", "::1", "a b"],
)
def test_another_hosts_name_leads_nowhere(named: Front, method: str, path: str, host: str) -> None:
    """421, whatever it is asked: a page may have its own name lead here (DNS rebinding)."""
    said = {**TUS, "Host": host, "X-Forwarded-Host": "localhost", "Origin": f"http://{host}"}
    answer = httpx.request(method, f"{named.url}{path}", headers=said)
    assert answer.status_code == httpx.codes.MISDIRECTED_REQUEST
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1:1", "[::1]", "[::1]:8080"]
)
def test_a_name_of_its_own_leads_to_it(named: Front, host: str) -> None:
    """At any port, as a proxy or a container may have another."""
    said = {**TUS, "Host": host, "Upload-Length": "1"}
    assert httpx.post(named.files, headers=said).status_code == httpx.codes.CREATED


def test_large_headers_are_refused(shared_web: httpx.Client) -> None:
    """431, whichever they are."""
    answers = [
        shared_web.head(NOBODYS, headers={**TUS, "X-Padding": "x" * 40_000}),
        shared_web.head(NOBODYS, headers={**TUS, **{f"X-{i}": "x" * 90 for i in range(400)}}),
    ]
    assert [answer.status_code for answer in answers] == [431, 431]


@pytest.mark.parametrize(
    "begin",
    [b"GET /", b"GET / HTTP/1.1\r\nA: ", b"GET / HTTP/1.1\r\n", b"x"],
    ids=["address", "value", "many", "method"],
)
def test_headers_without_end_are_refused(shared_front: Front, begin: bytes) -> None:
    """Before they fill the memory, and without waiting for their end."""
    line = b"B: c\r\n" if begin.endswith(b"\r\n") else b"x"
    with shared_front.connection() as client:
        client.sendall(begin)
        with suppress(BrokenPipeError, ConnectionResetError):  # nobody read on: as good
            for _ in range(64):
                client.sendall(line * (MIB // len(line) // 4))
            assert answer_of(client)[0] in {400, 431}


def test_trailers_without_end_are_refused(shared_front: Front, shared_web: httpx.Client) -> None:
    """They are headers too, behind a body."""
    url = begun(shared_web, 8)
    headers = {**BYTES, "Upload-Offset": "0", "Transfer-Encoding": "chunked"}
    with shared_front.connection() as client:
        client.sendall(head_of("PATCH", url, **headers) + b"1\r\na\r\n0\r\n")
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(64):
                client.sendall(b"A: b\r\n" * (MIB // 24))
            assert answer_of(client)[0] == 431
    wait_until(lambda: offset_of(shared_web, url) == 1)


@pytest.mark.parametrize("kept", ["keep-alive", "close"])
def test_an_answer_in_the_middle_of_a_body_arrives(shared_front: Front, kept: str) -> None:
    """A client that reads only once it has sent all, as browsers do, is not cut off before."""
    headers = {**BYTES, "Upload-Offset": "0", "Connection": kept}
    with closing(HTTPConnection(httpx.URL(shared_front.url).netloc.decode(), timeout=60)) as client:
        client.request("PATCH", NOBODYS, body=bytes(16 * MIB), headers=headers)
        used = client.sock
        with client.getresponse() as answer:
            assert (answer.status, b"upload_not_found" in answer.read()) == (404, True)
        client.request("HEAD", NOBODYS, headers=TUS)
        assert client.getresponse().status == 404
        assert (client.sock is used) == (kept == "keep-alive")


def test_a_body_that_was_refused_before_it_came_is_no_request(shared_front: Front) -> None:
    """Whether it still comes is the client's choice (RFC 9110, 10.1.1): nothing may follow."""
    headers = {**BYTES, "Upload-Offset": "0", "Content-Length": "4", "Expect": "100-continue"}
    with shared_front.connection() as client:
        client.sendall(head_of("PATCH", NOBODYS, **headers))
        status, head = answer_of(client)
        assert (status, "connection: close" in head) == (404, True)


def test_a_head_that_does_not_come_is_not_waited_for(
    real_site: Site,
) -> None:
    """A connection that stays silent, or sends its head byte by byte, is closed."""
    assert 0 < wire.PATIENCE < 120
    hurry = "import uvicorn, chunkferry.tus.wire\nchunkferry.tus.wire.PATIENCE = 0.2\n"
    impatient = VERBOSE.replace("import uvicorn\n", hurry)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = subprocess.Popen(
            [sys.executable, "-c", impatient, str(listening.fileno())],
            pass_fds=[listening.fileno()],
            env={**os.environ, **real_site.env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for begin in (b"", b"HEAD / HTTP/1.1\r\nHost: "):
            with socket.create_connection(listening.getsockname(), timeout=60) as client:
                client.sendall(begin)
                assert client.recv(1000) == b""
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("kept", ["keep-alive", "close"])
def test_the_rest_of_a_body_is_not_waited_for(real_site: Site, kept: str) -> None:
    """Where the request was answered before, and a few bytes more have come since."""
    assert 0 < wire.LINGER < 120
    hurry = "import uvicorn, chunkferry.tus.wire\nchunkferry.tus.wire.LINGER = 0.2\n"
    impatient = VERBOSE.replace("import uvicorn\n", hurry).replace(
        "fd=int", "timeout_keep_alive=1, fd=int"
    )
    headers = {**BYTES, "Upload-Offset": "0", "Content-Length": "9", "Connection": kept}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = subprocess.Popen(
            [sys.executable, "-c", impatient, str(listening.fileno())],
            pass_fds=[listening.fileno()],
            env={**os.environ, **real_site.env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with socket.create_connection(listening.getsockname(), timeout=30) as client:
            client.sendall(head_of("PATCH", NOBODYS, **headers))
            assert answer_of(client)[0] == 404
            client.sendall(b"x")
            while client.recv(4096):
                pass
            wait_until(lambda: is_reset(client))
        process.terminate()
        process.wait(30)


def is_reset(connection: socket.socket) -> bool:
    """Whether the server has closed its end for reading, too."""
    try:
        connection.send(b"x")
    except OSError:
        return True
    return False


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("deferred", [False, True])
def test_no_body_is_larger_than_an_upload_may_be(
    real_site: Site, start_front: StartFront, chunked: bool, deferred: bool
) -> None:
    """413, with a length that is announced, comes in chunks, or is not known yet."""
    limit = 2 * MIB
    with start_front({**real_site.env, "CHUNKFERRY_HTTP_MAX_SIZE": str(limit)}).client() as web:
        url = begun(web, None if deferred else limit)
        data = bytes(limit + 1)
        body = iter([data[:MIB], data[MIB:]]) if chunked else data
        answer = web.patch(url, headers={**BYTES, "Upload-Offset": "0"}, content=body)
        assert (answer.status_code, offset_of(web, url) <= limit) == (413, True)


def test_metadata_are_bounded(shared_web: httpx.Client) -> None:
    """To what every store keeps; 400."""
    value = base64.b64encode(b"x" * 3000).decode()
    said = {**TUS, "Upload-Length": "4", "Upload-Metadata": f"key {value}"}
    assert shared_web.post("/files", headers=said).status_code == 400


@pytest.mark.parametrize("filename", ["../../etc/passwd", "/etc/passwd", "a\r\nb: c", "film.mkv"])
def test_no_text_of_a_client_becomes_a_path(
    real_site: Site, web: httpx.Client, filename: str
) -> None:
    """Nobody can guess it, nor choose it; the same name gets another one each time."""
    encoded = base64.b64encode(filename.encode()).decode()
    urls = [begun(web, 4, **{"Upload-Metadata": f"filename {encoded}"}) for _ in range(2)]
    found = [real_site.manager().get(url.rpartition("/")[2]).filepath for url in urls]
    assert [path for path in found if not re.fullmatch(r"uploads/[0-9a-f]{32}", path)] == []
    assert len({*found}) == 2


def test_a_checksummed_body_is_bounded(real_site: Site, start_front: StartFront) -> None:
    """It has to wait as a whole: 413 above the limit, and nothing of it is left."""
    env = {**real_site.env, "CHUNKFERRY_HTTP_CHECKSUM_LIMIT": str(MIB)}
    with start_front(env).client() as web:
        url = begun(web, 4 * MIB)
        checksum = f"sha1 {base64.b64encode(bytes(20)).decode()}"
        answer = sent(web, url, 0, bytes(2 * MIB), **{"Upload-Checksum": checksum})
        assert (answer.status_code, offset_of(web, url)) == (413, 0)


def test_a_trickle_is_as_bad_as_silence(shared_front: Front, shared_web: httpx.Client) -> None:
    """A byte now and then keeps no request open; what came is kept."""
    url = begun(shared_web, 1000)
    headers = {**BYTES, "Upload-Offset": "0", "Content-Length": "1000"}
    with shared_front.connection() as client:
        client.sendall(head_of("PATCH", url, **headers))
        client.settimeout(0.1)
        head = b""
        while not head:
            client.sendall(b"x")
            try:
                head = client.recv(1000)
            except TimeoutError:
                continue
        assert head.startswith(b"HTTP/1.1 503 ")
    assert 0 < offset_of(shared_web, url) < 1000


def test_an_upgrade_loses_no_bytes(shared_front: Front, shared_web: httpx.Client) -> None:
    """Java's client asks for HTTP/2 with its first request; it is served as if it had not."""
    url = begun(shared_web, 4)
    headers = {**BYTES, "Upload-Offset": "0", "Content-Length": "4"}
    headers |= {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AA"}
    with shared_front.connection() as client:
        client.sendall(head_of("PATCH", url, **headers) + b"abcd")
        answer_of(client)
    assert offset_of(shared_web, url) in {0, 4}


# --- quotas -----------------------------------------------------------------------------------


def test_a_principal_has_so_many_uploads(real_site: Site, start_front: StartFront) -> None:
    """503 for one more; not for others, and not once one has ended."""
    env = {"CHUNKFERRY_HTTP_TOKENS": json.dumps(TOKENS), "CHUNKFERRY_HTTP_QUOTA_UPLOADS": "2"}
    with start_front({**real_site.env, **env}).client() as web:
        urls = [begun(web, 4, **by("ann")) for _ in range(2)]
        said = {**TUS, "Upload-Length": "4"}
        answer = web.post("/files", headers={**said, **by("ann")})
        assert (answer.status_code, answer.json()["code"]) == (503, "over_quota")
        assert answer.headers["retry-after"] == "1"
        begun(web, 4, **by("bob"))
        assert web.delete(urls[0], headers={**TUS, **by("ann")}).status_code == 204
        manager = real_site.manager()
        assert len(manager.uploads_of("ann")) == 2  # it is removed once a worker has been there
        assert len(manager.uploads_of("bob")) == 1


def test_a_crowd_of_requests_gets_no_more_uploads(real_site: Site, start_front: StartFront) -> None:
    """Those that come at the same moment to one process pass one after the other."""
    env = {"CHUNKFERRY_HTTP_TOKENS": json.dumps(TOKENS), "CHUNKFERRY_HTTP_QUOTA_UPLOADS": "2"}
    with (
        start_front({**real_site.env, **env}).client() as web,
        ThreadPoolExecutor(20) as crowd,
    ):
        said = {**TUS, "Upload-Length": "4", **by("ann")}
        answers = list(crowd.map(lambda _: web.post("/files", headers=said), range(40)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] * 2 + [503] * 38


def test_a_principal_has_so_many_bytes_waiting(
    real_site: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """One more part waits, then 503; others send on; once a worker stores, so does the first."""
    env = {
        **real_site.env,
        "CHUNKFERRY_HTTP_TOKENS": json.dumps(TOKENS),
        "CHUNKFERRY_HTTP_QUOTA_BYTES": str(6 * MIB),
        "CHUNKFERRY_APPEND_WAIT_SECONDS": "1",
    }
    data = os.urandom(30 * MIB)
    with start_front(env).client() as web:
        url = begun(web, len(data), **by("ann"))
        answer = sent(web, url, 0, data, **by("ann"))
        assert (answer.status_code, answer.json()["code"]) == (503, "backpressure")
        told = web.head(url, headers={**TUS, **by("ann")}).headers["upload-offset"]
        assert 6 * MIB <= int(told) <= 16 * MIB
        theirs = begun(web, MIB, **by("bob"))
        assert sent(web, theirs, 0, data[:MIB], **by("bob")).status_code == 204
        start_worker(env)

        def is_sent() -> bool:
            head = web.head(url, headers={**TUS, **by("ann")}).headers
            offset = int(head["upload-offset"])
            return (
                offset == len(data) or sent(web, url, offset, data[offset:], **by("ann")).is_success
            )

        wait_until(is_sent, 60)


def test_parts_that_have_begun_become_whole(real_site: Site, start_front: StartFront) -> None:
    """However many: else each would wait for the others, and nothing would ever be stored."""
    env = {
        **real_site.env,
        "CHUNKFERRY_HTTP_QUOTA_BYTES": str(6 * MIB),
        "CHUNKFERRY_APPEND_WAIT_SECONDS": "1",
    }
    with start_front(env).client() as web:
        urls = [begun(web, 5 * MIB) for _ in range(3)]
        for url in urls:
            sent(web, url, 0, bytes(4 * MIB))
        first = [url for url in urls if offset_of(web, url)]
        assert len(first) >= 2
        assert [sent(web, url, 4 * MIB, bytes(MIB)).status_code for url in first] == [204] * len(
            first
        )


def test_without_quotas_nobody_is_counted(real_site: Site, web: httpx.Client) -> None:
    """No key, no question."""
    sent(web, begun(web, 4), 0, b"ab")
    assert real_site.manager().uploads_of("") == []


# --- hooks ------------------------------------------------------------------------------------


@pytest.fixture(params=["plain", "later"])
def hooked(
    request: pytest.FixtureRequest, real_site: Site, start_front: StartFront
) -> Iterator[httpx.Client]:
    """A client of an application with hooks, which are functions or coroutine functions."""
    hooks = {"CHUNKFERRY_HTTP_HOOKS": f"tests.servers.doormen:{request.param}"}
    with start_front({**real_site.env, **hooks}).client() as client:
        yield client


def created(web: httpx.Client, filename: str, **headers: str) -> httpx.Response:
    """The answer to a POST of ann's with this file name."""
    encoded = base64.b64encode(filename.encode()).decode()
    said = {"Upload-Length": "4", "Upload-Metadata": f"filename {encoded}", "X-Name": "ann"}
    return web.post("/files", headers={**TUS, **said, **headers})


def test_a_hook_says_who_somebody_is(hooked: httpx.Client) -> None:
    """Nobody: 401, or 403 with credentials. Somebody else: 404."""
    url = created(hooked, "a").headers["location"]
    assert statuses(hooked, url, {}) == [401, 401, 401]
    assert statuses(hooked, url, {"Authorization": "Basic YTpi"}) == [403, 403, 403]
    assert statuses(hooked, url, {"X-Name": "bob"}) == [404, 404, 404]
    assert statuses(hooked, url, {"X-Name": "reader"}) == [404, 401, 401]
    assert statuses(hooked, url, {"X-Name": "ann"}) == [200, 204, 204]


def test_a_hook_that_fails_costs_no_upload(hooked: httpx.Client) -> None:
    """After a 5xx to HEAD clients would begin anew; after a 423 they ask again."""
    url = created(hooked, "a").headers["location"]
    assert statuses(hooked, url, {"X-Name": "wrong"}) == [423, 500, 500]


def test_a_hook_is_asked_before_it_is_told_that_there_is_no_upload(hooked: httpx.Client) -> None:
    """Whoever it does not know learns nothing, not even which uploads there are."""
    assert statuses(hooked, NOBODYS, {}) == [401, 401, 401]
    assert statuses(hooked, NOBODYS, {"Authorization": "Basic YTpi"}) == [403, 403, 403]
    assert statuses(hooked, NOBODYS, {"X-Name": "reader"}) == [404, 401, 401]
    assert statuses(hooked, NOBODYS, {"X-Name": "ann"}) == [404, 404, 404]


@pytest.mark.parametrize(("name", "status"), [("ann", 403), ("root", 410), ("bob", 403)])
def test_a_hook_makes_nobody_an_administrator_by_the_way(
    hooked: httpx.Client, name: str, status: int
) -> None:
    """Not even of their own uploads: only a principal that is one may requeue."""
    upload_id = created(hooked, "a").headers["location"].rpartition("/")[2]
    said = {"X-Name": name, "X-Chunkferry": "test"}
    answer = hooked.post(f"/api/uploads/{upload_id}/requeue", headers=said)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("name", "scraped", "told"),
    [("", 401, 1), ("ann", 403, 1), ("root", 200, 4), ("wrong", 500, 1)],
)
def test_a_hook_decides_what_operators_are_told(
    hooked: httpx.Client, name: str, scraped: int, told: int
) -> None:
    """Probes are answered whatever it does; its own error is not told."""
    said = {"X-Name": name} if name else {}
    answer = hooked.get("/metrics", headers=said)
    assert (answer.status_code, SECRET in answer.text) == (scraped, False)
    ready = hooked.get("/readyz", headers=said)
    assert (ready.status_code, len(ready.json())) == (200, told)


def test_a_hook_chooses_what_becomes_of_an_upload(hooked: httpx.Client, real_site: Site) -> None:
    """Its path and type."""
    upload_id = created(hooked, "other").headers["location"].rpartition("/")[2]
    upload = real_site.manager().get(upload_id)
    assert (upload.filepath, upload.content_type) == ("chosen/a.txt", "text/x-chosen")


def test_a_hook_bounds_an_upload(hooked: httpx.Client) -> None:
    """Also one whose length comes later."""
    assert created(hooked, "small").status_code == 413
    encoded = base64.b64encode(b"small").decode()
    said = {"Upload-Metadata": f"filename {encoded}", "X-Name": "ann"}
    url = begun(hooked, None, **said)
    assert sent(hooked, url, 0, b"abcd", **{"X-Name": "ann"}).status_code == 413


@pytest.mark.parametrize(
    ("filename", "status", "code"),
    [
        ("refused", 403, "refused"),
        ("teapot", 418, "refused"),
        ("elsewhere", 400, "unknown_service"),
        ("../../etc/passwd", 400, "invalid_path"),
        ("/etc/passwd", 400, "invalid_path"),
        (".chunkferry/x", 400, "invalid_path"),
        ("odd", 400, "invalid_argument"),
        ("broken", 500, "hook_failed"),
    ],
)
def test_a_hook_may_refuse_and_may_be_wrong(
    hooked: httpx.Client, filename: str, status: int, code: str
) -> None:
    """A clear answer, without a stack trace and without what an unforeseen error says."""
    answer = created(hooked, filename)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text


def test_what_a_hook_raises_is_not_logged(real_site: Site, start_front: StartFront) -> None:
    """Its text may hold what a client sent; where it happened is logged."""
    front = start_front({**real_site.env, "CHUNKFERRY_HTTP_HOOKS": "tests.servers.doormen:plain"})
    with front.client() as web:
        assert created(web, "broken").status_code == 500
    front.stop()
    assert (
        "swordfish"
        not in front.log.read_text().replace("raise RuntimeError(", "", 1).split('swordfish")')[-1]
    )
    assert "as_the_file_name_says" in front.log.read_text()


def test_logging_is_on() -> None:
    """The tests above would pass where nothing is ever logged."""
    assert logging.getLogger("chunkferry.tus.answers").isEnabledFor(logging.ERROR)
