"""tus 1.0.0, checksums before and behind a body: a test for each sentence about servers.

``docs/tus.md`` is made of these docstrings.
"""

from __future__ import annotations

import base64
import hashlib
import zlib

import google_crc32c
import httpx
import pytest
from tests.servers.front import BYTES, TUS, Front, answer_of, begun, head_of, offset_of, sent

DATA = b"hello world"
#: Algorithm -> digest of ``DATA``, made without the code under test.
DIGESTS = {
    "sha1": hashlib.sha1(DATA, usedforsecurity=False).digest(),
    "sha256": hashlib.sha256(DATA).digest(),
    "sha512": hashlib.sha512(DATA).digest(),
    "md5": hashlib.md5(DATA, usedforsecurity=False).digest(),
    "crc32": zlib.crc32(DATA).to_bytes(4),
    "crc32c": google_crc32c.value(DATA).to_bytes(4),
}


def said(algorithm: str, digest: bytes) -> str:
    """The value of Upload-Checksum."""
    return f"{algorithm} {base64.b64encode(digest).decode()}"


def checked(web: httpx.Client, url: str, checksum: str) -> httpx.Response:
    """The answer to a PATCH of ``DATA`` with a checksum."""
    return sent(web, url, 0, DATA, **{"Upload-Checksum": checksum})


def trailing(front: Front, url: str, trailer: str, announced: str = "Upload-Checksum") -> int:
    """The status of a chunked PATCH of ``DATA`` that a trailer follows."""
    headers = {**BYTES, "Upload-Offset": "0", "Transfer-Encoding": "chunked"}
    if announced:
        headers["Trailer"] = announced
    with front.connection() as client:
        client.sendall(head_of("PATCH", url, **headers))
        client.sendall(b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(DATA), DATA, trailer.encode()))
        return answer_of(client)[0]


def test_checksums_are_announced(shared_web: httpx.Client) -> None:
    """Checksum, MUST: Tus-Extension names it."""
    assert "checksum" in shared_web.options("/files").headers["tus-extension"].split(",")


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_a_checksum_that_holds(shared_web: httpx.Client, algorithm: str) -> None:
    """Checksum, MUST: a body is verified by its checksum; MAY: if it holds, the answer is 204."""
    url = begun(shared_web, len(DATA))
    answer = checked(shared_web, url, said(algorithm, DIGESTS[algorithm]))
    assert (answer.status_code, offset_of(shared_web, url)) == (204, len(DATA))


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_a_checksum_that_does_not_hold(shared_web: httpx.Client, algorithm: str) -> None:
    """Checksum, MAY: where it does not hold, the answer is 460; MUST: the bytes are discarded."""
    url = begun(shared_web, len(DATA))
    wrong = bytes(byte ^ 1 for byte in DIGESTS[algorithm])
    answer = checked(shared_web, url, said(algorithm, wrong))
    assert (answer.status_code, offset_of(shared_web, url)) == (460, 0)


@pytest.mark.parametrize("algorithm", ["sha384", "SHA1", "crc64"])
def test_an_unknown_algorithm(shared_web: httpx.Client, algorithm: str) -> None:
    """Checksum, MAY: an algorithm the server does not have is 400; MUST: nothing is updated."""
    url = begun(shared_web, len(DATA))
    answer = checked(shared_web, url, said(algorithm, DIGESTS["sha1"]))
    assert (answer.status_code, offset_of(shared_web, url)) == (400, 0)


@pytest.mark.parametrize("value", ["sha1", "sha1 !", "sha1 abc", "sha1\tAAAA", "sha1 AA=="])
def test_a_checksum_is_an_algorithm_and_base64(shared_web: httpx.Client, value: str) -> None:
    """Upload-Checksum, MUST: an algorithm, a space, Base64; else nothing is updated."""
    url = begun(shared_web, len(DATA))
    answer = checked(shared_web, url, value)
    assert answer.status_code in {400, 460}
    assert offset_of(shared_web, url) == 0


def test_sha1_is_known(shared_web: httpx.Client) -> None:
    """Checksum, MUST: the server has sha1 at least."""
    assert "sha1" in shared_web.options("/files").headers["tus-checksum-algorithm"].split(",")


def test_algorithms_are_announced(shared_web: httpx.Client) -> None:
    """Tus-Checksum-Algorithm, MUST: OPTIONS has it: the algorithms, with commas between them."""
    told = shared_web.options("/files").headers["tus-checksum-algorithm"].split(",")
    assert {*told} == {*DIGESTS}


