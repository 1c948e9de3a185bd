"""tus 1.0.0, core protocol: a test for each sentence about servers, which its docstring names.

``docs/tus.md`` is made of these docstrings.
"""

from __future__ import annotations

import os

import httpx
import pytest
from tests.servers.front import (
    BYTES,
    MAX_SIZE,
    TUS,
    Front,
    StartFront,
    answer_of,
    begun,
    head_of,
    offset_of,
    sent,
)
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry.parts import MIB

UNKNOWN = f"/files/1-{'0' * 32}"
NO_NUMBERS = ["", "-1", "1.0", "+1", "0x10", "1e3", "one", "٣", "9" * 20, "1,1", "1 1"]

#: One request of every kind but OPTIONS, to the upload at ``{}``.
REQUESTS = [
    ("POST", "/files", {"Upload-Length": "1"}),
    ("HEAD", "{}", {}),
    ("PATCH", "{}", {**BYTES, "Upload-Offset": "0"}),
    ("DELETE", "{}", {}),
]


def encoded(headers: dict[str, str]) -> dict[bytes, bytes]:
    """Headers as bytes, whatever text they are."""
    return {name.encode(): value.encode() for name, value in headers.items()}


# --- headers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_offsets_are_numbers(shared_web: httpx.Client, value: str) -> None:
    """Upload-Offset, MUST: it is an integer, 0 or more; else 400."""
    url = begun(shared_web, 4)
    answer = shared_web.patch(url, headers=encoded({**BYTES, "Upload-Offset": value}), content=b"a")
    assert (answer.status_code, offset_of(shared_web, url)) == (400, 0)


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_lengths_are_numbers(shared_web: httpx.Client, value: str) -> None:
    """Upload-Length, MUST: it is an integer, 0 or more; else 400."""
    answer = shared_web.post("/files", headers=encoded({**TUS, "Upload-Length": value}))
    assert answer.status_code == 400


def test_versions_are_a_list(shared_web: httpx.Client) -> None:
    """Tus-Version, MUST: it lists the versions the server speaks, the preferred one first."""
    assert shared_web.options("/files").headers["tus-version"].split(",") == ["1.0.0"]


@pytest.mark.parametrize(("method", "url", "headers"), REQUESTS)
def test_answers_have_the_version(
    shared_web: httpx.Client, method: str, url: str, headers: dict[str, str]
) -> None:
    """Tus-Resumable, MUST: every answer has it, and it is the version of the protocol in use."""
    target = url.format(begun(shared_web, 1))
    answer = shared_web.request(method, target, headers={**TUS, **headers})
    assert answer.is_success
    assert answer.headers["tus-resumable"] == "1.0.0"


@pytest.mark.parametrize(
    ("method", "url", "headers", "status"),
    [
        ("PUT", "/files", {}, 405),
        ("HEAD", UNKNOWN, {}, 404),
        ("POST", "/files", {"Upload-Length": "x"}, 400),
        ("POST", "/files", {"Upload-Length": "1", "X-Padding": "x" * 40000}, 431),
        ("POST", "/files", {"Upload-Length": "1", "X-HTTP-Method-Override": "BREW"}, 405),
    ],
)
def test_errors_have_the_version(
    shared_web: httpx.Client, method: str, url: str, headers: dict[str, str], status: int
) -> None:
    """Tus-Resumable, MUST: every answer has it, an error as well."""
    answer = shared_web.request(method, url, headers={**TUS, **headers})
    assert (answer.status_code, answer.headers["tus-resumable"]) == (status, "1.0.0")


@pytest.mark.parametrize(("method", "url", "headers"), REQUESTS)
@pytest.mark.parametrize("version", ["0.2.2", "1.0.1", "", "1.0.0, 1.0.0"])
def test_other_versions_are_refused(
    shared_web: httpx.Client, method: str, url: str, headers: dict[str, str], version: str
) -> None:
    """Tus-Resumable, MUST: a version the server does not speak is answered with 412."""
    target = url.format(begun(shared_web, 1))
    answer = shared_web.request(method, target, headers={**headers, "Tus-Resumable": version})
    assert answer.status_code == 412


