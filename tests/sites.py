"""A site: one deployment's variables, its store with a witness, and its producers.

Knows nothing of workers and beats: ``tests.servers.workers`` starts them with ``Site.env``. A
module names the fixture itself, ``site = real_site``: the plugin ``tests.producing`` offers a
``site`` to all, and of two plugins' fixtures of one name the last one hides the other.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.servers.redis import FreshRedis
from tests.servers.witness import read_journal

from chunkferry import ChunkManager
from chunkferry.config import Settings, load
from chunkferry.parts import MIB
from chunkferry.wakeup import NoWaker

PART = 5 * MIB
CONTENT = os.urandom(4 * PART + 1)

#: Short, so that a test sees leases, turns and uploads end.
QUICK = {
    "CHUNKFERRY_LEASE_SECONDS": "3",
    "CHUNKFERRY_REWAKE_SECONDS": "1",
    "CHUNKFERRY_SWEEP_SECONDS": "0.3",
    "CHUNKFERRY_BACKOFF_SECONDS": "0.2",
    "CHUNKFERRY_BACKOFF_MAX_SECONDS": "1",
    "CHUNKFERRY_CHUNK_SIZE_LIMIT": str(PART),
}


@dataclass
class Site:
    """One deployment: a Redis, a store with a witness, and their variables."""

    folder: Path
    env: dict[str, str]

    def service(self, url: str) -> None:
        """Make ``url`` the default store."""
        self.env["CHUNKFERRY_SERVICES"] = json.dumps({"default": url})

    def witness(self, **options: str) -> None:
        """Make the default store one that is watched, and dawdles as told."""
        journal = {"url": f"file://{self.folder}/objects", "journal": str(self.journal)}
        self.service("tests.servers.witness:store?" + urlencode({**journal, **options}))

    @property
    def journal(self) -> Path:
        """Who stored what when."""
        return self.folder / "journal"

    def settings(self) -> Settings:
        """What the site's producers have set."""
        fields: dict[str, Any] = {
            name.removeprefix("CHUNKFERRY_").lower(): v for name, v in self.env.items()
        }
        fields.pop("pythonpath", None)
        for name in ("services", "webhook_urls", "webhook_secrets"):
            if name in fields:
                fields[name] = json.loads(fields[name])
        return load(**fields)

    def manager(self, *, lose_wake_ups: bool = False) -> ChunkManager:
        """A producer."""
        return ChunkManager(settings=self.settings(), waker=NoWaker() if lose_wake_ups else None)

    def stored(self, filepath: str = "a/b") -> bytes:
        """The object as it lies on the disk."""
        return (self.folder / "objects" / filepath).read_bytes()

    def parts_begun(self) -> int:
        """How often a part was about to be stored."""
        return sum(not entry.done for entry in read_journal(self.journal))


def site_in(folder: Path, redis_url: str) -> Site:
    """A site with its objects in ``folder``."""
    env = {**QUICK, "CHUNKFERRY_REDIS_URL": redis_url, "PYTHONPATH": str(Path.cwd())}
    made = Site(folder, env)
    made.witness()
    return made


@pytest.fixture
def real_site(fresh_redis: FreshRedis, tmp_path: Path) -> Site:
    """A site of the test's own."""
    return site_in(tmp_path, fresh_redis().url)