def test_algorithms_have_small_letters(shared_web: httpx.Client) -> None:
    """Checksum, MUST: names of algorithms are ASCII without capitals."""
    told = shared_web.options("/files").headers["tus-checksum-algorithm"]
    assert told.isascii()
    assert told == told.lower()


def test_nothing_is_seen_before_it_is_verified(
    shared_front: Front, shared_web: httpx.Client
) -> None:
    """Checksum, MUST: the offset is not updated before the whole body has been verified."""
    url = begun(shared_web, len(DATA))
    headers = {**BYTES, "Upload-Offset": "0", "Content-Length": str(len(DATA))}
    headers["Upload-Checksum"] = said("sha1", DIGESTS["sha1"])
    with shared_front.connection() as client:
        client.sendall(head_of("PATCH", url, **headers) + DATA[:-1])
        assert offset_of(shared_web, url) == 0
        client.sendall(DATA[-1:])
        assert answer_of(client)[0] == 204
    assert offset_of(shared_web, url) == len(DATA)


def test_a_broken_body_with_a_checksum_leaves_nothing(
    shared_front: Front, shared_web: httpx.Client
) -> None:
    """Checksum, MUST: what cannot be verified is discarded, as after a connection that broke."""
    url = begun(shared_web, len(DATA))
    headers = {**BYTES, "Upload-Offset": "0", "Content-Length": str(len(DATA))}
    headers["Upload-Checksum"] = said("sha1", DIGESTS["sha1"])
    with shared_front.connection() as client:
        client.sendall(head_of("PATCH", url, **headers) + DATA[:-1])
        assert answer_of(client)[0] == 503
    assert offset_of(shared_web, url) == 0


def test_first_bytes_may_have_a_checksum(shared_web: httpx.Client) -> None:
    """Checksum, MUST: it holds for the first bytes in a POST as well."""
    headers = {**BYTES, "Upload-Length": "11", "Upload-Checksum": said("sha1", DIGESTS["sha1"])}
    answers = [
        shared_web.post("/files", headers=headers, content=data) for data in (DATA, b"x" * 11)
    ]
    assert [answer.status_code for answer in answers] == [201, 460]


def test_trailers_are_announced(shared_web: httpx.Client) -> None:
    """Checksum, MUST: Tus-Extension names checksum-trailer if the server reads trailers."""
    extensions = shared_web.options("/files").headers["tus-extension"].split(",")
    assert "checksum-trailer" in extensions


@pytest.mark.parametrize(("data", "status"), [(DATA, 204), (b"other", 460)])
def test_a_checksum_may_follow(
    shared_front: Front, shared_web: httpx.Client, data: bytes, status: int
) -> None:
    """Checksum, MAY: it is a trailer of a chunked body, and counts as one that came before."""
    url = begun(shared_web, len(DATA))
    trailer = f"Upload-Checksum: {said('sha256', hashlib.sha256(data).digest())}"
    assert trailing(shared_front, url, trailer) == status
    assert offset_of(shared_web, url) == (len(DATA) if status == 204 else 0)


@pytest.mark.parametrize("trailer", ["X-Other: 1", "Upload-Checksum: sha384 AAAA"])
def test_an_announced_trailer_has_to_come(
    shared_front: Front, shared_web: httpx.Client, trailer: str
) -> None:
    """Checksum, MUST: what a trailer was announced for and not delivered is discarded."""
    url = begun(shared_web, len(DATA))
    assert trailing(shared_front, url, trailer) == 400
    assert offset_of(shared_web, url) == 0


def test_a_trailer_is_announced_by_the_client(
    shared_front: Front, shared_web: httpx.Client
) -> None:
    """Checksum, MUST: a trailer is announced by Trailer; one that was not counts for nothing."""
    url = begun(shared_web, len(DATA))
    trailer = f"Upload-Checksum: {said('sha256', hashlib.sha256(b'other').digest())}"
    assert trailing(shared_front, url, trailer, announced="") == 204


def test_a_version_does_not_follow(shared_front: Front) -> None:
    """Tus-Resumable, MUST: it is in the head of a request; what follows the body is no header."""
    with shared_front.connection() as client:
        client.sendall(
            b"POST /files HTTP/1.1\r\nHost: x\r\nUpload-Length: 4\r\nTransfer-Encoding: chunked\r\n"
            b"\r\n0\r\nTus-Resumable: 1.0.0\r\n\r\n"
        )
        assert answer_of(client)[0] == 412


def test_options_name_tus(shared_web: httpx.Client) -> None:
    """Checksum, MUST: OPTIONS is answered as any other, with Tus-Resumable."""
    assert shared_web.options("/files").headers["tus-resumable"] == TUS["Tus-Resumable"]
