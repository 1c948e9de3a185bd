"""``DeliveryFailed``: what a sink says when somebody could not be told. Knows no sink."""

from __future__ import annotations

from datetime import timedelta

from chunkferry.errors import ChunkferryError


class DeliveryFailed(ChunkferryError):
    """Somebody could not be told of a change."""

    code = "delivery_failed"
    retryable = True

    def __init__(
        self, reason: str, *, retry_after: timedelta | None = None, is_final: bool = False
    ) -> None:
        super().__init__(reason)
        #: The receiver's own wish.
        self.retry_after = retry_after
        #: True where another try cannot help.
        self.is_final = is_final
