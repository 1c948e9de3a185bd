"""Whose uploads are open: asked where a principal may have so many, or so many bytes.

Counts nothing itself, and may know of an upload too many or too few: it protects.
"""

from __future__ import annotations

import time
from typing import Final, cast

from chunkferry import connection, keys
from chunkferry.config import Settings
from chunkferry.ledger.records import RedisRecords
from chunkferry.ledger.scripts import Scripts, milliseconds
from chunkferry.upload import ChunkUpload


class RedisPrincipals:
    """The uploads by principal."""

    def __init__(self, scripts: Scripts, records: RedisRecords, settings: Settings) -> None:
        self._client = scripts.client
        self._scripts = scripts
        self._records = records
        self._keep_ms: Final = milliseconds(settings.longest_life)

    def note(self, principal: str, upload_id: str) -> None:
        """An upload of ``principal`` has begun; see ``services.Principals``."""
        self._scripts.run(
            "note",
            {"principal": keys.principal(principal)},
            {
                "upload_id": upload_id,
                "began_at": int(time.time() * 1000),
                "keep_ms": self._keep_ms,
            },
        )

    def uploads_of(self, principal: str) -> list[ChunkUpload]:
        """The open uploads of ``principal``; see ``services.Principals``."""
        name = keys.principal(principal)
        with connection.translated():
            members = cast("list[bytes]", self._client.zrange(name, 0, -1))
        upload_ids = [member.decode() for member in members]
        found = self._records.snapshots(upload_ids)
        open_ = [upload for upload in found if upload is not None and not upload.has_ended]
        gone = {*upload_ids} - {upload.upload_id for upload in open_}
        if gone:
            with connection.translated():
                self._client.zrem(name, *gone)
        return open_