@pytest.mark.parametrize(
    ("method", "url", "headers"), [asked for asked in REQUESTS if asked[0] == "POST"]
)
def test_a_request_without_a_version_is_refused(
    shared_web: httpx.Client, method: str, url: str, headers: dict[str, str]
) -> None:
    """Tus-Resumable, MUST: 412 without one, unless it is of the other protocol spoken here."""
    target = url.format(begun(shared_web, 1))
    assert shared_web.request(method, target, headers=headers).status_code == 412


def test_other_versions_are_told_the_right_one(shared_web: httpx.Client) -> None:
    """Tus-Resumable, MUST: a 412 has Tus-Version."""
    answer = shared_web.post("/files", headers={"Tus-Resumable": "2.0.0", "Upload-Length": "1"})
    assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")


def test_other_versions_change_nothing(shared_web: httpx.Client) -> None:
    """Tus-Resumable, MUST NOT: a request of another version is processed."""
    url, other = begun(shared_web, 4), {"Tus-Resumable": "0.2.2"}
    sent(shared_web, url, 0, b"ab", **other)
    shared_web.delete(url, headers=other)
    assert offset_of(shared_web, url) == 0


def test_extensions_are_a_list(shared_web: httpx.Client) -> None:
    """Tus-Extension, MUST: it lists the extensions the server has."""
    extensions = shared_web.options("/files").headers["tus-extension"].split(",")
    assert len(extensions) == len({*extensions})
    assert all(name.replace("-", "").islower() for name in extensions)


def test_the_largest_size_is_a_number(shared_web: httpx.Client) -> None:
    """Tus-Max-Size, MUST: it is an integer, 0 or more; SHOULD be there if there is a limit."""
    assert shared_web.options("/files").headers["tus-max-size"] == str(MAX_SIZE)


def test_no_limit_is_not_told(web: httpx.Client) -> None:
    """Tus-Max-Size, SHOULD: it is there if there is a limit; without one it is not."""
    assert "tus-max-size" not in web.options("/files").headers


@pytest.mark.parametrize("actual", ["POST", "PUT", "GET"])
@pytest.mark.parametrize("override", ["PATCH", "patch"])
def test_the_method_can_be_overridden(shared_web: httpx.Client, actual: str, override: str) -> None:
    """X-HTTP-Method-Override, MUST: it is taken for the method, and the actual one is ignored."""
    url = begun(shared_web, 4)
    headers = {**BYTES, "Upload-Offset": "0", "X-HTTP-Method-Override": override}
    answer = shared_web.request(actual, url, headers=headers, content=b"ab")
    assert (answer.status_code, offset_of(shared_web, url)) == (204, 2)


def test_every_method_can_be_overridden(shared_web: httpx.Client) -> None:
    """X-HTTP-Method-Override, MUST: it is taken for the method, HEAD and DELETE as well."""
    url = begun(shared_web, 4)
    head = shared_web.post(url, headers={**TUS, "X-HTTP-Method-Override": "HEAD"})
    assert (head.status_code, head.headers["upload-offset"]) == (200, "0")
    assert shared_web.post(url, headers={**TUS, "X-HTTP-Method-Override": "DELETE"}).is_success
    assert shared_web.head(url, headers=TUS).status_code == 410


# --- HEAD -------------------------------------------------------------------------------------


def test_head_tells_the_offset_of_a_new_upload(shared_web: httpx.Client) -> None:
    """HEAD, MUST: the answer has Upload-Offset, even if it is 0."""
    assert shared_web.head(begun(shared_web, 4), headers=TUS).headers["upload-offset"] == "0"


