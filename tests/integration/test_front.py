"""The front door on real parts: bytes over HTTP into Redis, and from there into the store."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.servers.front import BYTES, TUS, Front, StartFront, begun, offset_of, sent
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry.parts import MIB

CONTENT = os.urandom(12 * MIB + 1)


def filepath(site: Site, url: str) -> str:
    """Where the object of an upload goes."""
    return site.manager().get(url.rpartition("/")[2]).filepath


def is_complete(site: Site, url: str) -> bool:
    """Whether the object is in the store."""
    return site.manager().get(url.rpartition("/")[2]).is_complete


def test_an_upload_in_two_requests_is_stored(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """The object has the bytes that were sent."""
    start_worker(real_site.env)
    url = begun(web, len(CONTENT))
    assert sent(web, url, 0, CONTENT[: 7 * MIB]).status_code == httpx.codes.NO_CONTENT
    assert offset_of(web, url) == 7 * MIB
    assert sent(web, url, 7 * MIB, CONTENT[7 * MIB :]).status_code == httpx.codes.NO_CONTENT
    wait_until(lambda: is_complete(real_site, url))
    assert real_site.stored(filepath(real_site, url)) == CONTENT


def test_the_bytes_of_a_broken_connection_are_kept(front: Front, web: httpx.Client) -> None:
    """A client goes on where its connection broke, not where the request began."""
    url = begun(web, len(CONTENT))
    lines = [f"PATCH {url} HTTP/1.1", "Host: x", f"Content-Length: {len(CONTENT)}"]
    lines += [f"{name}: {value}" for name, value in BYTES.items()] + ["Upload-Offset: 0", "", ""]
    with socket.create_connection(("127.0.0.1", int(front.url.rpartition(":")[2]))) as connection:
        connection.sendall("\r\n".join(lines).encode() + CONTENT[: 2 * MIB])
        wait_until(lambda: offset_of(web, url) > 0)
    wait_until(lambda: offset_of(web, url) == 2 * MIB)


def test_a_checksum_that_does_not_hold_leaves_nothing(web: httpx.Client) -> None:
    """460, and the offset is as before; not one byte of the body is visible."""
    url = begun(web, len(CONTENT))
    wrong = base64.b64encode(hashlib.sha1(b"other", usedforsecurity=False).digest()).decode()
    answer = sent(web, url, 0, CONTENT, **{"Upload-Checksum": f"sha1 {wrong}"})
    assert (answer.status_code, offset_of(web, url)) == (460, 0)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_a_checksum_that_holds_lets_the_bytes_in(web: httpx.Client, algorithm: str) -> None:
    """All of them."""
    url = begun(web, len(CONTENT))
    digest = base64.b64encode(hashlib.new(algorithm, CONTENT).digest()).decode()
    answer = sent(web, url, 0, CONTENT, **{"Upload-Checksum": f"{algorithm} {digest}"})
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(len(CONTENT)))


def chunks_of(data: bytes) -> Iterator[bytes]:
    """A body whose length is not announced."""
    yield from (data[at : at + MIB] for at in range(0, len(data), MIB))


def test_a_body_of_unknown_length_is_taken_in(web: httpx.Client) -> None:
    """Chunked transfer coding needs no Content-Length."""
    url = begun(web, len(CONTENT))
    answer = web.patch(url, headers={**BYTES, "Upload-Offset": "0"}, content=chunks_of(CONTENT))
    assert (answer.status_code, offset_of(web, url)) == (204, len(CONTENT))


def trailing(front: Front, url: str, data: bytes, checksum: str) -> bytes:
    """The answer to a chunked PATCH with ``checksum`` behind its body."""
    lines = [f"PATCH {url} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"]
    lines += ["Trailer: Upload-Checksum", "Connection: close", "Upload-Offset: 0"]
    lines += [f"{name}: {value}" for name, value in BYTES.items()] + ["", ""]
    body = f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n"
    with socket.create_connection(("127.0.0.1", int(front.url.rpartition(":")[2]))) as connection:
        connection.sendall(
            "\r\n".join(lines).encode() + body + f"Upload-Checksum: {checksum}\r\n\r\n".encode()
        )
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(("said", "status"), [(b"abcd", b"204"), (b"other", b"460")])
def test_a_checksum_may_follow_the_body(
    front: Front, web: httpx.Client, said: bytes, status: bytes
) -> None:
    """tus, section Checksum: in the trailer of a chunked body."""
    url = begun(web, 4)
    digest = base64.b64encode(hashlib.sha256(said).digest()).decode()
    answer = trailing(front, url, b"abcd", f"sha256 {digest}")
    assert answer.split(b" ")[1] == status


def test_replicas_need_no_stickiness(
    real_site: Site, web: httpx.Client, start_front: StartFront
) -> None:
    """What one took in, the other one goes on with."""
    url = begun(web, len(CONTENT))
    sent(web, url, 0, CONTENT[:MIB])
    with start_front(real_site.env).client() as other:
        assert offset_of(other, url) == MIB
        assert sent(other, url, MIB, CONTENT[MIB:]).status_code == httpx.codes.NO_CONTENT
    assert offset_of(web, url) == len(CONTENT)


def test_stored_acknowledgements_wait_for_the_object(
    real_site: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """An offset that equals the length is told only once the object is in the store."""
    env = {"CHUNKFERRY_HTTP_ACK": "stored", "CHUNKFERRY_HTTP_ACK_WAIT_SECONDS": "1"}
    with start_front({**real_site.env, **env}).client() as web:
        url = begun(web, len(CONTENT))
        assert sent(web, url, 0, CONTENT).status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert offset_of(web, url) == len(CONTENT) - 1
        start_worker(real_site.env)
        wait_until(lambda: is_complete(real_site, url))
        assert offset_of(web, url) == len(CONTENT)
        again = sent(web, url, len(CONTENT), b"")
        assert again.status_code == httpx.codes.NO_CONTENT


def test_the_last_byte_may_be_sent_again(
    real_site: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """A client that is asked for it gets its answer when the object is there."""
    env = {"CHUNKFERRY_HTTP_ACK": "stored", "CHUNKFERRY_HTTP_ACK_WAIT_SECONDS": "1"}
    with start_front({**real_site.env, **env}).client() as web:
        url = begun(web, 4)
        sent(web, url, 0, b"abcd")
        start_worker(real_site.env)
        wait_until(lambda: sent(web, url, 3, b"d").status_code == httpx.codes.NO_CONTENT)
        assert is_complete(real_site, url)


@pytest.mark.parametrize(
    ("length", "checksum", "status"),
    [("4", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=", 460), ("3", "", 413), ("4", "md4 AA==", 400)],
)
def test_refused_first_bytes_leave_no_upload(
    real_site: Site, web: httpx.Client, length: str, checksum: str, status: int
) -> None:
    """Its client knows no URL to go on at, or to remove it by; it would count as open."""
    headers = {**BYTES, "Upload-Length": length}
    if checksum:
        headers["Upload-Checksum"] = checksum
    assert web.post("/files", headers=headers, content=b"data").status_code == status
    assert all(upload.is_removed for upload in real_site.manager().list_uploads())


def test_a_length_may_come_last_of_all(
    real_site: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """A client that learns only after the last byte that it was the last is not sent back."""
    env = {"CHUNKFERRY_HTTP_ACK": "stored"}
    with start_front({**real_site.env, **env}).client() as web:
        start_worker(real_site.env)
        url = begun(web, None)
        sent(web, url, 0, b"abcd")
        answer = sent(web, url, 4, b"", **{"Upload-Length": "4"})
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, "4")
        assert is_complete(real_site, url)


def test_who_waits_for_an_upload_that_is_removed_is_told_so(
    real_site: Site, start_front: StartFront
) -> None:
    """410, and no advice to ask again."""
    env = {"CHUNKFERRY_HTTP_ACK": "stored", "CHUNKFERRY_HTTP_ACK_WAIT_SECONDS": "60"}
    with start_front({**real_site.env, **env}).client() as web, ThreadPoolExecutor() as pool:
        url = begun(web, 4)
        waiting = pool.submit(sent, web, url, 0, b"abcd")
        wait_until(lambda: real_site.manager().get(url.rpartition("/")[2]).received == 4)
        assert web.delete(url, headers=TUS).status_code == httpx.codes.NO_CONTENT
        assert waiting.result(30).status_code == httpx.codes.GONE


def test_a_full_window_slows_the_client_and_is_no_error(
    real_site: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """More bytes than may wait in Redis go through one request."""
    env = {**real_site.env, "CHUNKFERRY_WINDOW": str(13 * MIB)}
    big = CONTENT * 4
    with start_front(env).client() as web:
        start_worker(env)
        url = begun(web, len(big))
        assert sent(web, url, 0, big).status_code == httpx.codes.NO_CONTENT


def test_no_room_for_long_is_told_as_retryable(real_site: Site, start_front: StartFront) -> None:
    """503 with Retry-After, and the offset tells what was taken in."""
    env = {"CHUNKFERRY_WINDOW": str(13 * MIB), "CHUNKFERRY_APPEND_WAIT_SECONDS": "0.5"}
    big = CONTENT * 4
    with start_front({**real_site.env, **env}).client() as web:
        url = begun(web, len(big))
        answer = sent(web, url, 0, big)
        assert (answer.status_code, int(answer.headers["retry-after"])) == (503, 1)
        assert 0 < offset_of(web, url) < len(big)


def test_another_version_is_told_which_one_is_spoken(web: httpx.Client) -> None:
    """412 with Tus-Version."""
    answer = web.post("/files", headers={"Tus-Resumable": "0.2.2", "Upload-Length": "1"})
    assert (answer.status_code, answer.headers["tus-version"]) == (412, TUS["Tus-Resumable"])
