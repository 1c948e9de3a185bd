"""Flower beside a real worker: what an operator sees of a search for leftovers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.test_flower import tasks
from tests.servers.ceph import free_ports
from tests.servers.redis import FreshRedis
from tests.servers.workers import StartWorker
from tests.waiting import wait_until

from chunkferry.config import load
from chunkferry_worker import tether
from chunkferry_worker.application import create_app
from chunkferry_worker.settings import RECONCILE


def test_flower_shows_what_a_search_for_leftovers_has_freed(
    fresh_redis: FreshRedis, start_worker: StartWorker, tmp_path: Path
) -> None:
    """How many there were, how many bytes, and that all was looked at."""
    left = tmp_path / "objects/.chunkferry" / f"put-{'0' * 32}"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"7 bytes")
    os.utime(left, (0, 0))
    env = {
        "CHUNKFERRY_REDIS_URL": fresh_redis().url,
        "CHUNKFERRY_SERVICES": json.dumps({"default": f"file://{tmp_path}/objects"}),
        "FLOWER_UNAUTHENTICATED_API": "true",
    }
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "celery", "-A", "chunkferry_worker", "flower"]
    log = tmp_path / "flower.log"
    with log.open("wb") as out:
        flower = tether.spawn(
            [*command, "--address=127.0.0.1", f"--port={port}"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
        )

    def searches() -> list[dict[str, Any]]:
        known = tasks(port).values()
        return [task for task in known if task["name"] == RECONCILE and task["result"]]

    try:
        wait_until(lambda: b"Connected to" in log.read_bytes(), 60)
        start_worker(env)
        app, _ = create_app(load(redis_url=env["CHUNKFERRY_REDIS_URL"]))
        app.send_task(RECONCILE)
        app.close()
        wait_until(searches, 30, what="a finished search in Flower")
        (search,) = searches()
    finally:
        flower.kill()
        flower.wait()
    assert "'removed': 1, 'size': 7" in search["result"]
    assert "'more': False" in search["result"]
    assert not left.exists()
