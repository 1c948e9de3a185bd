"""Ports of the producers' side: what begins uploads, and what wakes the workers up."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

if TYPE_CHECKING:
    from chunkferry.notifier import Notifier
    from chunkferry.upload import ChunkUpload


class Waker(Protocol):
    """Sends wake-ups to the workers. Lossy by contract: a lost one costs seconds, never data."""

    def wake(self, upload_id: str) -> bool:
        """Ask for a drain of the upload; False if that is known not to be on its way.

        Never raises, never blocks for long.
        """

    def join(self, upload_id: str) -> bool:
        """Ask for a turn at joining the upload from others; as ``wake`` in all else."""


@runtime_checkable
class Herald(Protocol):
    """Has workers tell of changes. Without it, a waker leaves them to those that come by."""

    def tell(self) -> bool:
        """Ask for somebody to look what is to be told; True if a message was sent. Never raises."""


class ChunkService(Protocol):
    """Uploading in chunks, resumable."""

    def put_with_status(self, filepath: str, filesize: int | None, reader: BinaryIO) -> Notifier:
        """Start an upload and send what ``reader`` holds."""

    def resume_put_with_status(self, filepath: str, reader: BinaryIO) -> Notifier:
        """Send more data."""

    def get_incomplete_upload(self, filepath: str) -> ChunkUpload | None:
        """The upload to ``filepath`` that has not ended, or None."""

    @property
    def chunk_size(self) -> int:
        """Preferred part size in bytes."""


class ChunkManagementService(Protocol):
    """Something that runs the uploader by itself."""

    def run_uploader(self) -> None:
        """Run until ``shutdown``."""

    def shutdown(self) -> None:
        """End ``run_uploader``."""
