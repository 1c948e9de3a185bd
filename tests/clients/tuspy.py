"""tuspy as a command: ``upload.py`` tells what it can be asked for.

In a process of its own: a test may kill it, and it leaves the files open that it has read.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.clients.process import Client

#: By itself it never tries again; it does so before each piece anew.
RETRIES = {"retries": 10, "retry_delay": 1}


class StartTuspy(Protocol):
    """The function behind ``start_tuspy``."""

    def __call__(
        self,
        file: Path,
        *,
        endpoint: str,
        storage: Path | None = None,
        look: Path | None = None,
        asynchronous: bool = False,
        **options: Any,
    ) -> Client:
        """Begin to upload ``file``; ``options`` are those of its ``Uploader``."""


@pytest.fixture
def start_tuspy(tmp_path: Path) -> Iterator[StartTuspy]:
    """Starts uploads by tuspy, which end with the test."""
    with contextlib.ExitStack() as stack:
        count = 0

        def start(
            file: Path,
            *,
            endpoint: str,
            storage: Path | None = None,
            look: Path | None = None,
            asynchronous: bool = False,
            **options: Any,
        ) -> Client:
            nonlocal count
            count += 1
            asked: dict[str, Any] = {"file": str(file), "endpoint": endpoint}
            asked |= {"options": {**RETRIES, **options}}
            asked |= {"storage": storage and str(storage), "look": look and str(look)}
            asked |= {"asynchronous": asynchronous}
            client = Client(
                [sys.executable, "-m", "tests.clients.upload"],
                asked,
                tmp_path / f"tuspy{count}.log",
            )
            stack.callback(client.kill)
            return client

        yield start
