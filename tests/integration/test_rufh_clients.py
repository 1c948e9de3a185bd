"""Clients that speak the draft of Resumable Uploads as their authors wrote them."""

from __future__ import annotations

import os
import re
import subprocess
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.clients.tusjs import TusJs
from tests.servers.front import Front
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry.parts import MIB
from chunkferry.state import State
from chunkferry.tus.rufh import VERSIONS

CONTENT = os.urandom(3 * MIB)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with ``CONTENT``."""
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(params=["ietf-draft-03", "ietf-draft-05"])
def upload(request: pytest.FixtureRequest, tusjs: TusJs, front: Front) -> TusJs:
    """tus-js-client, speaking one of the drafts that it knows, to ``front``."""
    return partial(tusjs, endpoint=front.files, protocol=request.param)


def stored(site: Site, upload_id: str) -> bytes:
    """The object of an upload, once it is there."""
    manager = site.manager()
    wait_until(lambda: manager.get(upload_id).is_complete)
    return site.stored(manager.get(upload_id).filepath)


def test_tus_js_client_uploads_a_file(
    real_site: Site, start_worker: StartWorker, upload: TusJs, file: Path
) -> None:
    """In one request after the creation; its metadata is kept."""
    start_worker(real_site.env)
    found = upload(file, metadata={"filename": "ä.bin", "filetype": "video/mp4"})
    assert (found.error, found.sent) == (None, ["POST 201", "PATCH 201"])
    assert stored(real_site, found.upload_id) == CONTENT
    about = real_site.manager().get(found.upload_id)
    assert (about.metadata["filename"], about.content_type) == ("ä.bin", "video/mp4")


def test_tus_js_client_uploads_in_chunks(real_site: Site, upload: TusJs, file: Path) -> None:
    """It never says which is the last one (4.3.1): the length that was told has to do."""
    found = upload(file, chunkSize=MIB)
    assert (found.error, found.sent) == (None, ["POST 201", *3 * ["PATCH 204"]])
    assert real_site.manager().get(found.upload_id).state is State.RECEIVED


def test_tus_js_client_sends_content_along(upload: TusJs, file: Path) -> None:
    """With the request that begins the upload."""
    found = upload(file, chunkSize=2 * MIB, uploadDataDuringCreation=True)
    assert (found.error, found.sent) == (None, ["POST 201", "PATCH 204"])


def test_tus_js_client_uploads_a_stream(real_site: Site, upload: TusJs, file: Path) -> None:
    """Of which it learns the length at its end; it waits forever at one that ends with a chunk."""
    file.write_bytes(CONTENT[:-1])
    found = upload(file, stream=True, chunkSize=MIB)
    assert (found.error, found.sent[-1]) == (None, "PATCH 201")
    about = real_site.manager().get(found.upload_id)
    assert (about.state, about.length) == (State.RECEIVED, len(CONTENT) - 1)


def test_tus_js_client_goes_on(upload: TusJs, file: Path) -> None:
    """By another process, from where the first one stopped."""
    paused = upload(file, pause_at=MIB, chunkSize=MIB)
    assert (paused.error, paused.sent) == (None, ["POST 201", "PATCH 204"])
    found = upload(file, uploadUrl=paused.url, chunkSize=MIB)
    assert (found.error, found.sent) == (None, ["HEAD 204", *2 * ["PATCH 204"]])


def test_tus_js_client_uploads_an_empty_file(real_site: Site, upload: TusJs, file: Path) -> None:
    """It sends nothing after the creation, which tells that there is nothing."""
    file.write_bytes(b"")
    found = upload(file)
    assert (found.error, found.sent) == (None, ["POST 201"])
    assert real_site.manager().get(found.upload_id).state is State.RECEIVED


def test_tus_js_client_removes_an_upload(web: httpx.Client, upload: TusJs, file: Path) -> None:
    """And whoever asks for it then is told so."""
    found = upload(file, pause_at=MIB, terminate=True, chunkSize=MIB)
    assert (found.error, found.sent[-1]) == (None, "DELETE 204")
    assert web.head(str(found.url)).status_code == httpx.codes.GONE


# --- the example of docs/resumable-uploads.md --------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs/resumable-uploads.md"


def example() -> str:
    """The shell script of the page."""
    return PAGE.read_text().partition("```sh\n")[2].partition("```")[0]


def test_the_example_of_the_docs_works(
    real_site: Site, front: Front, start_worker: StartWorker, tmp_path: Path
) -> None:
    """As it stands there, with curl, but for the address and the file."""
    start_worker(real_site.env)
    (tmp_path / "film.mkv").write_bytes(CONTENT)
    script = example().replace("http://127.0.0.1:8080", front.url)
    done = subprocess.run(
        ["sh", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (url,) = re.findall(r"(?m)^location: (\S+)", done.stdout)
    assert stored(real_site, url.rpartition("/")[2]) == CONTENT


def test_the_docs_tell_all_versions() -> None:
    """The table has a row for each that is spoken."""
    found = re.findall(r"(?m)^\| (\d+) \| -", PAGE.read_text())
    assert [int(version) for version in found] == [*VERSIONS]
