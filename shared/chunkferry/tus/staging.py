"""Where bytes wait whose checksum is not known to hold yet: in memory, or on disk if they are many.

Nothing of them is visible before it does; nothing of them is left if it does not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Any, Final, Protocol

from chunkferry import checksums
from chunkferry.errors import ChunkferryError
from chunkferry.tus.body import AHEAD, TooLarge

#: Bytes that wait in memory; more go to a temporary file.
_IN_MEMORY: Final = 2 * AHEAD


class StagingFailed(ChunkferryError):
    """There is no room on this machine for a body that has to wait as a whole."""

    code = "staging_failed"
    http_status = 503
    retryable = True

    def __init__(self) -> None:
        super().__init__(
            "there is no room now for a body with a checksum, which has to wait until it holds: "
            "try again later, or with less at a time"
        )


class Call(Protocol):
    """Runs a blocking function elsewhere; see ``Door.call``."""

    def __call__(self, function: Callable[..., Any], /, *args: Any) -> Awaitable[Any]:
        """Await it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Checksums that a body has to have."""

    #: Algorithms that may be asked for at the end; see ``checksums.ALGORITHMS``.
    algorithms: tuple[str, ...]
    #: What has to hold, as algorithm and hexadecimal digest; asked once the body has ended.
    digests: Callable[[], list[tuple[str, str]]]


@asynccontextmanager
async def staged(
    lumps: AsyncIterator[bytes], expected: Expected, limit: int, call: Call
) -> AsyncIterator[AsyncIterator[bytes]]:
    """The same bytes again, once all have come and their checksums hold.

    Args:
        lumps: the body.
        expected: what has to hold.
        limit: bytes that may wait.
        call: runs what blocks.

    Raises:
        ChecksumMismatch: one does not.
        TooLarge: more than ``limit`` bytes.
        StagingFailed: the disk is full.
    """
    hashers = {name: checksums.hasher(name) for name in expected.algorithms}
    size = 0
    with _temporary() as waiting:

        def keep(lump: bytes) -> None:
            for hasher in hashers.values():
                hasher.update(lump)
            with _room():
                waiting.write(lump)

        async for lump in lumps:
            size += len(lump)
            if size > limit:
                raise TooLarge("a body with a checksum", limit)
            await call(keep, lump)
        with _room():
            waiting.seek(0)  # writes what is left in its buffer
        for algorithm, digest in expected.digests():
            checksums.require_same(algorithm, digest, hashers[algorithm].hexdigest())

        async def again() -> AsyncIterator[bytes]:
            while lump := await call(waiting.read, AHEAD):
                yield lump

        yield again()


@contextmanager
def _temporary() -> Iterator[SpooledTemporaryFile[bytes]]:
    waiting = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closing may fail, too
    try:
        yield waiting
    finally:
        # It may try once more to write what found no room.
        with suppress(OSError):
            waiting.close()


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StagingFailed from exc
