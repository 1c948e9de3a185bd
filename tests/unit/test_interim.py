"""Interim answers without a server: who sends them, and what never gets on the wire."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chunkferry.tus import interim
from chunkferry.tus.http1 import _Sender


class Transport:
    """Keeps what is written."""

    def __init__(self, *, is_closing: bool = False) -> None:
        self.written = b""
        self._is_closing = is_closing

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def is_closing(self) -> bool:
        """Whether the client is gone."""
        return self._is_closing


def written(value: str = "4", **changed: Any) -> bytes:
    """What is sent of an interim answer to a request in this state."""
    transport = changed.pop("transport", Transport())
    flow = SimpleNamespace(write_paused=changed.pop("write_paused", False))
    state = {"response_started": False, "disconnected": False, **changed}
    cycle = cast("Any", SimpleNamespace(transport=transport, flow=flow, **state))
    asyncio.run(_Sender(cycle)(104, {"Upload-Offset": value}))
    return bytes(transport.written)


def test_an_interim_answer_is_a_head_without_content() -> None:
    """RFC 9110, section 15.2."""
    assert written() == b"HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: 4\r\n\r\n"


@pytest.mark.parametrize(
    "changed",
    [
        {"response_started": True},
        {"disconnected": True},
        {"write_paused": True},
        {"transport": Transport(is_closing=True)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_an_interim_answer_may_come_too_late(changed: dict[str, Any]) -> None:
    """After the final one began, or where nobody reads, nothing is sent."""
    assert written(**changed) == b""


@pytest.mark.parametrize("value", ["4\r\nSet-Cookie: x", "4\n", "\x00", "\x7f"])
def test_a_value_cannot_end_its_line(value: str) -> None:
    """Nor the answer."""
    with pytest.raises(ValueError, match="'Upload-Offset' has control characters"):
        written(value)


@pytest.mark.parametrize("scope", [{}, {"extensions": {}}, {"extensions": {"other": {}}}])
def test_servers_without_the_extension_send_nothing(scope: dict[str, Any]) -> None:
    """And whoever asks need not know."""
    assert interim.sender(scope) is interim.unsent
