"""tus-js-client and tuspy send files through two replicas, and what they sent is stored."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.replicas import Replicas, replicas
from tests.clients.process import Client
from tests.clients.tusjs import StartTusJs, TusJs
from tests.clients.tuspy import StartTuspy
from tests.servers.front import TUS, StartFront
from tests.servers.stores import RealStore
from tests.servers.workers import StartWorker
from tests.sites import Site

from chunkferry.parts import MIB

CHUNK = 5 * MIB
CONTENT = os.urandom(4 * CHUNK + 12_345)
METADATA = {"filename": "Füße & 日本語.bin", "relativePath": "null"}

site = pytest.fixture(lambda real_site: real_site)


@pytest.fixture
def door(site: Site, start_front: StartFront, tmp_path: Path) -> Iterator[Replicas]:
    """The front door, without a worker."""
    with replicas(site, start_front, tmp_path) as found:
        yield found


@pytest.fixture
def working(door: Replicas, start_worker: StartWorker) -> Replicas:
    """The front door, with a worker behind it."""
    start_worker(door.site.env)
    return door


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with ``CONTENT``."""
    return written(tmp_path, CONTENT)


def written(folder: Path, content: bytes) -> Path:
    """A file to send."""
    path = folder / "file.bin"
    path.write_bytes(content)
    return path


class Sender:
    """Either client, asked for what both can do."""

    def __init__(
        self, name: str, start_tusjs: StartTusJs, start_tuspy: StartTuspy, endpoint: str
    ) -> None:
        self._tusjs = start_tusjs if name == "tus-js-client" else None
        self._tuspy = start_tuspy
        self._endpoint = endpoint

    def __call__(self, file: Path, chunk: int | None = None, **asked: Any) -> Client:
        """Begin to send ``file``."""
        if self._tusjs is None:
            asked |= {} if chunk is None else {"chunk_size": chunk}
            return self._tuspy(file, endpoint=self._endpoint, **asked)
        asked |= {} if chunk is None else {"chunkSize": chunk}
        return self._tusjs(file, endpoint=self._endpoint, **asked)


@pytest.fixture(params=["tus-js-client", "tuspy"])
def send(
    request: pytest.FixtureRequest,
    start_tusjs: StartTusJs,
    start_tuspy: StartTuspy,
    door: Replicas,
) -> Sender:
    """Each client, sending to the proxy."""
    return Sender(request.param, start_tusjs, start_tuspy, door.endpoint)


def test_a_whole_file_in_one_request(working: Replicas, send: Sender, file: Path) -> None:
    """One POST and one PATCH."""
    found = send(file).outcome()
    assert (found.error, len(working.served("PATCH"))) == (None, 1)
    assert working.stored(found.upload_id) == CONTENT


def test_a_file_in_chunks(working: Replicas, send: Sender, file: Path) -> None:
    """Each replica takes in some of them."""
    found = send(file, CHUNK).outcome()
    assert (found.error, len(working.served("PATCH"))) == (None, 5)
    assert working.servers("PATCH", found.upload_id) == {front.address for front in working.fronts}
    assert working.stored(found.upload_id) == CONTENT


@pytest.mark.parametrize("size", [0, 1, CHUNK])
def test_sizes_at_the_edges(working: Replicas, send: Sender, tmp_path: Path, size: int) -> None:
    """Nothing, one byte, exactly one chunk."""
    found = send(written(tmp_path, CONTENT[:size]), CHUNK).outcome()
    assert (found.error, len(working.served("PATCH"))) == (None, min(1, size))
    assert working.stored(found.upload_id) == CONTENT[:size]


def test_metadata_comes_back_as_it_was_sent(send: Sender, door: Replicas, tmp_path: Path) -> None:
    """Byte by byte, and so does its order."""
    found = send(written(tmp_path, b"abc"), metadata=METADATA).outcome()
    (entry,) = door.served("POST")
    answer = httpx.head(str(found.url), headers=TUS)
    assert entry.status == httpx.codes.CREATED
    assert answer.headers["upload-metadata"] == (
        "filename RsO8w59lICYg5pel5pys6KqeLmJpbg==,relativePath bnVsbA=="
    )


def test_a_stream_of_unknown_length(working: Replicas, tusjs: TusJs, file: Path) -> None:
    """Its length comes with its last chunk."""
    found = tusjs(file, endpoint=working.endpoint, stream=True, chunkSize=CHUNK)
    assert (found.error, working.stored(found.upload_id)) == (None, CONTENT)


def test_parallel_uploads_are_joined(working: Replicas, tusjs: TusJs, file: Path) -> None:
    """Four partial uploads, and one final one; the client tells it the metadata."""
    found = tusjs(file, endpoint=working.endpoint, parallelUploads=4, metadata=METADATA)
    assert (found.error, found.sent.count("POST 201")) == (None, 5)
    assert working.stored(found.upload_id) == CONTENT
    assert working.upload(found.upload_id).metadata == METADATA


def test_bytes_come_along_with_the_creation(working: Replicas, tusjs: TusJs, file: Path) -> None:
    """And the rest after it."""
    asked = {"chunkSize": 2 * CHUNK, "uploadDataDuringCreation": True}
    found = tusjs(file, endpoint=working.endpoint, **asked)
    assert found.sent == ["POST 201", "PATCH 204", "PATCH 204"]
    assert working.stored(found.upload_id) == CONTENT


def test_a_client_that_must_not_patch(working: Replicas, tusjs: TusJs, file: Path) -> None:
    """It says POST and means PATCH, as some firewalls want it."""
    found = tusjs(file, endpoint=working.endpoint, overridePatchMethod=True)
    assert [entry.status for entry in working.served("POST")] == [201, 204]
    assert working.stored(found.upload_id) == CONTENT


@pytest.mark.parametrize("asynchronous", [False, True])
def test_tuspy_sends_checksums(
    working: Replicas, start_tuspy: StartTuspy, file: Path, asynchronous: bool
) -> None:
    """Of each chunk; with both of its halves."""
    asked = {"chunk_size": CHUNK, "upload_checksum": True, "asynchronous": asynchronous}
    found = start_tuspy(file, endpoint=working.endpoint, **asked).outcome()
    assert (found.error, working.stored(found.upload_id)) == (None, CONTENT)


@pytest.mark.parametrize("pause_at", [CHUNK, 0])
def test_a_client_removes_its_upload(
    working: Replicas, tusjs: TusJs, file: Path, pause_at: int
) -> None:
    """In the middle, or once it is complete; it is gone then."""
    asked = {"pause_at": pause_at, "terminate": True, "chunkSize": CHUNK}
    found = tusjs(file, endpoint=working.endpoint, **asked)
    assert (found.error, found.sent[-1]) == (None, "DELETE 204")
    gone = httpx.head(str(found.url), headers=TUS).status_code
    assert gone in {httpx.codes.NOT_FOUND, httpx.codes.GONE}
