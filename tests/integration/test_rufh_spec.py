"""Each MUST and SHOULD that Resumable Uploads for HTTP has for servers, on the real one.

Sections are those of draft-ietf-httpbis-resumable-upload-12. What is told while a request is being
answered (104, section 5) is in ``test_rufh_interim``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import pytest
from tests.clients.rufh import (
    PARTIAL,
    VERSION,
    append,
    begun,
    create,
    limits,
    problem,
    stands,
    wire,
)
from tests.servers.front import TUS, Front, StartFront
from tests.servers.redis import RedisServer
from tests.servers.workers import StartWorker
from tests.sites import Site, site_in
from tests.waiting import wait_until

from chunkferry.parts import MAX_LENGTH, MIB
from chunkferry.state import State
from chunkferry.upload import ChunkUpload

CONTENT = os.urandom(3 * MIB + 1)


@pytest.fixture(scope="module")
def real_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all: no test here cares for another's uploads."""
    folder = tmp_path_factory.mktemp("site")
    server = RedisServer(folder / "redis")
    with closing(server):
        server.start()
        yield site_in(folder, server.url)


@pytest.fixture(scope="module")
def front(real_site: Site) -> Iterator[Front]:
    """Its front door."""
    with closing(Front(real_site.env, real_site.folder / "front.log")) as started:
        started.start()
        yield started


def upload(site: Site, url: str) -> ChunkUpload:
    """The upload, as the ledger has it."""
    return site.manager().get(url.rpartition("/")[2])


def stored(site: Site, url: str) -> bytes:
    """Its object, once it is there."""
    wait_until(lambda: upload(site, url).is_complete)
    return site.stored(upload(site, url).filepath)


def in_lumps(content: bytes) -> Iterator[bytes]:
    """Content whose length is not announced."""
    yield from (content[at : at + MIB] for at in range(0, len(content), MIB))


# --- 4 the upload resource ---------------------------------------------------------------------


def test_each_upload_has_a_uri_of_its_own(web: httpx.Client) -> None:
    """4 SHOULD; and 12 RECOMMENDED: nobody guesses it (128 random bits)."""
    found = {begun(web) for _ in range(3)}
    assert len(found) == 3
    assert all(re.fullmatch(r"/files/\d+-[\w-]{21,}", url) for url in found), found


