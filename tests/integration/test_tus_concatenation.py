"""tus 1.0.0, concatenation: a test for each sentence about servers.

``docs/tus.md`` is made of these docstrings.
"""

from __future__ import annotations

import base64
import os

import httpx
import pytest
from tests.clients import rufh
from tests.servers.front import TUS, StartFront, begun, offset_of, sent
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry.state import State
from chunkferry.upload import ChunkUpload

PARTIAL = {"Upload-Concat": "partial"}
PIECES = [os.urandom(size) for size in (6_000_000, 3, 5_242_880)]
WHOLE = b"".join(PIECES)


@pytest.fixture
def real_site(real_site: Site) -> Site:
    """With a store that can join: the one that others watch cannot be read."""
    real_site.service(f"file://{real_site.folder}/objects")
    return real_site


def partials(web: httpx.Client, pieces: list[bytes]) -> list[str]:
    """Partial uploads of these bytes, all received."""
    urls = [begun(web, len(piece), **PARTIAL) for piece in pieces]
    for url, piece in zip(urls, pieces, strict=True):
        assert sent(web, url, 0, piece).status_code == httpx.codes.NO_CONTENT
    return urls


def joined(web: httpx.Client, urls: list[str], **headers: str) -> httpx.Response:
    """The answer to the request that joins uploads."""
    said = {"Upload-Concat": f"final;{' '.join(urls)}"}
    return web.post("/files", headers={**TUS, **said, **headers})


def told(web: httpx.Client, url: str) -> httpx.Headers:
    """What HEAD says."""
    return web.head(url, headers=TUS).headers


def upload_of(site: Site, url: str) -> ChunkUpload:
    """The upload behind a URL."""
    return site.manager().get(url.rpartition("/")[2])


def test_concatenation_is_announced(shared_web: httpx.Client) -> None:
    """Concatenation, MUST: Tus-Extension names it, and that partial uploads may be unfinished."""
    extensions = shared_web.options("/files").headers["tus-extension"].split(",")
    assert {"concatenation", "concatenation-unfinished"} <= {*extensions}


