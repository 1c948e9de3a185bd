"""Uploads that are joined from others, and those others: when to look at them, and their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from chunkferry import connection, keys
from chunkferry.config import Settings
from chunkferry.ledger.agenda import ripe
from chunkferry.ledger.scripts import Question, Scripts, milliseconds, of
from chunkferry.upload import ChunkUpload


class RedisJoins:
    """The joining side of the ledger; see ``services.Joins``."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._settings = settings
        # Enough for the sweep to come, whatever was down meanwhile.
        self._ttl_ms = milliseconds(settings.incomplete_upload_expiry + settings.result_ttl)
        self._grave_ms = milliseconds(settings.grave_delay)

    def due(self, limit: int = 100) -> list[str]:
        """Joined uploads to look at now, up to ``limit`` of each shard."""
        return ripe(self._scripts, keys.joins, self._settings.shards, limit)

    def linger(self, upload_id: str, pause: timedelta, *, waiting: bool = False) -> None:
        """Look again after ``pause``; see ``services.Joins``."""
        self._scripts.run(
            "linger",
            of(upload_id, "intake", "joins"),
            {
                "upload_id": upload_id,
                "pause_ms": milliseconds(pause),
                "waiting": int(waiting),
            },
        )

    def forget(self, upload_id: str) -> None:
        """Nothing is left to be done for a joined upload."""
        with connection.translated():
            self._scripts.client.zrem(keys.joins(keys.shard_of(upload_id)), upload_id)

    def link(self, partial_ids: Sequence[str], final_id: str) -> None:
        """Note where partial uploads go; see ``services.Joins``."""
        # Asked as a question: the same call again changes nothing.
        self._scripts.ask(
            "link", [(of(upload_id, "intake"), {"final": final_id}) for upload_id in partial_ids]
        )

    def give_up(self, upload_id: str, error_code: str, error: str) -> bool:
        """Fail a joined upload; see ``services.Joins``."""
        outcome, *_ = self._scripts.run(
            "give_up",
            of(upload_id, "intake", "work", "due", "events", "filling", "telling"),
            {
                "upload_id": upload_id,
                "error_code": error_code,
                "error": error,
                "failed_ms": milliseconds(self._settings.failed_upload_expiry),
            },
        )
        return outcome == "failed"

    def spent(self, limit: int = 100) -> list[str]:
        """Partial uploads whose objects may be removed, up to ``limit`` of each shard."""
        return ripe(self._scripts, keys.partials, self._settings.shards, limit)

    def keep(self, uploads: Sequence[ChunkUpload], span: timedelta, final_id: str = "") -> None:
        """Keep partial uploads for ``span`` from now; see ``services.Joins``."""
        more: dict[str, str | int] = {
            "final": final_id,
            "keep_ms": milliseconds(span),
            "ttl_ms": self._ttl_ms,
        }
        self._scripts.ask("keep", [_question(upload, more) for upload in uploads])  # as above

    def spend(self, uploads: Sequence[ChunkUpload], final_id: str, *, whole: bool) -> None:
        """Note that partial uploads are not needed; see ``services.Joins``."""
        more: dict[str, str | int] = {
            "final": final_id,
            "whole": int(whole),
            "ttl_ms": self._ttl_ms,
            "grave_ms": self._grave_ms,
        }
        self._scripts.ask("spend", [_question(upload, more) for upload in uploads])  # as above

    def discard(self, upload: ChunkUpload) -> None:
        """Forget a partial upload that has ended; see ``services.Joins``."""
        self._scripts.run("discard", *_question(upload, {}))

    def forget_partial(self, upload_id: str) -> None:
        """Nothing is known of a partial upload any more."""
        with connection.translated():
            self._scripts.client.zrem(keys.partials(keys.shard_of(upload_id)), upload_id)


def _question(upload: ChunkUpload, more: Mapping[str, str | int]) -> Question:
    """A question about a partial upload: the keys of its record, and its id."""
    shard = keys.shard_of(upload.upload_id)
    names = of(upload.upload_id, "intake", "work", "events", "ended", "partials")
    names["path"] = keys.path(shard, upload.service, upload.filepath)
    return names, {"upload_id": upload.upload_id, **more}
