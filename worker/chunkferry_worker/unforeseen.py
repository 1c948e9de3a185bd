"""Errors that nobody foresaw, as far as a log may show them: where and of which type.

Knows nothing of who raised them. Their own text, and that of their causes, may quote an upload's
bytes or a store's credentials.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chunkferry.errors import ChunkferryError, StoreError


class Unforeseen(Exception):
    """Stands for another error in a log."""


def untold(error: BaseException) -> Unforeseen:
    """What can be logged of ``error``: its traceback and type, and a text of ours."""
    kind = type(error).__name__
    text = f"{kind}: {error}" if isinstance(error, ChunkferryError) else kind
    return Unforeseen(text).with_traceback(error.__traceback__)


@contextmanager
def of_store(service: str) -> Iterator[None]:
    """Turn what nobody foresaw of the store of ``service`` into a ``StoreError``."""
    try:
        yield
    except ChunkferryError:
        raise
    except Exception as exc:
        msg = f"the store of {service!r} failed: an unforeseen {type(exc).__name__}"
        raise StoreError(msg) from exc
