"""Flower, the real one, beside a real worker: what an operator gets to see."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers.ceph import free_ports
from tests.servers.redis import FreshRedis
from tests.servers.workers import StartWorker
from tests.waiting import wait_until

from chunkferry import ChunkManager, UploadStatusCode
from chunkferry.config import load
from chunkferry_worker import tether
from chunkferry_worker.application import create_app
from chunkferry_worker.settings import RECONCILE


def tasks(port: int) -> dict[str, dict[str, Any]]:
    """All tasks that Flower knows; none while it starts."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/tasks", timeout=5) as answer:
            found: dict[str, dict[str, Any]] = json.load(answer)
            return found
    except OSError:
        return {}


@pytest.fixture
def env(fresh_redis: FreshRedis, tmp_path: Path) -> dict[str, str]:
    """A Redis and a store."""
    return {
        "CHUNKFERRY_REDIS_URL": fresh_redis().url,
        "CHUNKFERRY_SERVICES": json.dumps({"default": f"file://{tmp_path}/objects"}),
        "FLOWER_UNAUTHENTICATED_API": "true",
    }


@pytest.fixture
def flower(env: dict[str, str], tmp_path: Path) -> Iterator[int]:
    """The port of a Flower that has begun to listen for events."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "celery", "-A", "chunkferry_worker", "flower"]
    with (tmp_path / "flower.log").open("wb") as log:
        process = tether.spawn(
            [*command, "--address=127.0.0.1", f"--port={port}"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
        )
    try:
        wait_until(lambda: b"Connected to" in (tmp_path / "flower.log").read_bytes(), 60)
        yield port
    finally:
        process.kill()
        process.wait()


def finished(port: int, name: str) -> dict[str, Any]:
    """The one task of that name, once Flower knows its result."""

    def found() -> list[dict[str, Any]]:
        return [t for t in tasks(port).values() if t["name"] == name and t["result"]]

    wait_until(found, 30, what=f"a finished {name} in Flower")
    (task,) = found()
    return task


def test_flower_shows_each_drain_with_its_upload_and_outcome(
    env: dict[str, str], flower: int, start_worker: StartWorker
) -> None:
    """The task's argument is the upload's id; its result says what came of it."""
    start_worker(env)
    manager = ChunkManager(settings=load(redis_url=env["CHUNKFERRY_REDIS_URL"]))
    notifier = manager.put_with_status("a/b", 5, io.BytesIO(b"bytes"))
    assert notifier.wait(60).code is UploadStatusCode.OK
    drain = finished(flower, "chunkferry.drain")
    assert notifier.upload_id in drain["args"]
    assert "'outcome': 'complete'" in drain["result"]
    assert "'filepath': 'a/b'" in drain["result"]
    assert drain["worker"]


def test_flower_shows_what_a_search_for_leftovers_has_freed(
    env: dict[str, str], flower: int, start_worker: StartWorker, tmp_path: Path
) -> None:
    """How many there were, how many bytes, and that all was looked at."""
    left = tmp_path / "objects/.chunkferry" / f"put-{'0' * 32}"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"7 bytes")
    os.utime(left, (0, 0))
    start_worker(env)
    app, _ = create_app(load(redis_url=env["CHUNKFERRY_REDIS_URL"]))
    app.send_task(RECONCILE)
    app.close()
    result = finished(flower, RECONCILE)["result"]
    assert "'removed': 1, 'size': 7" in result
    assert "'more': False" in result
    assert not left.exists()
