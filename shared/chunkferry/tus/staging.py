"""Where bytes wait whose checksum is not known to hold yet: in memory, or on disk if they are many.

Nothing of them is visible before it does; nothing of them is left if it does not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Any, Final, Protocol

from chunkferry import checksums
from chunkferry.tus.body import AHEAD, TooLarge

#: Bytes that wait in memory; more go to a temporary file.
_IN_MEMORY: Final = 2 * AHEAD


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
    """
    hashers = {name: checksums.hasher(name) for name in expected.algorithms}
    size = 0
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as waiting:

        def keep(lump: bytes) -> None:
            for hasher in hashers.values():
                hasher.update(lump)
            waiting.write(lump)

        async for lump in lumps:
            size += len(lump)
            if size > limit:
                raise TooLarge("a body with a checksum", limit)
            await call(keep, lump)
        for algorithm, digest in expected.digests():
            checksums.require_same(algorithm, digest, hashers[algorithm].hexdigest())

        async def again() -> AsyncIterator[bytes]:
            waiting.seek(0)
            while lump := await call(waiting.read, AHEAD):
                yield lump

        yield again()
