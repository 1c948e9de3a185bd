"""tus-js-client in Node, as a command: ``upload.mjs`` tells what it can be asked for.

It is installed from npm when a test first asks for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests import packages
from tests.clients.process import Client, Outcome

_FOLDER = Path(__file__).parent


class StartTusJs(Protocol):
    """The function behind ``start_tusjs``."""

    def __call__(
        self,
        file: Path,
        *,
        stream: bool = False,
        pause_at: int = 0,
        terminate: bool = False,
        storage: Path | None = None,
        look: Path | None = None,
        **options: Any,
    ) -> Client:
        """Begin to upload ``file``; ``options`` are those of ``tus.Upload``."""


class TusJs(Protocol):
    """The function behind ``tusjs``."""

    def __call__(
        self, file: Path, *, pause_at: int = 0, terminate: bool = False, **asked: Any
    ) -> Outcome:
        """Upload ``file``, with all that ``StartTusJs`` takes."""


@pytest.fixture
def start_tusjs(tmp_path: Path) -> Iterator[StartTusJs]:
    """Starts uploads by tus-js-client, which end with the test."""
    if missing := packages.missing_programs():
        reason = f"needs tus-js-client; not installed: {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    command = [packages.program("node"), str(packages.installed(_FOLDER) / "upload.mjs")]
    with contextlib.ExitStack() as stack:
        count = 0

        def start(
            file: Path,
            *,
            stream: bool = False,
            pause_at: int = 0,
            terminate: bool = False,
            storage: Path | None = None,
            look: Path | None = None,
            **options: Any,
        ) -> Client:
            nonlocal count
            count += 1
            asked = {"file": str(file), "options": options, "stream": stream}
            asked |= {"pauseAt": pause_at, "terminate": terminate}
            asked |= {"storage": storage and str(storage), "look": look and str(look)}
            client = Client(command, asked, tmp_path / f"tusjs{count}.log")
            stack.callback(client.kill)
            return client

        yield start


@pytest.fixture
def tusjs(start_tusjs: StartTusJs) -> TusJs:
    """Uploads by tus-js-client."""

    def upload(file: Path, **asked: Any) -> Outcome:
        return start_tusjs(file, **asked).outcome()

    return upload
