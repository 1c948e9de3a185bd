"""``remove``: what happens to an upload that its client has no use for, however far it has come.

Knows no header. An object is deleted only where it carries the upload's id, and only while no
other upload can put its own there.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from chunkferry.errors import ChunkferryError, UploadClosed
from chunkferry.moves import Termination
from chunkferry.services import HeadService, Portable, Service
from chunkferry.state import State
from chunkferry.tus.door import Door
from chunkferry.upload import ChunkUpload

#: Between two looks at an upload that is being completed, in seconds.
_PAUSE: Final = 0.1


class NotDeletable(ChunkferryError):
    """The store of a complete upload lets nobody delete objects."""

    code = "not_deletable"
    http_status = 405

    def __init__(self, service: str) -> None:
        super().__init__(
            f"the store {service!r} cannot delete: a complete upload to it stays, "
            "only an unfinished one can be removed"
        )
        #: What an answer's ``Allow`` says (RFC 9110, section 15.5.6).
        self.headers = {"Allow": "GET, HEAD, PATCH, OPTIONS"}


class StillCompleting(ChunkferryError):
    """The object is just being made; neither that nor its removal can be had at this moment.

    423, because common clients repeat a DELETE after that.
    """

    code = "still_completing"
    http_status = 423
    retryable = True

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"upload {upload_id} is just being completed: try again when it is")


class Superseded(ChunkferryError):
    """Another upload to the same path has begun, and may replace the object at any moment."""

    code = "superseded"
    http_status = 409

    def __init__(self, upload_id: str) -> None:
        super().__init__(
            f"another upload to the path of {upload_id} has begun: its object will be replaced, "
            "and cannot be deleted before that"
        )


def require_there(upload: ChunkUpload) -> None:
    """Raise ``UploadClosed`` where the upload was removed, on request or because it expired."""
    if upload.is_removed:
        state = "terminated" if upload.termination else upload.state
        raise UploadClosed(upload.upload_id, state, "be used any more")


async def remove(door: Door, upload: ChunkUpload) -> None:
    """Have the upload removed, with all that is stored of it. Waits for a completion under way.

    An object goes at once, anything else when a worker comes to it.

    Raises:
        UploadClosed: it was removed before.
        StillCompleting: its completion takes longer than ``settings.http_ack_wait_seconds``.
        NotDeletable, Superseded: it is complete, and stays.
        ChunkferryError: Redis or the store did not answer; the same call again goes on.
    """
    if upload.termination != "begun":  # else a removal broke off, and is to be finished
        require_there(upload)
    deadline = time.monotonic() + door.settings.http_ack_wait_seconds
    while not await _is_removed(door, upload):
        if time.monotonic() + _PAUSE > deadline:
            raise StillCompleting(upload.upload_id)
        await asyncio.sleep(_PAUSE)
        upload = await door.call(door.manager.get, upload.upload_id)


async def _is_removed(door: Door, upload: ChunkUpload) -> bool:
    """Try it; False while the upload is just being completed."""
    if upload.is_complete:
        await door.fetch(_take_back, door, upload)
        return True
    try:
        await door.call(door.manager.cancel, upload.upload_id)
    except UploadClosed as exc:
        if exc.state not in {State.COMPLETING, State.COMPLETE}:
            raise
        return False
    return True


def _take_back(door: Door, upload: ChunkUpload) -> None:
    """Delete the object of a complete upload."""
    store = door.stores[upload.service]
    service = store.chunk_file_service()
    if not (isinstance(store, Service) and isinstance(service, Portable)):
        raise NotDeletable(upload.service)
    noted = door.manager.terminate(upload, deleted=False)
    service.restore(upload, upload.session)
    if service.find_object() is not None or _has_its_tag(store, upload):
        if noted is Termination.SUPERSEDED:
            raise Superseded(upload.upload_id)
        store.delete(upload.filepath)
    door.manager.terminate(upload, deleted=True)


def _has_its_tag(store: object, upload: ChunkUpload) -> bool:
    """True if the object is the version that the upload made: of a file, that is all there is."""
    if not isinstance(store, HeadService):
        return False
    head = store.head(upload.filepath)
    return head.exists and bool(upload.etag) and head.etag == upload.etag
