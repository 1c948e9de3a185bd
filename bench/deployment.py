"""Everything that is measured, running: Redis, a Celery worker, S3 servers that forget, a folder.

All processes are tethered to this one, all files are beneath one folder that goes away.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode

from bench import processes
from bench.clients import BUCKET

from chunkferry import ChunkManager, config, connection
from chunkferry.errors import ChunkferryError
from chunkferry_worker import tether
from chunkferry_worker.embedded_redis import EmbeddedRedis, find_server

#: What children import ``bench`` from.
ROOT: Final = Path(__file__).resolve().parent.parent
#: How long the worker may take to be ready, in seconds.
_START: Final = 60.0

#: Service names.
S3, S3_CRC32C, LOCAL, NOTED = "s3", "s3-crc32c", "local", "noted"
#: Put behind the name of an S3 service whose server answers late.
LATE: Final = "-late"


class Deployment:
    """One deployment on this machine; a context manager that starts and stops it."""

    def __init__(
        self, folder: Path, *, latency: float, redis_settings: Mapping[str, str], pool: str
    ) -> None:
        """Describe it.

        Args:
            folder: for all its files; exists.
            latency: of the second S3 server's answers, in seconds.
            redis_settings: lines of Redis' configuration that differ from ours.
            pool: of the Celery worker: ``prefork`` or ``threads``.
        """
        self._folder = folder
        self._latency = latency
        self._pool = pool
        self._redis = EmbeddedRedis(folder / "redis", settings=redis_settings)
        self._stack = contextlib.ExitStack()
        self._worker = 0
        self._sinks: dict[str, tuple[int, str]] = {}
        self.journal = folder / "journal"
        self.objects = folder / "objects"

    def __enter__(self) -> Self:
        self.objects.mkdir()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._redis)
            self._sinks = {"": self._start_sink(stack, 0), LATE: self._start_sink(stack, 1)}
            self._worker = self._start_worker(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """What producers and workers of this deployment need."""
        path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "CHUNKFERRY_REDIS_URL": self._redis.url,
            "CHUNKFERRY_SERVICES": json.dumps(self._services()),
        }

    def redis_version(self) -> str:
        """Which server it is."""
        version = connection.facts(connection.connect(self._redis.url)).version
        return f"{find_server().name} {'.'.join(map(str, version))}"

    def endpoint(self, suffix: str) -> str:
        """Where the S3 server is that is late (``LATE``) or not (empty)."""
        return self._sinks[suffix][1]

    def manager(self, service: str) -> ChunkManager:
        """A producer in this process."""
        settings = config.load(redis_url=self._redis.url, services=self._services())
        return ChunkManager(settings=settings, service=service)

    @property
    def pool_process(self) -> int:
        """The worker's process that drains."""
        return (processes.children(self._worker) or [self._worker])[-1]

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time by role so far."""
        assert self._redis.pid is not None
        workers = {self._worker, *processes.children(self._worker)}
        return {
            "redis": processes.cpu_seconds(self._redis.pid),
            "worker": sum(map(processes.cpu_seconds, workers)),
            "sink": sum(processes.cpu_seconds(pid) for pid, _ in self._sinks.values()),
        }

    def _services(self) -> dict[str, str]:
        found = {
            LOCAL: f"file://{self.objects}",
            NOTED: "bench.noting:store?" + urlencode({"journal": str(self.journal)}),
        }
        for suffix in self._sinks:
            plain = {"endpoint_url": self.endpoint(suffix)}
            crc32c = {**plain, "checksums": "when_supported"}
            found[S3 + suffix] = f"s3://{BUCKET}/ferry?{urlencode(plain)}"
            found[S3_CRC32C + suffix] = f"s3://{BUCKET}/ferry?{urlencode(crc32c)}"
        return found

    def _start_sink(self, stack: contextlib.ExitStack, late: int) -> tuple[int, str]:
        latency = str(self._latency * late)
        process = tether.spawn(
            [sys.executable, "-m", "bench.null_s3", "--latency", latency],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        stack.callback(_end, process)
        assert process.stdout is not None
        return process.pid, f"http://127.0.0.1:{int(process.stdout.readline())}"

    def _start_worker(self, stack: contextlib.ExitStack) -> int:
        log = self._folder / "worker.log"
        celery = [sys.executable, "-m", "celery", "-A", "chunkferry_worker"]
        # One upload at a time is measured, hence one process: it has the whole peak.
        options = ["--loglevel=INFO", "--concurrency=1", f"--pool={self._pool}"]
        with log.open("wb") as out:
            process = tether.spawn(
                [*celery, "worker", *options, "--without-mingle", "--without-gossip"],
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self.environment,
            )
        stack.callback(_end, process)
        deadline = time.monotonic() + _START
        while b" ready." not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ChunkferryError(f"the worker did not start:\n{log.read_text()}")
            time.sleep(0.02)
        return process.pid


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
