"""Where bytes wait whose checksum is not known to hold yet: in memory, on disk, or nowhere."""

from __future__ import annotations

import asyncio
import hashlib
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from chunkferry.errors import ChecksumMismatch
from chunkferry.parts import MIB
from chunkferry.tus.body import TooLarge
from chunkferry.tus.staging import Expected, StagingFailed, staged

#: More than waits in memory.
CONTENT = bytes(range(256)) * (12 * MIB // 256) + b"the end"


def expected(content: bytes) -> Expected:
    """What has to hold."""
    found = hashlib.sha256(content).hexdigest()
    return Expected(algorithms=("sha256",), digests=lambda: [("sha256", found)])


def result(content: bytes, *, checked: bytes = CONTENT, limit: int = 64 * MIB) -> bytes:
    """What comes out again of ``content``."""

    async def lumps() -> AsyncIterator[bytes]:
        for start in range(0, len(content), MIB):
            yield content[start : start + MIB]

    def call(function: Callable[..., Any], /, *args: Any) -> Awaitable[Any]:
        return asyncio.to_thread(function, *args)

    async def run() -> bytes:
        async with staged(lumps(), expected(checked), limit, call) as again:
            return b"".join([lump async for lump in again])

    return asyncio.run(run())


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file gets larger than what waits in memory, and a bit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9 * MIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_holds_comes_out_again() -> None:
    """All of it, be it on disk by then."""
    assert result(CONTENT) == CONTENT


def test_what_does_not_hold_does_not() -> None:
    """Not a byte of it."""
    with pytest.raises(ChecksumMismatch):
        result(CONTENT, checked=b"")


def test_it_is_bounded() -> None:
    """However much there is room for."""
    with pytest.raises(TooLarge):
        result(CONTENT, limit=MIB)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_nobodys_fault() -> None:
    """The client is to try again, which it does after a 503."""
    with pytest.raises(StagingFailed) as caught:
        result(CONTENT)
    assert (caught.value.http_status, caught.value.retryable) == (503, True)
    assert result(CONTENT[:MIB], checked=CONTENT[:MIB]) == CONTENT[:MIB]
