"""``Downloads``: the finished object, under the URL of its upload.

Serves exactly the object that the upload has made, or sends the client to a signed URL of it.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from chunkferry.errors import ChunkferryError, ConfigError, StoreError, UploadClosed
from chunkferry.services import (
    ChunkStore,
    HeadInfo,
    HeadService,
    Portable,
    SignedUrlConfig,
    SignedUrlService,
    StoredObject,
)
from chunkferry.state import State
from chunkferry.tus import presentation, serving
from chunkferry.tus.door import Door
from chunkferry.tus.hooks import Action
from chunkferry.tus.removal import require_there
from chunkferry.tus.sending import ObjectGone
from chunkferry.tus.serving import Offer
from chunkferry.upload import ChunkUpload

log = logging.getLogger(__name__)

#: How long a signed URL that a client is sent to can be begun with. Whoever resumes a download
#: comes back to the upload's URL first, and gets a new one.
_URL_LIFETIME: Final = timedelta(minutes=5)
#: State -> status of the answer, and seconds after which to ask again.
_NOT_YET: Final = {
    # The client has to send more, and no waiting of servers changes that.
    State.RECEIVING: (HTTPStatus.CONFLICT, 5.0),
    State.FAILED: (HTTPStatus.CONFLICT, 60.0),
    # A matter of moments, after which curl --retry, urllib3 and their like ask again by
    # themselves: they do so after 503, and after neither 409 nor 425.
    State.RECEIVED: (HTTPStatus.SERVICE_UNAVAILABLE, 1.0),
    State.COMPLETING: (HTTPStatus.SERVICE_UNAVAILABLE, 1.0),
}


class NotCompleteYet(ChunkferryError):
    """There is no object yet."""

    code = "not_complete_yet"
    http_status = 409
    retryable = True

    def __init__(self, upload: ChunkUpload, status: int, retry_after: float) -> None:
        total = "?" if upload.length is None else upload.length
        super().__init__(
            f"the upload is not complete, its state is {upload.state}: {upload.received} of "
            f"{total} bytes received, {upload.stored} stored"
        )
        #: 409 while bytes or a person's decision are missing, 503 while the rest is being stored.
        self.status = int(status)
        #: Seconds.
        self.retry_after = retry_after


class Downloads:
    """``GET`` of an upload's URL."""

    def __init__(self, door: Door) -> None:
        self._door: Final = door

    async def get(self, request: Request) -> Response:
        """The object; with ``?inline`` shown instead of saved, where that is harmless.

        Raises:
            UploadNotFound, NotPermitted: as ``Door.upload``.
            NotCompleteYet: later.
            UploadClosed: never, for the upload was given up.
            ObjectGone: it was removed or replaced since.
            PreconditionFailed, NotReadable, StoreError: as ``serving.serve``.
        """
        upload = await self._door.upload(request, Action.DOWNLOAD)
        require_there(upload)
        _require_complete(upload)
        store = await self._door.fetch(self._store, upload)
        found = await self._door.fetch(_object_of, store, upload)
        shown = presentation.presented(
            upload, found.content_type, inline="inline" in request.query_params
        )
        if self._door.settings.http_download == "redirect":
            url = await self._door.fetch(_signed_url, store, upload.filepath, shown)
            if url:
                return _see(url)
        offer = Offer(
            store=store,
            filepath=upload.filepath,
            found=found,
            headers=presentation.headers(shown),
        )
        return await serving.serve(self._door, request, offer)

    def _store(self, upload: ChunkUpload) -> serving.Readable:
        return serving.require_readable(self._door.stores[upload.service])


def _require_complete(upload: ChunkUpload) -> None:
    if upload.state in _NOT_YET:
        raise NotCompleteYet(upload, *_NOT_YET[upload.state])
    if upload.state is not State.COMPLETE:
        raise UploadClosed(upload.upload_id, upload.state, "be downloaded")


def _object_of(store: serving.Readable, upload: ChunkUpload) -> HeadInfo:
    """The facts about the object that ``upload`` has made.

    Another upload may have replaced it since, of somebody else: that one is not for whoever may
    read this one.

    Raises:
        ObjectGone: it is not there any more.
    """
    if not isinstance(store, HeadService):
        made = _made(store, upload)
        if made is None:
            raise ObjectGone(upload.filepath)
        return HeadInfo(exists=True, content_length=made.size)
    found = store.head(upload.filepath)
    if not found.exists:
        raise ObjectGone(upload.filepath)
    is_the_same = bool(upload.etag) and (found.etag, found.content_length) == (
        upload.etag,
        upload.length,
    )
    # A store's tag also changes with a type or metadata; the upload's id in it does not.
    if not is_the_same and _made(store, upload) is None:
        raise ObjectGone(upload.filepath)
    return found


def _made(store: ChunkStore, upload: ChunkUpload) -> StoredObject | None:
    """The object at the path, if it carries the upload's id."""
    service = store.chunk_file_service()
    if not isinstance(service, Portable):
        return None
    service.restore(upload, "")
    return service.find_object()


def _signed_url(store: ChunkStore, filepath: str, shown: SignedUrlConfig) -> str:
    """A signed URL of the object; empty where the store makes none."""
    if not isinstance(store, SignedUrlService):
        return ""
    try:
        return store.signed_url(filepath, _URL_LIFETIME, shown)
    except (ConfigError, StoreError) as exc:
        log.warning(
            "No signed URL can be made, so the front door serves an object itself: %s",
            exc.code,
            extra={"action": "download", "error": exc.code},
        )
        return ""


def _see(url: str) -> Response:
    """Send the client to ``url``, which is a secret: nobody keeps it, or tells it to others."""
    answer = RedirectResponse(url, status_code=HTTPStatus.TEMPORARY_REDIRECT)
    # As it was signed; Starlette would quote it once more.
    answer.headers["Location"] = url
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer
