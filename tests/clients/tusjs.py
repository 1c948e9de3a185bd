"""tus-js-client in Node, as a command: ``upload.mjs`` tells what it can be asked for.

It is installed from npm when a test first asks for it.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests import packages

_FOLDER = Path(__file__).parent
#: Node needs a while on a busy machine; the client's own retries are done in ten seconds.
_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an upload."""

    #: Of the upload, absolute; None if none was begun.
    url: str | None
    #: What the application would be told; None if all went well.
    error: str | None
    #: Each answer that came: "PATCH 204".
    sent: list[str]

    @property
    def upload_id(self) -> str:
        """The upload's."""
        assert self.url is not None, self.error
        return self.url.rpartition("/")[2]


class TusJs(Protocol):
    """The function behind ``tusjs``."""

    def __call__(
        self,
        file: Path,
        *,
        stream: bool = False,
        pause_at: int = 0,
        terminate: bool = False,
        **options: Any,
    ) -> Outcome:
        """Upload ``file``; ``options`` are those of ``tus.Upload``."""


@pytest.fixture(scope="session")
def tusjs() -> TusJs:
    """tus-js-client."""
    if missing := packages.missing_programs():
        reason = f"needs tus-js-client; not installed: {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    script = packages.installed(_FOLDER) / "upload.mjs"

    def upload(
        file: Path,
        *,
        stream: bool = False,
        pause_at: int = 0,
        terminate: bool = False,
        **options: Any,
    ) -> Outcome:
        asked = {"file": str(file), "options": options, "stream": stream}
        asked |= {"pauseAt": pause_at, "terminate": terminate}
        done = subprocess.run(
            [packages.program("node"), str(script), json.dumps(asked)],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Outcome(**json.loads(done.stdout.splitlines()[-1]))

    return upload
