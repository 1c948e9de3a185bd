"""Finished objects over HTTP: a real front door, a real Redis, and objects in a folder or on S3."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import pytest
from tests.servers.finished import finished, store_of
from tests.servers.inside import served
from tests.servers.s3 import S3Server
from tests.sites import Site

from chunkferry import ChunkUpload
from chunkferry.parts import MIB
from chunkferry.tus import asgi

DATA = os.urandom(3 * MIB + 7)
SIZE = len(DATA)


@pytest.fixture
def folder_site(real_site: Site) -> Site:
    """A site whose objects are in a folder, as most begin."""
    real_site.service(f"file://{real_site.folder}/objects")
    return real_site


@pytest.fixture
def moto_site(real_site: Site, moto_s3: S3Server) -> Site:
    """A site whose objects are on an imitation of AWS."""
    real_site.service(moto_s3.url(f"downloads-{os.urandom(4).hex()}", profile="aws"))
    return real_site


@pytest.fixture(params=["folder_site", "moto_site"])
def site(request: pytest.FixtureRequest) -> Site:
    """Any site."""
    found: Site = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def web(site: Site) -> Iterator[httpx.Client]:
    """A client of the site's front door, which is in this process: its start takes no second."""
    with served(asgi.site(site.settings())) as client:
        yield client


@pytest.fixture
def upload(site: Site) -> ChunkUpload:
    """A complete one of ``DATA``."""
    return finished(site, DATA)


def url(upload: ChunkUpload) -> str:
    return f"/files/{upload.upload_id}"


def test_the_object_comes_whole(web: httpx.Client, upload: ChunkUpload) -> None:
    """With its size, its tag, and that ranges of it are to be had."""
    answer = web.get(url(upload))
    assert (answer.status_code, answer.content) == (200, DATA)
    assert str(SIZE) == answer.headers["content-length"]
    assert answer.headers["accept-ranges"] == "bytes"
    assert f'"{upload.etag}"' == answer.headers["etag"]
    assert "last-modified" in answer.headers


def test_a_range_is_exact(web: httpx.Client, upload: ChunkUpload) -> None:
    """206, with which bytes of how many."""
    edge = 2 * MIB
    for asked, start, finish in [
        ("0-0", 0, 1),
        (f"{edge - 1}-{edge}", edge - 1, edge + 1),
        ("-5", SIZE - 5, SIZE),
        (f"9-{SIZE + 99}", 9, SIZE),
    ]:
        answer = web.get(url(upload), headers={"Range": f"bytes={asked}"})
        assert (answer.status_code, answer.content) == (206, DATA[start:finish])
        assert answer.headers["content-range"] == f"bytes {start}-{finish - 1}/{SIZE}"
        assert answer.headers["content-length"] == str(finish - start)


def test_a_range_behind_the_end_is_not_to_be_had(web: httpx.Client, upload: ChunkUpload) -> None:
    """416, with the size."""
    answer = web.get(url(upload), headers={"Range": f"bytes={SIZE}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{SIZE}")


def test_several_ranges_are_answered_with_the_whole(web: httpx.Client, upload: ChunkUpload) -> None:
    """As RFC 9110, section 14.2, allows."""
    answer = web.get(url(upload), headers={"Range": "bytes=0-0,5-9"})
    assert (answer.status_code, answer.content) == (200, DATA)


def test_a_known_version_is_not_sent_again(web: httpx.Client, upload: ChunkUpload) -> None:
    """304 by its tag and by its date, without a body."""
    first = web.get(url(upload), headers={"Range": "bytes=0-0"})
    for name, value in {
        "If-None-Match": first.headers["etag"],
        "If-Modified-Since": first.headers["last-modified"],
    }.items():
        answer = web.get(url(upload), headers={name: value})
        assert (answer.status_code, answer.content) == (304, b"")
        assert first.headers["etag"] == answer.headers["etag"]


def test_a_request_about_another_version_fails(web: httpx.Client, upload: ChunkUpload) -> None:
    """412 by its tag and by its date."""
    for name, value in {
        "If-Match": '"another"',
        "If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT",
    }.items():
        answer = web.get(url(upload), headers={name: value})
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")


def test_a_download_goes_on_where_it_stopped(web: httpx.Client, upload: ChunkUpload) -> None:
    """Of the same version; of another one the whole comes."""
    etag = web.get(url(upload)).headers["etag"]
    rest = web.get(url(upload), headers={"Range": "bytes=9-", "If-Range": etag})
    assert (206, DATA[9:]) == (rest.status_code, rest.content)
    whole = web.get(url(upload), headers={"Range": "bytes=9-", "If-Range": '"another"'})
    assert (whole.status_code, whole.content) == (200, DATA)


def test_an_empty_object_comes(site: Site, web: httpx.Client) -> None:
    """Without bytes, also where some are asked for."""
    empty = finished(site, b"", filepath="empty")
    for headers in ({}, {"Range": "bytes=0-"}):
        answer = web.get(url(empty), headers=headers)
        assert (
            answer.status_code,
            answer.content,
            answer.headers["content-length"],
        ) == (200, b"", "0")


def test_an_object_that_was_replaced_is_not_served(
    site: Site, web: httpx.Client, upload: ChunkUpload
) -> None:
    """The next upload to the path may be somebody else's."""
    following = finished(site, b"other", filepath=upload.filepath)
    assert _refused(web, upload) == (410, "object_gone")
    assert web.get(url(following)).content == b"other"


def test_an_object_that_was_removed_is_gone(
    site: Site, web: httpx.Client, upload: ChunkUpload
) -> None:
    """410: nothing brings it back."""
    store_of(site).delete(upload.filepath)
    assert _refused(web, upload) == (410, "object_gone")


def _refused(web: httpx.Client, upload: ChunkUpload) -> tuple[int, str]:
    answer = web.get(url(upload))
    return answer.status_code, answer.json()["code"]
