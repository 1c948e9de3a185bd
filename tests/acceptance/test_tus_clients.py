"""tus-js-client and tuspy send files through two replicas, and what they sent is stored."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.acceptance.replicas import Replicas, replicas
from tests.clients.either import NAMES, Sender
from tests.clients.tusjs import StartTusJs, TusJs
from tests.clients.tuspy import StartTuspy
from tests.servers.front import TUS, fronts
from tests.servers.redis import RedisServer
from tests.servers.workers import workers
from tests.sites import site_in

from chunkferry.parts import MIB

CHUNK = 5 * MIB
CONTENT = os.urandom(4 * CHUNK + 12_345)
METADATA = {"filename": "Füße & 日本語.bin", "relativePath": "null"}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """The front door, with a worker behind it. Nothing here breaks it: one does for all tests."""
    folder = tmp_path_factory.mktemp("door")
    with (
        contextlib.closing(RedisServer(folder / "redis")) as redis,
        fronts(folder) as start_front,
        workers(folder) as start_worker,
    ):
        redis.start()
        site = site_in(folder, redis.url)
        # Without the witness, who cannot join uploads.
        site.service(f"file://{folder}/objects")
        start_worker(site.env)
        with replicas(site, start_front, folder) as found:
            yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with ``CONTENT``."""
    return written(tmp_path, CONTENT)


def written(folder: Path, content: bytes) -> Path:
    """A file to send."""
    path = folder / "file.bin"
    path.write_bytes(content)
    return path


@pytest.fixture(params=NAMES)
def send(
    request: pytest.FixtureRequest,
    start_tusjs: StartTusJs,
    start_tuspy: StartTuspy,
    door: Replicas,
) -> Sender:
    """Each client, sending to the proxy."""
    return Sender(request.param, start_tusjs, start_tuspy, door.endpoint)


def test_a_whole_file_in_one_request(door: Replicas, send: Sender, file: Path) -> None:
    """One POST and one PATCH."""
    found = send(file).outcome()
    assert (found.error, len(door.served("PATCH", found.upload_id))) == (None, 1)
    assert door.stored(found.upload_id) == CONTENT


def test_a_file_in_chunks(door: Replicas, send: Sender, file: Path) -> None:
    """Each replica takes in some of them."""
    found = send(file, CHUNK).outcome()
    assert (found.error, len(door.served("PATCH", found.upload_id))) == (None, 5)
    assert door.servers("PATCH", found.upload_id) == {front.address for front in door.fronts}
    assert door.stored(found.upload_id) == CONTENT


@pytest.mark.parametrize("size", [0, 1, CHUNK])
def test_sizes_at_the_edges(door: Replicas, send: Sender, tmp_path: Path, size: int) -> None:
    """Nothing, one byte, exactly one chunk."""
    found = send(written(tmp_path, CONTENT[:size]), CHUNK).outcome()
    assert (found.error, len(door.served("PATCH", found.upload_id))) == (None, min(1, size))
    assert door.stored(found.upload_id) == CONTENT[:size]


def test_metadata_comes_back_as_it_was_sent(send: Sender, tmp_path: Path) -> None:
    """Byte by byte, and so does its order."""
    found = send(written(tmp_path, b"abc"), metadata=METADATA).outcome()
    answer = httpx.head(str(found.url), headers=TUS)
    assert answer.headers["upload-metadata"] == (
        "filename RsO8w59lICYg5pel5pys6KqeLmJpbg==,relativePath bnVsbA=="
    )


def test_a_stream_of_unknown_length(door: Replicas, tusjs: TusJs, file: Path) -> None:
    """Its length comes with its last chunk."""
    found = tusjs(file, endpoint=door.endpoint, stream=True, chunkSize=CHUNK)
    assert (found.error, door.stored(found.upload_id)) == (None, CONTENT)


def test_parallel_uploads_are_joined(door: Replicas, tusjs: TusJs, file: Path) -> None:
    """Four partial uploads, and one final one; the client tells it the metadata."""
    found = tusjs(file, endpoint=door.endpoint, parallelUploads=4, metadata=METADATA)
    assert (found.error, found.sent.count("POST 201")) == (None, 5)
    assert door.stored(found.upload_id) == CONTENT
    assert door.upload(found.upload_id).metadata == METADATA


def test_bytes_come_along_with_the_creation(door: Replicas, tusjs: TusJs, file: Path) -> None:
    """And the rest after it."""
    found = tusjs(file, endpoint=door.endpoint, chunkSize=2 * CHUNK, uploadDataDuringCreation=True)
    assert found.sent == ["POST 201", "PATCH 204", "PATCH 204"]
    assert door.stored(found.upload_id) == CONTENT


def test_a_client_that_must_not_patch(door: Replicas, tusjs: TusJs, file: Path) -> None:
    """It says POST and means PATCH, as some firewalls want it."""
    found = tusjs(file, endpoint=door.endpoint, overridePatchMethod=True)
    assert [entry.status for entry in door.served("POST", found.upload_id)] == [204]
    assert door.stored(found.upload_id) == CONTENT


@pytest.mark.parametrize("asynchronous", [False, True])
def test_tuspy_sends_checksums(
    door: Replicas, start_tuspy: StartTuspy, file: Path, asynchronous: bool
) -> None:
    """Of each chunk; with both of its halves."""
    found = start_tuspy(
        file,
        endpoint=door.endpoint,
        asynchronous=asynchronous,
        chunk_size=CHUNK,
        upload_checksum=True,
    ).outcome()
    assert (found.error, door.stored(found.upload_id)) == (None, CONTENT)


@pytest.mark.parametrize("pause_at", [CHUNK, 0])
def test_a_client_removes_its_upload(
    door: Replicas, tusjs: TusJs, file: Path, pause_at: int
) -> None:
    """In the middle, or once it is complete; it is gone then."""
    found = tusjs(file, endpoint=door.endpoint, pause_at=pause_at, terminate=True, chunkSize=CHUNK)
    assert (found.error, found.sent[-1]) == (None, "DELETE 204")
    gone = httpx.head(str(found.url), headers=TUS).status_code
    assert gone in {httpx.codes.NOT_FOUND, httpx.codes.GONE}
