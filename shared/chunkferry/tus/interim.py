"""Interim answers (1xx), for which ASGI has no word: an extension of the scope that sends them.

``http1.Http1`` offers it; where no server does, none are sent, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.types import Scope

#: Name of the extension in ``scope["extensions"]``; its value is a ``SendInterim``.
EXTENSION: Final = "chunkferry.interim"

#: Sends a status and header fields at once; does nothing where that is too late.
SendInterim = Callable[[int, Mapping[str, str]], Awaitable[None]]


async def unsent(status: int, headers: Mapping[str, str]) -> None:
    """The ``SendInterim`` where the server has none."""


def sender(scope: Scope) -> SendInterim:
    """What sends interim answers to the request of ``scope``."""
    found: SendInterim = scope.get("extensions", {}).get(EXTENSION, unsent)
    return found