def test_an_upload_can_be_asked_for_after_its_end(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """4 SHOULD: a client that missed the last answer gets it again; also 4.4."""
    start_worker(real_site.env)
    url = begun(web, CONTENT, "?1")
    assert stored(real_site, url) == CONTENT
    assert stands(web, url) == (len(CONTENT), "?1")
    again = append(web, url, len(CONTENT), complete="?1")
    assert (again.status_code, again.headers["upload-complete"]) == (201, "?1")


# --- 4.1 state ---------------------------------------------------------------------------------


def test_the_offset_never_decreases(web: httpx.Client) -> None:
    """4.1.1 MUST: whatever is asked."""
    url = begun(web, b"abcd")
    append(web, url, 0, b"abcd")
    append(web, url, 2, b"")
    append(web, url, 4, b"ef", Content_Digest=f"sha-256=:{'A' * 43}=:")
    assert stands(web, url)[0] == 4


@pytest.mark.parametrize("text", ["-1", "four", "4.0", '"4"', "?1"])
def test_another_offset_is_ignored(web: httpx.Client, text: str) -> None:
    """4.1.1 MUST: and without one nothing can be appended."""
    url = begun(web, b"abcd")
    answer = append(web, url, 4, b"ef", **{"Upload-Offset": text})
    assert (answer.status_code, stands(web, url)[0]) == (400, 4)


@pytest.mark.parametrize("text", ["1", "true", "?2", "?1, ?1"])
def test_another_completeness_is_ignored(web: httpx.Client, text: str) -> None:
    """4.1.2 MUST: an append then completes nothing."""
    url = begun(web)
    assert append(web, url, 0, b"abcd", text).status_code == httpx.codes.NO_CONTENT
    assert stands(web, url) == (4, "?0")


@pytest.mark.parametrize("text", ["-4", "four", "4.0", "?1"])
def test_another_length_is_ignored(web: httpx.Client, text: str) -> None:
    """4.1.3 MUST."""
    url = begun(web, b"abcd", Upload_Length=text)
    assert "upload-length" not in web.head(url, headers=VERSION).headers


def test_a_request_that_completes_the_upload_completes_it(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """4.1.2: not before, however much has come; then also by a request without content."""
    start_worker(real_site.env)
    url = begun(web, CONTENT)
    assert stands(web, url) == (len(CONTENT), "?0")
    assert append(web, url, len(CONTENT), complete="?1").status_code == httpx.codes.CREATED
    assert stands(web, url) == (len(CONTENT), "?1")
    assert stored(real_site, url) == CONTENT


@pytest.mark.parametrize("length", ["3", "5"])
def test_both_lengths_of_a_request_must_match(web: httpx.Client, length: str) -> None:
    """4.1.3 MUST; 7.2."""
    answer = create(web, b"abcd", "?1", Upload_Length=length)
    assert (answer.status_code, problem(answer)) == (400, "inconsistent-upload-length")


@pytest.mark.parametrize("complete", ["?0", "?1"])
def test_the_lengths_of_all_requests_must_match(web: httpx.Client, complete: str) -> None:
    """4.1.3 MUST: of one that says another one, nothing is taken."""
    url = begun(web, b"ab", Upload_Length="10")
    answer = append(web, url, 2, b"cd", complete, Upload_Length="4")
    assert (answer.status_code, problem(answer)) == (400, "inconsistent-upload-length")
    assert stands(web, url)[0] == 2


def test_content_of_unknown_length_that_ends_too_early_completes_nothing(
    web: httpx.Client,
) -> None:
    """4.1.3 MUST: the same, where only its end tells."""
    url = begun(web, Upload_Length="10")
    answer = append(web, url, 0, iter([b"abcd"]), "?1")
    assert (answer.status_code, problem(answer)) == (400, "inconsistent-upload-length")
    assert stands(web, url) == (4, "?0")


def test_options_tells_the_limits(web: httpx.Client) -> None:
    """4.1.4 MUST: on the resource that creates uploads; Accept-Patch until -11."""
    answer = web.options("/files")
    assert answer.status_code == httpx.codes.NO_CONTENT
    assert limits(answer).keys() == {"max-size", "max-age"}
    assert answer.headers["accept-patch"] == PARTIAL["Content-Type"]
    assert answer.headers["tus-version"] == TUS["Tus-Resumable"]


def test_limits_do_not_get_stricter(real_site: Site, start_front: StartFront) -> None:
    """4.1.4 SHOULD NOT: neither than OPTIONS told, nor while an upload goes on."""
    with start_front({**real_site.env, "CHUNKFERRY_HTTP_MAX_SIZE": "1000"}).client() as web:
        before = limits(web.options("/files"))
        url = begun(web)
        end = upload(real_site, url).expiry
        append(web, url, 0, b"abcd")
        later = limits(web.head(url, headers=VERSION))
        assert (before["max-size"], later["max-size"]) == (1000, 1000)
        # Seconds pass, and with them those that are left.
        assert upload(real_site, url).expiry >= end
        assert 0 < later["max-age"] <= before["max-age"]


def test_who_breaks_a_limit_is_told_it(real_site: Site, start_front: StartFront) -> None:
    """4.1.4 MUST: 413 with Upload-Limit, as soon as that is clear."""
    with start_front({**real_site.env, "CHUNKFERRY_HTTP_MAX_SIZE": "4"}).client() as web:
        answers = [
            create(web, b"abcde", "?1"),
            create(web, b"", Upload_Length="5"),
            create(web, b"abcde"),
            create(web, iter([b"abc", b"de"])),
            append(web, begun(web), 0, b"abcde"),
            append(web, begun(web), 0, iter([b"abc", b"de"])),
            append(web, begun(web), 0, b"", Upload_Length="5"),
        ]
        found = [(answer.status_code, limits(answer)["max-size"]) for answer in answers]
        assert found == [(413, 4)] * len(answers)


def test_no_file_is_larger_than_any_may_be(web: httpx.Client) -> None:
    """4.1.4 MUST: the same where nothing but what stores can take is the limit."""
    beyond = str(MAX_LENGTH + 1)
    answers = [
        create(web, Upload_Length=beyond),
        append(web, begun(web), 0, b"", Upload_Length=beyond),
    ]
    found = [(answer.status_code, limits(answer)["max-size"]) for answer in answers]
    assert found == [(413, MAX_LENGTH)] * 2


# --- 4.2 creation ------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"abcd"])
def test_a_creation_tells_where_to_go_on(web: httpx.Client, content: bytes) -> None:
    """4.2 MUST: Location and Upload-Limit; SHOULD: Upload-Complete; RECOMMENDED: 201."""
    answer = create(web, content)
    assert (answer.status_code, answer.headers["upload-complete"]) == (201, "?0")
    assert limits(answer).keys() == {"max-size", "max-age"}
    assert stands(web, answer.headers["location"]) == (len(content), "?0")


def test_a_file_in_one_request_is_stored(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """4.2: and no resumption is needed."""
    start_worker(real_site.env)
    answer = create(web, in_lumps(CONTENT), "?1")
    assert (answer.status_code, answer.headers["upload-complete"]) == (201, "?1")
    assert stored(real_site, answer.headers["location"]) == CONTENT


def test_an_empty_file_is_a_file(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """4.2: no content that ends the file."""
    start_worker(real_site.env)
    assert stored(real_site, begun(web, complete="?1")) == b""


def test_the_length_is_written_down_at_once(front: Front, web: httpx.Client) -> None:
    """4.2 and 4.4 MUST: of a creation and of an append, even if its content never comes."""
    assert web.head(begun(web, Upload_Length="9"), headers=VERSION).headers["upload-length"] == "9"
    url = begun(web)
    said = {**VERSION, **PARTIAL, "Upload-Complete": "?1", "Upload-Offset": "0"}
    with wire(front) as connection:
        connection.begin("PATCH", url, {**said, "Content-Length": "7"})
        connection.send(b"abc")
        wait_until(lambda: stands(web, url)[0] == 3)
    assert web.head(url, headers=VERSION).headers["upload-length"] == "7"


def test_a_file_keeps_its_type_and_name(real_site: Site, web: httpx.Client) -> None:
    """4.2: Content-Type and Content-Disposition; 12 MUST: a name is no path."""
    disposition = "inline; filename=\"x\"; filename*=UTF-8''..%2F%C3%A4.jpg"
    url = begun(web, b"abcd", Content_Type="image/jpeg", Content_Disposition=disposition)
    found = upload(real_site, url)
    assert (found.content_type, found.metadata) == ("image/jpeg", {"filename": "../ä.jpg"})
    assert ".." not in found.filepath


def test_coded_content_is_stored_as_it_came(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """8: Content-Encoding is a property of the file; nothing is decoded."""
    start_worker(real_site.env)
    url = begun(web, b"not gzip at all", "?1", Content_Encoding="gzip")
    assert stored(real_site, url) == b"not gzip at all"


# --- 4.3 offset --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_upload_tells_how_it_stands(web: httpx.Client, method: str) -> None:
    """4.3 MUST: offset, completeness, length and limits; SHOULD: nobody keeps the answer.

    A GET request may be one of a browser, which wants the object: it has to name the version.
    """
    url = begun(web, b"abcd", Upload_Length="9")
    answer = web.request(method, url, headers=VERSION)
    assert answer.status_code == httpx.codes.NO_CONTENT
    names = ("upload-offset", "upload-complete", "upload-length", "cache-control")
    assert [answer.headers[name] for name in names] == ["4", "?0", "9", "no-store"]
    assert limits(answer).keys() == {"max-size", "max-age"}


def test_a_length_that_nobody_told_is_not_told(web: httpx.Client) -> None:
    """4.3 MUST: unless the client has not supplied one."""
    assert "upload-length" not in web.head(begun(web, b"abcd"), headers=VERSION).headers


# --- 4.4 append --------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 3, 5])
def test_a_wrong_offset_is_told_the_right_one(web: httpx.Client, offset: int) -> None:
    """4.4 MUST: 409 with Upload-Offset and Upload-Complete: ?0; 7.1 SHOULD: both offsets."""
    answer = append(web, begun(web, b"abcd"), offset, b"ef")
    found = (answer.headers["upload-offset"], answer.headers["upload-complete"])
    assert (answer.status_code, found) == (409, ("4", "?0"))
    assert problem(answer) == "mismatching-upload-offset"
    told = answer.json()
    assert (told["expected-offset"], told["provided-offset"]) == (4, offset)


def test_content_of_another_type_is_refused(web: httpx.Client) -> None:
    """4.4 and 6: a PATCH is ``application/partial-upload``; RFC 5789: Accept-Patch says so."""
    answer = append(web, begun(web), 0, b"abcd", **{"Content-Type": "image/jpeg"})
    assert (answer.status_code, answer.headers["accept-patch"]) == (415, PARTIAL["Content-Type"])


def test_the_last_append_is_answered_as_a_creation(web: httpx.Client) -> None:
    """4.4 SHOULD: as if all had come in one request; MUST: with Upload-Complete: ?1."""
    whole = create(web, b"abcd", "?1")
    url = begun(web, b"ab")
    last = append(web, url, 2, b"cd", "?1")
    assert last.status_code == whole.status_code
    assert last.headers["upload-complete"] == whole.headers["upload-complete"] == "?1"
    assert last.headers["location"] == url


def test_an_append_that_is_not_the_last_is_acknowledged(web: httpx.Client) -> None:
    """4.4: 2xx with Upload-Complete: ?0."""
    answer = append(web, begun(web), 0, b"abcd")
    assert (answer.status_code, answer.headers["upload-complete"]) == (204, "?0")


def test_an_append_that_breaks_is_resumed(front: Front, web: httpx.Client) -> None:
    """4.4 SHOULD: what came is kept, from its beginning; MUST NOT: be complete."""
    url = begun(web)
    said = {**VERSION, **PARTIAL, "Upload-Complete": "?1", "Upload-Offset": "0"}
    with wire(front) as connection:
        connection.begin("PATCH", url, {**said, "Content-Length": str(len(CONTENT))})
        connection.send(CONTENT[: 2 * MIB])
    wait_until(lambda: stands(web, url) == (2 * MIB, "?0"))
    assert append(web, url, 2 * MIB, CONTENT[2 * MIB :], "?1").status_code == httpx.codes.CREATED


@pytest.mark.parametrize("content", [b"ef", [b"ef"]])
def test_a_complete_upload_is_not_changed(
    real_site: Site, web: httpx.Client, start_worker: StartWorker, content: bytes | list[bytes]
) -> None:
    """4.4: more content is refused, announced or not; the object stays."""
    url = begun(web, b"abcd", "?1")
    answer = append(web, url, 4, content, "?1")
    assert (answer.status_code, problem(answer)) == (400, "inconsistent-upload-length")
    start_worker(real_site.env)
    assert stored(real_site, url) == b"abcd"


def test_content_beyond_the_length_ends_the_upload(real_site: Site, web: httpx.Client) -> None:
    """4.4 MUST: refused, the upload is invalid, and whatever is asked of it then, too."""
    url = begun(web, Upload_Length="10")
    answer = append(web, url, 0, iter([b"01234", b"56789", b"x"]))
    assert (answer.status_code, problem(answer)) == (400, "inconsistent-upload-length")
    assert web.head(url, headers=VERSION).status_code == httpx.codes.GONE
    assert append(web, url, 10, b"").status_code == httpx.codes.GONE
    assert upload(real_site, url).received <= 10


def test_content_that_is_announced_beyond_the_length_is_not_read(web: httpx.Client) -> None:
    """4.4 MUST: the offset stays below; as no byte has come, the upload can go on."""
    url = begun(web, Upload_Length="10")
    answer = append(web, url, 0, b"0123456789x")
    assert (answer.status_code, problem(answer)) == (400, "inconsistent-upload-length")
    assert append(web, url, 0, b"0123456789", "?1").status_code == httpx.codes.CREATED


# --- 4.5 cancellation --------------------------------------------------------------------------


def test_a_cancelled_upload_is_deactivated(web: httpx.Client) -> None:
    """4.5 SHOULD."""
    url = begun(web, b"abcd")
    assert web.delete(url, headers=VERSION).status_code == httpx.codes.NO_CONTENT
    found = [
        web.head(url, headers=VERSION),
        append(web, url, 4, b"ef"),
        web.get(url, headers=VERSION),
    ]
    assert [answer.status_code for answer in found] == [410, 410, 410]


def test_a_cancelled_upload_takes_no_more_of_a_request(front: Front, web: httpx.Client) -> None:
    """4.5 SHOULD: one that is being sent ends with its next bytes; 4.6 MUST: none is kept."""
    url = begun(web)
    said = {**VERSION, **PARTIAL, "Upload-Complete": "?0", "Upload-Offset": "0"}
    with wire(front) as connection:
        connection.begin("PATCH", url, {**said, "Content-Length": str(len(CONTENT))})
        connection.send(CONTENT[:MIB])
        wait_until(lambda: stands(web, url)[0] == MIB)
        assert web.delete(url, headers=VERSION).status_code == httpx.codes.NO_CONTENT
        connection.send(CONTENT[MIB : 2 * MIB])
        message = connection.message()
        while message.status == 104:
            message = connection.message()
        assert message.status == 410


# --- 4.6 concurrency ---------------------------------------------------------------------------


def test_appends_at_the_same_time_do_not_mix(
    real_site: Site, front: Front, web: httpx.Client, start_worker: StartWorker
) -> None:
    """4.6 MUST: one is taken in whole, the others are refused."""
    start_worker(real_site.env)
    url = begun(web, Upload_Length=str(3 * MIB))
    contents = [bytes([number]) * (3 * MIB) for number in range(4)]

    def send(content: bytes) -> int:
        with front.client() as client:
            return append(client, url, 0, in_lumps(content)).status_code

    with ThreadPoolExecutor(len(contents)) as pool:
        found = list(pool.map(send, contents))
    assert sorted(found) == [204, 409, 409, 409]
    assert stored(real_site, url) == contents[found.index(204)]


def test_an_offset_that_was_told_is_accepted(front: Front, web: httpx.Client) -> None:
    """4.6 MUST: also while the request before hangs; RECOMMENDED: that one ends then."""
    url = begun(web)
    said = {**VERSION, **PARTIAL, "Upload-Complete": "?0", "Upload-Offset": "0"}
    with wire(front) as connection:
        connection.begin("PATCH", url, {**said, "Content-Length": str(len(CONTENT))})
        connection.send(CONTENT[:MIB])
        wait_until(lambda: stands(web, url)[0] == MIB)
        assert append(web, url, MIB, CONTENT[MIB:]).status_code == httpx.codes.NO_CONTENT
        connection.send(bytes(MIB))
        message = connection.message()
        while message.status == 104:
            message = connection.message()
        assert (message.status, stands(web, url)[0]) == (409, len(CONTENT))


# --- other versions ----------------------------------------------------------------------------


def test_the_oldest_version_is_spoken(web: httpx.Client) -> None:
    """-01, as iOS 17 has it: Upload-Incomplete, and no media type."""
    ios = {"Upload-Draft-Interop-Version": "3"}
    begun_ = web.post("/files", headers={**ios, "Upload-Incomplete": "?1"}, content=b"ab")
    url = begun_.headers["location"]
    assert (begun_.status_code, begun_.headers["upload-incomplete"]) == (201, "?1")
    said = {**ios, "Upload-Incomplete": "?0", "Upload-Offset": "2"}
    last = web.patch(url, headers=said, content=b"cd")
    assert (last.headers["upload-offset"], last.headers["upload-incomplete"]) == ("4", "?0")
    told = web.head(url, headers=ios).headers
    assert (told["upload-incomplete"], "upload-complete" in told) == ("?0", False)


def test_a_finished_rfc_names_no_version(web: httpx.Client) -> None:
    """Appendix: whoever names none is answered as in the newest one."""
    url = web.post("/files", headers={"Upload-Complete": "?0"}, content=b"ab").headers["location"]
    said = {**PARTIAL, "Upload-Complete": "?1", "Upload-Offset": "2"}
    assert web.patch(url, headers=said, content=b"cd").headers["upload-complete"] == "?1"
    assert web.head(url).headers["upload-complete"] == "?1"


def test_an_upload_has_no_protocol(web: httpx.Client) -> None:
    """What began by tus goes on by the draft, and the other way round."""
    url = web.post("/files", headers={**TUS, "Upload-Length": "4"}).headers["location"]
    assert append(web, url, 0, b"ab").status_code == httpx.codes.NO_CONTENT
    assert web.head(url, headers=TUS).headers["upload-offset"] == "2"
    octets = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "2"}
    assert web.patch(url, headers=octets, content=b"cd").status_code == httpx.codes.NO_CONTENT
    assert stands(web, url) == (4, "?1")


def test_a_request_of_no_protocol_is_told_both(web: httpx.Client) -> None:
    """412 with the version of tus, and a sentence that names the draft's field."""
    answer = web.post("/files", content=b"abcd")
    assert (answer.status_code, answer.headers["tus-version"]) == (412, TUS["Tus-Resumable"])
    assert "Upload-Complete" in answer.json()["detail"]


# --- digests (RFC 9530) ------------------------------------------------------------------------

ABCD = "sha-256=:iNQmb9TmM40TuEX88olXnSCciXgjuSF9o+Fhk28DFYk=:"
OTHER = f"sha-256=:{'A' * 43}=:"


@pytest.mark.parametrize("name", ["Content-Digest", "Repr-Digest"])
def test_a_digest_that_holds_lets_content_in(web: httpx.Client, name: str) -> None:
    """RFC 9530, sections 2 and 3."""
    assert create(web, b"abcd", "?1", **{name: ABCD}).status_code == httpx.codes.CREATED


def test_a_digest_that_does_not_hold_keeps_content_out(web: httpx.Client) -> None:
    """The whole content of the request, which can be sent again."""
    url = begun(web, b"ab")
    answer = append(web, url, 2, b"cd", Content_Digest=OTHER)
    assert (answer.status_code, problem(answer)) == (400, "digest-mismatching-values")
    assert stands(web, url)[0] == 2


def test_a_digest_that_nobody_can_check_is_refused(web: httpx.Client) -> None:
    """And what could be checked is told."""
    answer = create(web, b"abcd", "?1", Content_Digest="unixsum=:AAAA:")
    assert (answer.status_code, problem(answer)) == (400, "digest-unsupported-algorithms")
    assert "sha-256=10" in answer.headers["want-content-digest"]


# --- 12 security -------------------------------------------------------------------------------


def test_uploads_are_for_those_who_may(real_site: Site, start_front: StartFront) -> None:
    """12 SHOULD: authorised clients only; another's upload is not even there."""
    env = {**real_site.env, "CHUNKFERRY_HTTP_TOKENS": '{"ann": "a-secret", "bob": "b-secret"}'}
    ann, bob = ({"Authorization": f"Bearer {name}-secret"} for name in "ab")
    with start_front(env).client() as web:
        assert create(web).status_code == httpx.codes.UNAUTHORIZED
        url = begun(web, b"abcd", **ann)
        found = [
            web.head(url, headers={**VERSION, **bob}),
            append(web, url, 4, b"ef", **bob),
            web.delete(url, headers={**VERSION, **bob}),
        ]
        assert [answer.status_code for answer in found] == [404, 404, 404]
        assert append(web, url, 4, b"ef", **ann).status_code == httpx.codes.NO_CONTENT


# --- acknowledgements --------------------------------------------------------------------------


@pytest.mark.parametrize("content", [CONTENT, b""])
def test_a_stored_acknowledgement_waits_for_the_object(
    real_site: Site, start_front: StartFront, start_worker: StartWorker, content: bytes
) -> None:
    """Where the settings say so; a client that got no answer asks again, and gets one."""
    env = {"CHUNKFERRY_HTTP_ACK": "stored", "CHUNKFERRY_HTTP_ACK_WAIT_SECONDS": "0.5"}
    with start_front({**real_site.env, **env}).client() as web:
        answer = create(web, content, "?1")
        found = (answer.status_code, answer.headers["upload-complete"])
        assert found == (503, "?0")
        url = answer.headers["location"]
        start_worker(real_site.env)
        wait_until(lambda: upload(real_site, url).state is State.COMPLETE)
        assert stands(web, url) == (len(content), "?1")
        again = append(web, url, len(content), complete="?1")
        assert (again.status_code, again.headers["upload-complete"]) == (201, "?1")


def test_a_stored_acknowledgement_is_given_to_an_empty_end(
    real_site: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """tus-js-client ends a stream by an empty PATCH, when all bytes have come before."""
    env = {"CHUNKFERRY_HTTP_ACK": "stored"}
    with start_front({**real_site.env, **env}).client() as web:
        start_worker(real_site.env)
        url = begun(web, b"abcd")
        answer = append(web, url, 4, complete="?1")
        assert (answer.status_code, answer.headers["upload-complete"]) == (201, "?1")
        assert upload(real_site, url).state is State.COMPLETE


def test_an_error_is_counted_by_its_code(real_site: Site, start_front: StartFront) -> None:
    """As those of tus are."""
    env = {"CHUNKFERRY_HTTP_ACK": "stored", "CHUNKFERRY_HTTP_ACK_WAIT_SECONDS": "0.1"}
    with start_front({**real_site.env, **env}).client() as web:
        assert create(web, b"abcd", "?1").status_code == httpx.codes.SERVICE_UNAVAILABLE
        wait_until(lambda: 'code="still_storing"' in web.get("/metrics").text)
