"""What clients do to a tus server: whole files over several connections, or small ones at a rate.

Sends from memory over plain sockets, so that the client's own work stays small; knows nothing of
the server behind the URL.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from chunkferry.errors import ChunkferryError

_TUS: Final = {"Tus-Resumable": "1.0.0"}
_BYTES: Final = {**_TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
#: Sent again and again.
_PIECE: Final = os.urandom(1 << 20)
_CREATED: Final = 201
_NO_CONTENT: Final = 204


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of one load."""

    #: Uploads that were acknowledged.
    uploads: int
    #: Their bytes together.
    size: int
    seconds: float


class Client:
    """One connection that is used again and again."""

    def __init__(self, files: str) -> None:
        place = urlsplit(files)
        assert place.hostname is not None
        self._connection = http.client.HTTPConnection(place.hostname, place.port)
        self._files = place.path

    def upload(self, size: int) -> None:
        """One upload of ``size`` bytes in two requests."""
        length = {**_TUS, "Upload-Length": str(size)}
        self._connection.request("POST", self._files, headers=length)
        location = self._answer(_CREATED).headers["Location"]
        self._connection.putrequest("PATCH", urlsplit(location).path)
        for name, value in {**_BYTES, "Content-Length": str(size)}.items():
            self._connection.putheader(name, value)
        self._connection.endheaders()
        for start in range(0, size, len(_PIECE)):
            self._connection.send(_PIECE[: size - start])
        self._answer(_NO_CONTENT)

    def _answer(self, expected: int) -> http.client.HTTPResponse:
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != expected:
            raise ChunkferryError(f"expected {expected}, the server said {answer.status}: {text!r}")
        return answer


def whole(files: str, connections: int, size: int) -> Load:
    """One upload of ``size`` bytes over each of ``connections``, all at once."""

    def send(client: Client, _: float) -> int:
        client.upload(size)
        return 1

    return _together(files, connections, send, size)


def small(files: str, connections: int, size: int, seconds: float) -> Load:
    """As many uploads of ``size`` bytes as ``connections`` manage in ``seconds``."""

    def send(client: Client, began: float) -> int:
        count = 0
        while time.monotonic() - began < seconds:
            client.upload(size)
            count += 1
        return count

    return _together(files, connections, send, size)


def _together(
    files: str, connections: int, send: Callable[[Client, float], int], size: int
) -> Load:
    counts: list[int] = []
    errors: list[Exception] = []
    began = time.monotonic()

    def run() -> None:
        try:
            counts.append(send(Client(files), began))
        except (ChunkferryError, OSError, http.client.HTTPException) as exc:
            errors.append(exc)

    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    uploads = sum(counts)
    return Load(uploads=uploads, size=uploads * size, seconds=time.monotonic() - began)
