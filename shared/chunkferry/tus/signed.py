"""``SignedObjects``: serves the signed URLs of folders to whoever bears them.

A folder signs URLs (``base_url`` and ``secret_file`` of its own) and serves none; other stores
serve their own. The signature is all the permission there is: no token, no upload.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import BinaryIO, Final, cast
from urllib.parse import quote

from anyio import CapacityLimiter, fail_after, from_thread, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chunkferry.errors import ChunkferryError, UrlRefused
from chunkferry.storage.local import SignedRequest, SigningLocalStore
from chunkferry.tus import conditions, presentation, serving
from chunkferry.tus.answers import problem
from chunkferry.tus.body import TRICKLE, Disconnected, SlowBody, TooLarge
from chunkferry.tus.door import Door
from chunkferry.tus.protocol import WrongMediaType
from chunkferry.tus.sending import ObjectGone
from chunkferry.tus.serving import Offer

#: Files written at one time. Each holds a thread while its client sends: whoever sends much, or
#: slowly, should upload in chunks.
_WRITERS: Final = 16
#: Most bytes of one PUT, unless uploads may have less: what S3 allows.
_LARGEST: Final = 5 * 1024**3
#: Of the longest number of bytes that is taken for one.
_DIGITS: Final = 19


class TooManyWriters(ChunkferryError):
    """As many files are being written as may be at one time."""

    code = "too_many_writers"
    http_status = 503
    retryable = True
    #: Seconds.
    retry_after = 1.0

    def __init__(self) -> None:
        super().__init__(f"{_WRITERS} files are being written: try again when one is done")


class SignedObjects:
    """``GET``, ``HEAD`` and ``PUT`` of what is below the ``base_url`` of a configured folder.

    An ASGI application, to be mounted at each of ``base_paths()``.
    """

    def __init__(self, door: Door) -> None:
        self._door: Final = door
        self._writers: CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            response = await self._answer(Request(scope, receive, send))
        except Exception as exc:
            response = problem(exc)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        """What the URL of ``request`` allows.

        Raises:
            UrlRefused: it was not signed, not for this, or has expired.
            ObjectGone: there is no such file.
            TooLarge, TooManyWriters, WrongMediaType, Disconnected, SlowBody: nothing was stored.
            PreconditionFailed, StoreError: as ``serving.serve``.
        """
        store, signed = await self._door.call(self._verified, request.method, _target(request))
        if signed.method == "PUT":
            return await self._put(request, store, signed)
        found = await self._door.fetch(store.head, signed.filepath)
        if not found.exists:
            raise ObjectGone(signed.filepath)
        # Who signed may have named any type: the sandbox is what makes it harmless here.
        headers = {
            **presentation.SAFE,
            "Content-Type": signed.content_type or presentation.BYTES,
            "Content-Disposition": signed.disposition or "attachment",
        }
        offer = Offer(store=store, filepath=signed.filepath, found=found, headers=headers)
        return await serving.serve(self._door, request, offer)

    def base_paths(self) -> list[str]:
        """What the paths of such URLs begin with, such as ``/media/``."""
        return sorted({store.base_path for store in self._stores()})

    def _stores(self) -> list[SigningLocalStore]:
        stores = self._door.stores
        found = [stores[name] for name in stores.names if self._may_sign(name)]
        return [store for store in found if isinstance(store, SigningLocalStore)]

    def _may_sign(self, name: str) -> bool:
        # Nothing else is made for it: another store may have credentials only the workers have.
        return self._door.settings.services[name].startswith("file:")

    def _verified(self, method: str, target: str) -> tuple[SigningLocalStore, SignedRequest]:
        refused = UrlRefused("no folder is served here")
        for store in self._stores():
            try:
                return store, store.verify(method, target)
            except UrlRefused as exc:
                refused = exc
        raise refused

    async def _put(
        self, request: Request, store: SigningLocalStore, signed: SignedRequest
    ) -> Response:
        settings, given = self._door.settings, request.headers.get("content-type", "")
        limit = min(settings.http_max_size or _LARGEST, _LARGEST)
        if signed.content_type and signed.content_type != given:
            raise WrongMediaType(signed.content_type, given)
        # A server lets only numbers through; one that is too long to be read is too large.
        announced = request.headers.get("content-length", "0")
        if len(announced) > _DIGITS or int(announced) > limit:
            raise TooLarge("a file that comes in one request", limit)
        if self._writers is None:
            self._writers = CapacityLimiter(_WRITERS)
        if not self._writers.available_tokens:
            raise TooManyWriters
        body = cast("BinaryIO", _Body(request, limit, settings.http_body_timeout_seconds))
        await to_thread.run_sync(store.put, signed.filepath, body, limiter=self._writers)
        found = await self._door.fetch(store.head, signed.filepath)
        etag = conditions.validators(found.etag, None).etag
        return Response(status_code=HTTPStatus.OK, headers={"ETag": etag})


class _Body:
    """A request's body as a file that a worker thread reads; what it raises leaves no object."""

    def __init__(self, request: Request, limit: int, patience: float) -> None:
        self._chunks = request.stream()
        self._limit = limit
        self._patience = patience
        #: How long the client may still be waited for, until it has sent ``TRICKLE`` bytes more.
        self._left = patience
        self._since = 0
        self._count = 0
        self._rest = b""

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to ``size`` bytes, as they arrive; none at the end.

        Raises:
            TooLarge: there are more than may be.
            Disconnected, SlowBody: the client is gone, or sends next to nothing.
        """
        if not self._rest:
            self._rest = from_thread.run(self._arrived)
            self._count += len(self._rest)
        if self._count > self._limit:
            raise TooLarge("a file that comes in one request", self._limit)
        end = len(self._rest) if size is None or size < 0 else size
        taken, self._rest = self._rest[:end], self._rest[end:]
        return taken

    async def _arrived(self) -> bytes:
        began = time.monotonic()
        try:
            with fail_after(self._left):
                async for chunk in self._chunks:
                    if chunk:
                        self._spend(time.monotonic() - began, len(chunk))
                        return chunk
        except ClientDisconnect as exc:
            raise Disconnected("the client went away before its body ended") from exc
        except TimeoutError as exc:
            raise SlowBody(self._patience) from exc
        return b""

    def _spend(self, seconds: float, size: int) -> None:
        self._left -= seconds
        self._since += size
        if self._since >= TRICKLE:
            self._since, self._left = 0, self._patience


def _target(request: Request) -> str:
    """Path and query, as they were signed: percent-encoded, and with what an app is mounted at."""
    path: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    return f"{path.decode('latin-1')}?{request.scope['query_string'].decode('latin-1')}"
