"""``BoundService``: what the service of one upload remembers from one call to the next.

Knows no store: what its state names there, and what is done with it, is the store's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chunkferry.errors import InitError

if TYPE_CHECKING:
    from chunkferry.upload import ChunkUpload


class BoundService:
    """Is bound to an upload by ``initialize_chunk`` or ``restore``."""

    def __init__(self) -> None:
        self._bound: ChunkUpload | None = None
        self._state = ""

    def is_initialized(self) -> bool:
        """True once ``initialize_chunk`` is done, by whomever."""
        return bool(self._state)

    def save(self) -> str:
        """The state, which may be a credential; empty before ``initialize_chunk``."""
        return self._state

    def restore(self, upload: ChunkUpload, state: str) -> None:
        """Take up ``upload``."""
        self._bound = upload
        self._state = state

    @property
    def _upload(self) -> ChunkUpload:
        if self._bound is None:
            msg = "initialize_chunk or restore has to come first"
            raise InitError(msg)
        return self._bound