def test_head_tells_the_offset_of_a_complete_upload(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """HEAD, MUST: the answer has Upload-Offset, even if the upload is complete."""
    start_worker(real_site.env)
    url = begun(web, 4)
    sent(web, url, 0, b"abcd")
    upload_id = url.rpartition("/")[2]
    wait_until(lambda: real_site.manager().get(upload_id).is_complete)
    assert offset_of(web, url) == 4


def test_head_tells_the_length(shared_web: httpx.Client) -> None:
    """HEAD, MUST: the answer has Upload-Length if it is known."""
    assert shared_web.head(begun(shared_web, 7), headers=TUS).headers["upload-length"] == "7"


@pytest.mark.parametrize("url", [UNKNOWN, "/files/x", "/files/%00", "/files/..%2f..%2fetc"])
def test_head_finds_only_uploads(shared_web: httpx.Client, url: str) -> None:
    """HEAD, SHOULD: without an upload the answer is 404, without Upload-Offset."""
    answer = shared_web.head(url, headers=TUS)
    assert (answer.status_code, "upload-offset" in answer.headers) == (404, False)


def test_head_is_not_cached(shared_web: httpx.Client) -> None:
    """HEAD, MUST: the answer has Cache-Control: no-store."""
    answers = [shared_web.head(url, headers=TUS) for url in (begun(shared_web, 4), UNKNOWN)]
    assert [answer.headers["cache-control"] for answer in answers] == ["no-store", "no-store"]


# --- PATCH ------------------------------------------------------------------------------------


def test_patch_applies_bytes_at_the_offset(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """PATCH, SHOULD: it is accepted for any upload, and its bytes applied at the offset."""
    start_worker(real_site.env)
    url = begun(web, 6)
    for offset, data in [(0, b"ab"), (2, b"cdef")]:
        assert sent(web, url, offset, data).status_code == 204
    upload_id = url.rpartition("/")[2]
    wait_until(lambda: real_site.manager().get(upload_id).is_complete)
    assert real_site.stored(real_site.manager().get(upload_id).filepath) == b"abcdef"


@pytest.mark.parametrize("media_type", ["application/octet-stream", "text/plain", "", None])
def test_patch_is_of_the_right_type(shared_web: httpx.Client, media_type: str | None) -> None:
    """PATCH, SHOULD: another Content-Type, or none, is answered with 415."""
    url = begun(shared_web, 4)
    headers = {**TUS, "Upload-Offset": "0"}
    if media_type is not None:
        headers["Content-Type"] = media_type
    answer = shared_web.patch(url, headers=headers, content=b"abcd")
    assert (answer.status_code, offset_of(shared_web, url)) == (415, 0)


@pytest.mark.parametrize(
    "media_type", [f"{BYTES['Content-Type']}; v=1", "Application/Offset+Octet-Stream"]
)
def test_media_types_are_those_of_http(shared_web: httpx.Client, media_type: str) -> None:
    """PATCH, SHOULD: it is accepted; capitals and parameters of its type do not matter."""
    url = begun(shared_web, 4)
    assert sent(shared_web, url, 0, b"ab", **{"Content-Type": media_type}).status_code == 204


@pytest.mark.parametrize("offset", [0, 1, 3, 4, 1000])
def test_patch_at_another_offset_is_refused(shared_web: httpx.Client, offset: int) -> None:
    """PATCH, MUST: an offset that is not the current one is answered with 409; nothing changes."""
    url = begun(shared_web, 8)
    sent(shared_web, url, 0, b"ab")
    answer = sent(shared_web, url, offset, b"xy")
    assert (answer.status_code, offset_of(shared_web, url)) == (409, 2)


def test_patch_is_acknowledged(shared_web: httpx.Client) -> None:
    """PATCH, MUST: success is 204 with the new Upload-Offset."""
    answer = sent(shared_web, begun(shared_web, 8), 0, b"abc")
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "3")


@pytest.mark.parametrize("size", [0, 1, 3 * MIB])
def test_the_new_offset_is_a_sum(shared_web: httpx.Client, size: int) -> None:
    """PATCH, MUST: the new offset is the old one and the bytes of this request."""
    url = begun(shared_web, 4 * MIB)
    sent(shared_web, url, 0, b"abc")
    told = sent(shared_web, url, 3, bytes(size)).headers["upload-offset"]
    assert (told, offset_of(shared_web, url)) == (str(3 + size), 3 + size)


def test_patch_finds_only_uploads(shared_web: httpx.Client) -> None:
    """PATCH, SHOULD: without an upload the answer is 404."""
    assert sent(shared_web, UNKNOWN, 0, b"a").status_code == 404


def test_a_connection_that_breaks_is_noticed(shared_front: Front, shared_web: httpx.Client) -> None:
    """PATCH, SHOULD: network errors are handled predictably: what came is kept."""
    url = begun(shared_web, 100)
    with shared_front.connection() as client:
        head = head_of("PATCH", url, **BYTES, **{"Upload-Offset": "0", "Content-Length": "100"})
        client.sendall(head + b"abcd")
    wait_until(lambda: offset_of(shared_web, url) == 4)


def test_a_silent_client_is_let_go(shared_front: Front, shared_web: httpx.Client) -> None:
    """PATCH, SHOULD: a time-out closes the connection; MAY: reading has one. What came is kept."""
    url = begun(shared_web, 100)
    with shared_front.connection() as client:
        head = head_of("PATCH", url, **BYTES, **{"Upload-Offset": "0", "Content-Length": "100"})
        client.sendall(head + b"abcd")
        status, answer = answer_of(client)
        assert (status, "connection: close" in answer) == (503, True)
        while client.recv(1000):
            pass
    assert offset_of(shared_web, url) == 4


def test_as_much_as_possible_is_kept(shared_front: Front, shared_web: httpx.Client) -> None:
    """PATCH, SHOULD: the server stores as much of what it received as possible."""
    url, data = begun(shared_web, 9 * MIB), os.urandom(6 * MIB + 5)
    with shared_front.connection() as client:
        length = str(9 * MIB)
        head = head_of("PATCH", url, **BYTES, **{"Upload-Offset": "0", "Content-Length": length})
        client.sendall(head + data)
    wait_until(lambda: offset_of(shared_web, url) == len(data))


@pytest.mark.parametrize("chunked", [False, True])
def test_more_than_the_rest_is_refused(shared_web: httpx.Client, chunked: bool) -> None:
    """PATCH, MUST: no upload becomes longer than it was announced; the answer is 413."""
    url, data = begun(shared_web, 4), b"abcdefgh"
    body = iter([data]) if chunked else data
    answer = shared_web.patch(url, headers={**BYTES, "Upload-Offset": "0"}, content=body)
    assert (answer.status_code, offset_of(shared_web, url) <= 4) == (413, True)


# --- OPTIONS ----------------------------------------------------------------------------------


def test_options_tell_what_the_server_can(shared_web: httpx.Client) -> None:
    """OPTIONS, MUST: the answer has Tus-Version; MAY: Tus-Extension and Tus-Max-Size."""
    answer = shared_web.options("/files")
    assert answer.status_code == 204
    assert {"tus-version", "tus-extension", "tus-max-size"} <= {*answer.headers}


@pytest.mark.parametrize("version", ["0.2.2", "nonsense", "1.0.0"])
def test_options_ignore_the_version(shared_web: httpx.Client, version: str) -> None:
    """OPTIONS, MUST: Tus-Resumable of the request is ignored."""
    answer = shared_web.options("/files", headers={"Tus-Resumable": version})
    assert (answer.status_code, answer.headers["tus-version"]) == (204, "1.0.0")


def test_features_are_found_by_options(shared_web: httpx.Client) -> None:
    """Protocol Extensions, SHOULD: OPTIONS answers with the extensions, of uploads as well."""
    urls = ["/files", "/files/", begun(shared_web, 4)]
    answers = [shared_web.options(url).headers["tus-extension"] for url in urls]
    assert len({*answers}) == 1
    assert "creation" in answers[0].split(",")


def test_options_need_no_credentials(real_site: Site, start_front: StartFront) -> None:
    """Protocol Extensions, SHOULD: OPTIONS answers whoever asks; a browser asks without a token."""
    env = {**real_site.env, "CHUNKFERRY_HTTP_TOKENS": '{"ann": "secret"}'}
    with start_front(env).client() as web:
        assert web.options("/files").status_code == 204
