"""Partial uploads that nobody needs any more: their objects and records are removed.

Does not decide when that is; the ledger's agenda says so.
"""

from __future__ import annotations

import logging

from chunkferry.config import Settings
from chunkferry.errors import UploadNotFound
from chunkferry.services import Ledger, Service
from chunkferry.storage import Stores
from chunkferry.upload import ChunkUpload
from chunkferry_worker import unforeseen

log = logging.getLogger(__name__)


class Partials:
    """Removes partial uploads, one a call. Thread-safe."""

    def __init__(self, ledger: Ledger, stores: Stores, settings: Settings) -> None:
        self._ledger = ledger
        self._stores = stores
        self._settings = settings

    def remove(self, upload_id: str) -> bool:
        """Remove one whose time has come; True if it was complete.

        Raises:
            StoreError, ConfigError: its store does not let it go; the same call may later.
            RedisUnavailable: nobody can tell.
        """
        joins = self._ledger.joins
        try:
            upload = self._ledger.records.get(upload_id)
        except UploadNotFound:
            log.warning(
                "The record of a partial upload vanished before its object was removed; it is "
                "left to reconcile.",
                extra={"action": "discard", "upload_id": upload_id},
            )
            joins.forget_partial(upload_id)
            return False
        if not upload.has_ended:
            # It ends by itself one day, by its producer's silence if by nothing else.
            joins.keep([upload], self._settings.incomplete_upload_expiry)
            return False
        if upload.is_complete:
            self._remove_object(upload)
        joins.discard(upload)
        return upload.is_complete

    def _remove_object(self, upload: ChunkUpload) -> None:
        # Its path is nobody else's, and is never used again: no need to look whose object it is.
        with unforeseen.of_store(upload.service):
            store = self._stores[upload.service]
            if isinstance(store, Service):
                store.delete(upload.filepath)
        log.info(
            "Removed the object of a partial upload that nobody needs any more.",
            extra={"action": "discard", "upload_id": upload.upload_id},
        )
