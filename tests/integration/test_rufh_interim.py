"""Interim answers with the status 104 on the wire, and what a client makes of them.

Sections are those of draft-ietf-httpbis-resumable-upload-12.
"""

from __future__ import annotations

import os
import subprocess

import httpx
import pytest
from tests.clients.rufh import PARTIAL, VERSION, append, begun, stands, wire
from tests.servers.front import Front
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry.parts import MIB

CONTENT = os.urandom(4 * MIB)
WHOLE = {**VERSION, "Upload-Complete": "?1", "Content-Length": str(len(CONTENT))}


def test_an_interim_answer_announces_the_upload(front: Front) -> None:
    """4.2 SHOULD: with Location; MUST: with Upload-Limit. Before any content was sent."""
    with wire(front) as connection:
        connection.begin("POST", "/files", WHOLE)
        told = connection.message()
        assert told.status == 104
        assert told.headers["location"].startswith("/files/")
        assert "max-size=" in told.headers["upload-limit"]


def test_an_interim_answer_names_its_version(front: Front) -> None:
    """Appendix MUST: the client's own one."""
    with wire(front) as connection:
        connection.begin("POST", "/files", {**WHOLE, "Upload-Draft-Interop-Version": "6"})
        assert connection.message().headers["upload-draft-interop-version"] == "6"


def test_all_answers_tell_the_same_location(front: Front) -> None:
    """4.2 MUST: interim and final ones."""
    with wire(front) as connection:
        connection.begin("POST", "/files", {**WHOLE, "Upload-Complete": "?0"})
        interim = connection.message()
        connection.send(CONTENT)
        final = connection.message()
        assert (interim.status, final.status) == (104, 201)
        assert interim.headers["location"] == final.headers["location"]


@pytest.mark.parametrize("version", [{}, {"Upload-Draft-Interop-Version": "10"}])
def test_clients_of_other_versions_get_none(front: Front, version: dict[str, str]) -> None:
    """Appendix MUST NOT: where the version is missing, or another one."""
    headers = {"Upload-Complete": "?1", "Content-Length": "4", **version}
    with wire(front) as connection:
        connection.begin("POST", "/files", headers)
        connection.send(b"abcd")
        assert connection.message().status == 201


def test_clients_of_old_http_get_none(front: Front) -> None:
    """RFC 9110, section 15.2: a server must not send interim answers to HTTP/1.0."""
    head = "".join(f"{name}: {value}\r\n" for name, value in WHOLE.items())
    with wire(front) as connection:
        connection.send(f"POST /files HTTP/1.0\r\n{head}\r\n".encode() + CONTENT)
        assert connection.message().status == 201


def test_clients_of_tus_get_none(front: Front) -> None:
    """Their protocol knows no such thing."""
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "4", **VERSION}
    with wire(front) as connection:
        connection.begin("POST", "/files", {**tus, "Content-Length": "0"})
        assert connection.message().status == 201


def test_continue_is_sent_all_the_same(front: Front) -> None:
    """5 MUST NOT: omit 100 because a 104 was sent."""
    with wire(front) as connection:
        connection.begin("POST", "/files", {**WHOLE, "Expect": "100-continue"})
        assert [connection.message().status, connection.message().status] == [104, 100]


def test_a_creation_that_breaks_is_resumed(
    real_site: Site, front: Front, web: httpx.Client, start_worker: StartWorker
) -> None:
    """4.2 SHOULD: its bytes are kept, in order and without gaps; MUST NOT: be complete."""
    start_worker(real_site.env)
    with wire(front) as connection:
        connection.begin("POST", "/files", WHOLE)
        url = connection.message().headers["location"]
        connection.send(CONTENT[: 3 * MIB])
    wait_until(lambda: stands(web, url) == (3 * MIB, "?0"))
    answer = append(web, url, 3 * MIB, CONTENT[3 * MIB :], "?1")
    assert (answer.status_code, answer.headers["upload-complete"]) == (201, "?1")
    manager = real_site.manager()
    upload_id = url.rpartition("/")[2]
    wait_until(lambda: manager.get(upload_id).is_complete)
    assert real_site.stored(manager.get(upload_id).filepath) == CONTENT


def test_progress_is_told_while_content_comes(front: Front, web: httpx.Client) -> None:
    """4.4 and 5 SHOULD: the offset; MUST NOT: Location. What is told can be relied on."""
    url = begun(web)
    headers = {**VERSION, **PARTIAL, "Upload-Complete": "?0", "Upload-Offset": "0"}
    with wire(front) as connection:
        connection.begin("PATCH", url, {**headers, "Transfer-Encoding": "chunked"})

        def is_told() -> bool:
            connection.send(b"400\r\n" + bytes(1024) + b"\r\n")
            return connection.has_message()

        wait_until(is_told)
        told = connection.message()
        assert (told.status, "location" in told.headers) == (104, False)
        assert 0 < int(told.headers["upload-offset"]) <= stands(web, url)[0]
        connection.send(b"0\r\n\r\n")
        final = connection.message()
        while final.status == 104:
            final = connection.message()
        assert final.status == 204


def test_an_append_announces_nothing(front: Front, web: httpx.Client) -> None:
    """4.4 MUST NOT: an interim answer with Location."""
    url = begun(web)
    headers = {**VERSION, **PARTIAL, "Upload-Complete": "?0", "Upload-Offset": "0"}
    with wire(front) as connection:
        connection.begin("PATCH", url, {**headers, "Content-Length": "4"})
        connection.send(b"abcd")
        assert connection.message().status == 204


def test_requests_one_after_another_keep_their_answers(front: Front) -> None:
    """Interim answers stand before the answer of their own request on a shared connection."""
    request = {**VERSION, "Upload-Complete": "?1", "Content-Length": "4"}
    with wire(front) as connection:
        for _ in range(2):
            connection.begin("POST", "/files", request)
            connection.send(b"abcd")
        # Both are there before the first is answered.
        found = [connection.message() for _ in range(4)]
        assert [message.status for message in found] == [104, 201, 104, 201]
        assert found[0].headers["location"] == found[1].headers["location"]
        assert found[2].headers["location"] == found[3].headers["location"]


def test_httpx_is_not_disturbed(web: httpx.Client) -> None:
    """It passes interim answers over, as RFC 9110 (section 15.2) has it."""
    answer = web.post("/files", headers={**VERSION, "Upload-Complete": "?1"}, content=CONTENT)
    assert (answer.status_code, answer.headers["upload-complete"]) == (201, "?1")


def test_curl_is_not_disturbed(front: Front) -> None:
    """The same, and it shows them."""
    command = ["curl", "--silent", "--include", "--data-binary", "abcd"]
    for name, value in {**VERSION, "Upload-Complete": "?1"}.items():
        command += ["--header", f"{name}: {value}"]
    done = subprocess.run(
        [*command, front.files], capture_output=True, text=True, timeout=60, check=True
    )
    statuses = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("HTTP/")]
    assert statuses == ["104", "201"]
