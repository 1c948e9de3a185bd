"""Two versions of chunkferry itself: this checkout, and the last release beside it.

Their processes differ in nothing but where their code comes from, and each says so in its log.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.servers.workers import CeleryProcess

CHECKOUT: Final = Path(__file__).parents[2]
#: v0.1.0, for clones that came without tags.
FIRST: Final = "4be30f32abd3a2e590d893e3d06f456d28888701"
#: What a release consists of for a test: its code, and the test stores it may be told to use.
PARTS: Final = ("shared", "worker", "tests")

#: The Celery application of either version, which tells where its code is.
TELLING: Final = """
import chunkferry
import chunkferry_worker
from chunkferry_worker.celery import app

print("code of", chunkferry.__file__, chunkferry_worker.__file__, flush=True)
"""

#: A producer of either version: appends a range of made-up content, or cancels.
PRODUCER: Final = """
import hashlib
import json
import sys

import chunkferry

plan = json.loads(sys.argv[1])
manager = chunkferry.ChunkManager(settings=chunkferry.Settings())
upload = manager.get_incomplete_upload(plan["filepath"])
if upload is None:
    upload = manager.create(plan["filepath"], plan["size"])
if plan["cancel"]:
    manager.cancel(upload.upload_id)
content = hashlib.shake_128(plan["filepath"].encode()).digest(plan["size"])
for start in range(plan["start"], plan["end"], 3_000_000):
    manager.append(upload.upload_id, start, content[start : min(start + 3_000_000, plan["end"])])
print(json.dumps({"code": chunkferry.__file__, "upload_id": upload.upload_id}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version, unpacked in a folder."""

    name: str
    folder: Path
    #: Where ``TELLING`` and ``PRODUCER`` are.
    tools: Path

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """``env``, and this version's code before what is installed."""
        folders = (self.folder / "shared", self.folder / "worker", self.folder, self.tools)
        return {**env, "PYTHONPATH": os.pathsep.join(map(str, folders))}

    def celery(self, arguments: list[str], env: Mapping[str, str], log: Path) -> CeleryProcess:
        """A Celery command that runs this version's code, not started yet."""
        return CeleryProcess(arguments, self.environment(env), log, app="telling", cwd=self.folder)

    def produce(self, plan: str, env: Mapping[str, str]) -> str:
        """Run ``PRODUCER`` to its end; returns what it said."""
        ended = subprocess.run(
            # -P: a module beside the script must not take the place of an installed one.
            [sys.executable, "-P", str(self.tools / "producer.py"), plan],
            cwd=self.folder,
            env={**os.environ, **self.environment(env)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The two that have to get on with one another."""

    old: Version
    new: Version

    def __getitem__(self, name: str) -> Version:
        """``old`` or ``new``."""
        return {"old": self.old, "new": self.new}[name]


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, check=False)


def last_release() -> str:
    """The newest release before this commit, as a name that git knows."""
    # From the parent: a commit that is a release itself has to get on with the one before.
    described = _git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD~")
    return described.stdout.decode().strip() if described.returncode == 0 else FIRST


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """The last release, unpacked, and this checkout."""
    revision = last_release()
    archive = _git("archive", revision, *PARTS)
    if archive.returncode != 0:
        # Also in CI: a shallow clone or a source distribution cannot have it.
        pytest.skip(f"the last release is not in this repository: {archive.stderr.decode()}")
    folder = tmp_path_factory.mktemp("release")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    tools = tmp_path_factory.mktemp("tools")
    (tools / "telling.py").write_text(TELLING)
    (tools / "producer.py").write_text(PRODUCER)
    return Versions(
        old=Version(name=revision, folder=folder, tools=tools),
        new=Version(name="this checkout", folder=CHECKOUT, tools=tools),
    )
