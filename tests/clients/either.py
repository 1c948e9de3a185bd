"""tus-js-client or tuspy, asked in one way for what both can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.clients.process import Client
from tests.clients.tusjs import StartTusJs
from tests.clients.tuspy import StartTuspy

#: Both.
NAMES = ("tus-js-client", "tuspy")


class Sender:
    """Either client, asked for what both can do."""

    def __init__(
        self, name: str, start_tusjs: StartTusJs, start_tuspy: StartTuspy, endpoint: str
    ) -> None:
        self._tusjs = start_tusjs if name == "tus-js-client" else None
        self._tuspy = start_tuspy
        self._endpoint = endpoint

    def __call__(self, file: Path, chunk: int | None = None, **asked: Any) -> Client:
        """Begin to send ``file``."""
        if self._tusjs is None:
            asked |= {} if chunk is None else {"chunk_size": chunk}
            return self._tuspy(file, endpoint=self._endpoint, **asked)
        asked |= {} if chunk is None else {"chunkSize": chunk}
        return self._tusjs(file, endpoint=self._endpoint, **asked)
