"""The sources of a joined upload: which uploads may be joined, and what they add up to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chunkferry import parts
from chunkferry.errors import InvalidArgument, LengthMismatch, UploadClosed, UploadNotFound
from chunkferry.state import State
from chunkferry.upload import ChunkUpload

#: Most uploads that one can be joined from.
MAX_SOURCES: Final = 1000

_LOST: Final = frozenset({State.FAILED, State.ABORTING, State.EXPIRED, State.CANCELLED})


def check_number(upload_ids: Sequence[str]) -> None:
    """Raise ``InvalidArgument`` if there is nothing to join, or too much."""
    if not 1 <= len(upload_ids) <= MAX_SOURCES:
        raise InvalidArgument(
            f"an upload is joined from 1 to {MAX_SOURCES} others, not {len(upload_ids)}"
        )


def check(
    upload_ids: Sequence[str], found: Sequence[ChunkUpload | None], service: str
) -> list[ChunkUpload]:
    """``found`` if an upload to ``service`` can be joined from them, now or later.

    Args:
        upload_ids: in the order in which they are to be joined. The same one may come twice.
        found: each of them as it stands; None for those that are not known.
        service: where the joined object goes.

    Raises:
        UploadNotFound: one was never created, or has ended and was forgotten.
        InvalidArgument: one is an upload of its own, or at another service.
        UploadClosed: one has failed, or is being removed.
        LengthMismatch: together they are longer than an upload may be.
    """
    sources = []
    for upload_id, source in zip(upload_ids, found, strict=True):
        if source is None:
            raise UploadNotFound(upload_id)
        if not source.is_partial:
            raise InvalidArgument(f"upload {upload_id} did not begin as a partial one")
        if source.service != service:
            raise InvalidArgument(
                f"upload {upload_id} is at service {source.service!r}, and cannot be joined at "
                f"{service!r}"
            )
        if source.state in _LOST:
            raise UploadClosed(upload_id, source.state.value, "be joined")
        sources.append(source)
    known = sum(source.length or 0 for source in sources)
    if known > parts.MAX_LENGTH:
        raise LengthMismatch(
            f"the uploads to be joined have {known} bytes, and one may have {parts.MAX_LENGTH}"
        )
    return sources


def total_length(sources: Sequence[ChunkUpload]) -> int | None:
    """Bytes of all ``sources`` together; None while that of one is not known."""
    lengths = [source.length for source in sources]
    return None if None in lengths else sum(length or 0 for length in lengths)
