"""The examples for web frameworks: each takes an upload in beside its own pages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.servers.front import TUS, begun, sent
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry_worker import tether

EXAMPLES = Path(__file__).parents[2] / "examples"
CONTENT = os.urandom(6_000_000)


@contextmanager
def serving(application: str, env: dict[str, str], log: Path) -> Iterator[httpx.Client]:
    """A client of ``application``, served as its first lines say."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("wb") as out:
        process = tether.spawn(
            [sys.executable, "-m", "uvicorn", application, "--port", str(port)],
            cwd=EXAMPLES,
            env={**os.environ, **env},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: b"Application startup complete" in log.read_bytes(), 60, what=str(log))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)


@pytest.mark.parametrize(
    "application", ["fastapi_app:app", "django_app:application", "flask_app:application"]
)
def test_a_framework_takes_uploads_in(
    real_site: Site, start_worker: StartWorker, tmp_path: Path, application: str
) -> None:
    """Its own pages are there, and the bytes of an upload reach the store."""
    start_worker(real_site.env)
    with serving(application, real_site.env, tmp_path / "web.log") as web:
        assert web.get("/hello").json() == {"message": "uploads begin at /files/"}
        url = begun(web, len(CONTENT), files="/files/")
        assert url.startswith("/files/")
        assert sent(web, url, 0, CONTENT).status_code == httpx.codes.NO_CONTENT
        upload_id = url.rpartition("/")[2]
        wait_until(lambda: real_site.manager().get(upload_id).is_complete)
        assert real_site.stored(real_site.manager().get(upload_id).filepath) == CONTENT


def test_hooks_decide_who_may_upload_what(real_site: Site, tmp_path: Path) -> None:
    """Without a session nothing; with one, images only, into the user's own folder."""
    env = {**real_site.env, "CHUNKFERRY_HTTP_HOOKS": "hooks:hooks", "PYTHONPATH": f"{EXAMPLES}"}
    image = {"Upload-Metadata": "filetype aW1hZ2UvcG5n"}
    with serving("chunkferry.tus.asgi:app", env, tmp_path / "web.log") as web:
        size = {**TUS, "Upload-Length": "3"}
        assert web.post("/files", headers=size).status_code == httpx.codes.UNAUTHORIZED
        web.cookies.set("session", "a-session-of-ann")
        refused = web.post("/files", headers=size)
        assert refused.status_code == httpx.codes.UNSUPPORTED_MEDIA_TYPE
        assert refused.json()["detail"] == "only images are taken here"
        upload_id = begun(web, 3, **image).rpartition("/")[2]
    assert real_site.manager().get(upload_id).filepath.startswith("ann/uploads/")
