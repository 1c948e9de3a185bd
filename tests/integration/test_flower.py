"""Flower, the real one, beside a real worker: what an operator gets to see."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.servers.ceph import free_ports
from tests.servers.redis import FreshRedis
from tests.servers.workers import StartWorker
from tests.waiting import wait_until

from chunkferry import ChunkManager, UploadStatusCode
from chunkferry.config import load
from chunkferry_worker import tether


def tasks(port: int) -> dict[str, dict[str, Any]]:
    """All tasks that Flower knows; none while it starts."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/tasks", timeout=5) as answer:
            found: dict[str, dict[str, Any]] = json.load(answer)
            return found
    except OSError:
        return {}


def test_flower_shows_each_drain_with_its_upload_and_outcome(
    fresh_redis: FreshRedis, start_worker: StartWorker, tmp_path: Path
) -> None:
    """The task's argument is the upload's id; its result says what came of it."""
    env = {
        "CHUNKFERRY_REDIS_URL": fresh_redis().url,
        "CHUNKFERRY_SERVICES": json.dumps({"default": f"file://{tmp_path}/objects"}),
        "FLOWER_UNAUTHENTICATED_API": "true",
    }
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "celery", "-A", "chunkferry_worker", "flower"]
    with (tmp_path / "flower.log").open("wb") as log:
        flower = tether.spawn(
            [*command, "--address=127.0.0.1", f"--port={port}"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
        )
    try:
        wait_until(lambda: b"Connected to" in (tmp_path / "flower.log").read_bytes(), 60)
        start_worker(env)
        manager = ChunkManager(settings=load(redis_url=env["CHUNKFERRY_REDIS_URL"]))
        notifier = manager.put_with_status("a/b", 5, io.BytesIO(b"bytes"))
        assert notifier.wait(60).code is UploadStatusCode.OK

        def drains() -> list[dict[str, Any]]:
            known = tasks(port).values()
            return [t for t in known if t["name"] == "chunkferry.drain" and t["result"]]

        wait_until(drains, 30, what="a finished drain in Flower")
        (drain,) = drains()
    finally:
        flower.kill()
        flower.wait()
    assert notifier.upload_id in drain["args"]
    assert "'outcome': 'complete'" in drain["result"]
    assert "'filepath': 'a/b'" in drain["result"]
    assert drain["worker"]
