"""Errors that nobody foresaw, as far as a log may show them: where and of which type.

Knows nothing of who raised them. Their own text, and that of their causes, may quote an upload's
bytes or a store's credentials.
"""

from __future__ import annotations

from chunkferry.errors import ChunkferryError


class Unforeseen(Exception):
    """Stands for another error in a log."""


def untold(error: BaseException) -> Unforeseen:
    """What can be logged of ``error``: its traceback and type, and a text of ours."""
    kind = type(error).__name__
    text = f"{kind}: {error}" if isinstance(error, ChunkferryError) else kind
    return Unforeseen(text).with_traceback(error.__traceback__)