def test_partial_uploads_are_joined_in_their_order(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """Concatenation, MUST: in the order of the list; the length is the sum of their lengths."""
    start_worker(real_site.env)
    url = joined(web, partials(web, PIECES)).headers["location"]
    wait_until(lambda: upload_of(real_site, url).is_complete)
    assert upload_of(real_site, url).length == len(WHOLE)
    assert real_site.stored(upload_of(real_site, url).filepath) == WHOLE


def test_another_order_makes_another_file(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """Concatenation, MAY: partial uploads are used several times to form final ones."""
    start_worker(real_site.env)
    first, second = partials(web, [b"ab", b"cd"])
    one = joined(web, [first, second]).headers["location"]
    other = joined(web, [second, first, second]).headers["location"]
    wait_until(lambda: all(upload_of(real_site, url).is_complete for url in (one, other)))
    contents = [real_site.stored(upload_of(real_site, url).filepath) for url in (one, other)]
    assert contents == [b"abcd", b"cdabcd"]


def test_partial_uploads_may_be_unfinished(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """Concatenation, MAY: the request comes while they are still in progress."""
    start_worker(real_site.env)
    urls = [begun(web, len(piece), **PARTIAL) for piece in PIECES]
    final = joined(web, urls).headers["location"]
    for url, piece in zip(reversed(urls), reversed(PIECES), strict=True):
        sent(web, url, 0, piece)
    wait_until(lambda: upload_of(real_site, final).is_complete)
    assert real_site.stored(upload_of(real_site, final).filepath) == WHOLE


def test_absolute_urls_are_understood(shared_web: httpx.Client) -> None:
    """Concatenation, MUST: the list holds URLs, relative or absolute."""
    urls = [f"https://files.example.org{url}" for url in partials(shared_web, [b"ab", b"cd"])]
    assert joined(shared_web, urls).status_code == httpx.codes.CREATED


def test_a_final_upload_announces_no_length(shared_web: httpx.Client) -> None:
    """Concatenation, MUST NOT: the client sends Upload-Length with a final upload; 400."""
    answer = joined(shared_web, partials(shared_web, [b"ab"]), **{"Upload-Length": "2"})
    assert answer.status_code == httpx.codes.BAD_REQUEST


@pytest.mark.parametrize("value", ["", "final", "final;", "partial;", "whole"])
def test_other_values_are_refused(shared_web: httpx.Client, value: str) -> None:
    """Concatenation, MUST: Upload-Concat is partial, or final with a list of URLs; else 400."""
    headers = {**TUS, "Upload-Concat": value, "Upload-Length": "1"}
    assert shared_web.post("/files", headers=headers).status_code == httpx.codes.BAD_REQUEST


def test_metadata_is_not_transferred(shared_web: httpx.Client) -> None:
    """Concatenation, SHALL NOT: a final upload gets the metadata of its partial ones."""
    name = "filename " + base64.b64encode(b"part").decode()
    url = begun(shared_web, 0, **PARTIAL, **{"Upload-Metadata": name})
    final = joined(shared_web, [url]).headers["location"]
    assert "upload-metadata" not in told(shared_web, final)


def test_metadata_comes_with_the_final_upload(shared_web: httpx.Client) -> None:
    """Concatenation, SHOULD: all metadata is in the request that joins."""
    name = "filename " + base64.b64encode(b"whole").decode()
    urls = partials(shared_web, [b"ab"])
    final = joined(shared_web, urls, **{"Upload-Metadata": name}).headers["location"]
    assert told(shared_web, final)["upload-metadata"] == name


def test_a_final_upload_takes_no_patch(shared_web: httpx.Client) -> None:
    """Concatenation, MUST: 403 to PATCH requests against a final upload."""
    final = joined(shared_web, partials(shared_web, [b"ab"])).headers["location"]
    assert sent(shared_web, final, 0, b"x").status_code == httpx.codes.FORBIDDEN


def test_a_final_upload_takes_no_patch_of_the_other_protocol(shared_web: httpx.Client) -> None:
    """Concatenation, MUST NOT: a PATCH of the other protocol completes it before it is joined."""
    final = joined(shared_web, [begun(shared_web, None, **PARTIAL)]).headers["location"]
    answer = rufh.append(shared_web, final, 0, complete="?1")
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert "upload-length" not in told(shared_web, final)


def test_a_refused_patch_changes_nothing(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """Concatenation, MUST NOT: such a PATCH modifies the final upload or its partial ones."""
    urls = partials(web, [b"ab", b"cd"])
    final = joined(web, urls).headers["location"]
    sent(web, final, 0, b"x")
    assert [offset_of(web, url) for url in urls] == [2, 2]
    start_worker(real_site.env)
    wait_until(lambda: upload_of(real_site, final).is_complete)
    assert real_site.stored(upload_of(real_site, final).filepath) == b"abcd"


def test_an_unjoined_upload_tells_no_offset(shared_web: httpx.Client) -> None:
    """Concatenation, SHOULD NOT: HEAD has an Upload-Offset before all is joined."""
    urls = [begun(shared_web, 2, **PARTIAL)]
    assert "upload-offset" not in told(shared_web, joined(shared_web, urls).headers["location"])


def test_a_joined_upload_tells_its_offset(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """Concatenation, MUST: after it, Upload-Offset and Upload-Length are there, and equal."""
    start_worker(real_site.env)
    final = joined(web, partials(web, [b"ab", b"cd"])).headers["location"]
    wait_until(lambda: "upload-offset" in told(web, final))
    assert (told(web, final)["upload-offset"], told(web, final)["upload-length"]) == ("4", "4")


def test_a_partial_upload_tells_its_offset(shared_web: httpx.Client) -> None:
    """Concatenation, MUST: HEAD of a partial upload has an Upload-Offset."""
    url = begun(shared_web, 4, **PARTIAL)
    sent(shared_web, url, 0, b"ab")
    assert offset_of(shared_web, url) == 2


def test_a_length_that_is_known_is_told(shared_web: httpx.Client) -> None:
    """Concatenation, MUST: Upload-Length is there if it can be calculated."""
    urls = [begun(shared_web, size, **PARTIAL) for size in (2, 3)]
    assert told(shared_web, joined(shared_web, urls).headers["location"])["upload-length"] == "5"


def test_a_length_that_is_not_known_is_not_told(shared_web: httpx.Client) -> None:
    """Concatenation, MUST: Upload-Length is there only if it can be calculated."""
    urls = [begun(shared_web, 2, **PARTIAL), begun(shared_web, None, **PARTIAL)]
    about = told(shared_web, joined(shared_web, urls).headers["location"])
    assert not {"upload-length", "upload-defer-length"} & {*about}


def test_what_was_said_is_told_again(shared_web: httpx.Client) -> None:
    """Concatenation, MUST: HEAD has Upload-Concat with its value as received."""
    urls = partials(shared_web, [b"ab", b"cd"])
    final = joined(shared_web, urls).headers["location"]
    said = [told(shared_web, url)["upload-concat"] for url in (urls[0], final)]
    assert said == ["partial", f"final;{' '.join(urls)}"]


def test_asking_again_finds_the_same_upload(shared_web: httpx.Client) -> None:
    """Concatenation, SHOULD: a client that lost the answer does no harm by asking again."""
    urls = partials(shared_web, [b"ab", b"cd"])
    first, again = (joined(shared_web, urls).headers["location"] for _ in range(2))
    assert first == again


def test_other_metadata_make_another_upload(shared_web: httpx.Client) -> None:
    """Concatenation, MAY: partial uploads form several final ones, each with its own metadata."""
    urls = partials(shared_web, [b"ab", b"cd"])
    said = ["filename YQ==", "filename Yg=="]
    finals = [joined(shared_web, urls, **{"Upload-Metadata": each}) for each in said]
    assert [
        told(shared_web, final.headers["location"])["upload-metadata"] for final in finals
    ] == said


def test_only_partial_uploads_are_joined(shared_web: httpx.Client) -> None:
    """Concatenation, MUST: what is joined began as a partial upload; 400."""
    answer = joined(shared_web, [begun(shared_web, 2)])
    assert answer.status_code == httpx.codes.BAD_REQUEST


def test_what_is_not_there_is_not_joined(shared_web: httpx.Client) -> None:
    """Concatenation, MUST: the list names uploads; 404 if one is not there."""
    answer = joined(shared_web, ["/files/1-" + "0" * 32])
    assert answer.status_code == httpx.codes.NOT_FOUND


def test_the_uploads_of_others_are_not_joined(real_site: Site, start_front: StartFront) -> None:
    """Concatenation, MUST NOT: another principal's upload is found; 404."""
    tokens = '{"ann": "token-of-ann", "bob": "token-of-bob"}'
    with start_front({**real_site.env, "CHUNKFERRY_HTTP_TOKENS": tokens}).client() as web:
        web.headers["Authorization"] = "Bearer token-of-ann"
        urls = [begun(web, 0, **PARTIAL)]
        web.headers["Authorization"] = "Bearer token-of-bob"
        assert joined(web, urls).status_code == httpx.codes.NOT_FOUND


def test_too_much_together_is_refused(real_site: Site, start_front: StartFront) -> None:
    """Concatenation, MUST: the limit holds for the final upload too; 413."""
    with start_front({**real_site.env, "CHUNKFERRY_HTTP_MAX_SIZE": "5"}).client() as web:
        urls = [begun(web, 3, **PARTIAL), begun(web, 3, **PARTIAL)]
        assert joined(web, urls).status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE


def test_too_much_that_comes_later_is_not_joined(
    real_site: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """Concatenation, MUST: the limit holds for lengths that are told after the upload began."""
    with start_front({**real_site.env, "CHUNKFERRY_HTTP_MAX_SIZE": "4"}).client() as web:
        urls = [begun(web, None, **PARTIAL), begun(web, 2, **PARTIAL)]
        final = joined(web, urls).headers["location"]
        start_worker(real_site.env)
        sent(web, urls[0], 0, b"abc", **{"Upload-Length": "3"})
        sent(web, urls[1], 0, b"de")
        wait_until(lambda: upload_of(real_site, final).state is State.FAILED)
        assert "it may have 4" in upload_of(real_site, final).error


def test_stored_acknowledgements_wait_for_the_joined_object(
    real_site: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """Concatenation, SHOULD: where an answer means stored, the object is there with it."""
    start_worker(real_site.env)
    with start_front({**real_site.env, "CHUNKFERRY_HTTP_ACK": "stored"}).client() as web:
        answer = joined(web, partials(web, [b"ab", b"cd"]))
        assert answer.status_code == httpx.codes.CREATED
        assert upload_of(real_site, answer.headers["location"]).is_complete


def test_stored_acknowledgements_wait_for_no_client(
    real_site: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """Concatenation, MAY: uploads in progress are joined, also where an answer means stored."""
    start_worker(real_site.env)
    ack = {"CHUNKFERRY_HTTP_ACK": "stored", "CHUNKFERRY_HTTP_ACK_WAIT_SECONDS": "5"}
    with start_front({**real_site.env, **ack}).client() as web:
        urls = [*partials(web, [b"ab"]), begun(web, 2, **PARTIAL)]
        answer = joined(web, urls)
        assert answer.status_code == httpx.codes.CREATED
        assert "upload-offset" not in told(web, answer.headers["location"])
        sent(web, urls[1], 0, b"cd")
        wait_until(lambda: upload_of(real_site, answer.headers["location"]).is_complete)
