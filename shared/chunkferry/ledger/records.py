"""Questions about uploads; changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, cast

import redis

from chunkferry import connection, keys, stream
from chunkferry.config import Settings
from chunkferry.errors import ConfigError, UploadNotFound
from chunkferry.ledger.scripts import Question, Scripts, of
from chunkferry.parts import Grid
from chunkferry.stream import Event
from chunkferry.upload import ChunkUpload, from_hashes

#: Raised when older data can no longer be read.
_LAYOUT_VERSION: Final = 1


class RedisRecords:
    """What is known about the uploads."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._client = scripts.client
        self._waiting = connection.adopt(scripts.client)
        self._scripts = scripts
        self._shards = settings.shards
        self._layout: Final = json.dumps({"version": _LAYOUT_VERSION, "shards": settings.shards})

    def require_usable(self) -> None:
        """Make sure that Redis may hold uploads; agree with it on the number of shards.

        Raises:
            ConfigError: see ``connection.require_usable``; or the data has another layout.
            RedisUnavailable: it does not answer.
        """
        connection.require_usable(self._client)
        with connection.translated():
            # A full Redis refuses SET even where it would change nothing.
            if self._client.get(keys.LAYOUT) is None:
                self._client.set(keys.LAYOUT, self._layout, nx=True)
        self.require_layout()

    def require_layout(self) -> None:
        """Make sure that the uploads, if there are any, are where we would look for them.

        Raises:
            ConfigError: the data has another layout.
            RedisUnavailable: it does not answer.
        """
        with connection.translated():
            theirs = cast("bytes | None", self._client.get(keys.LAYOUT))
        if theirs is not None and theirs.decode() != self._layout:
            raise ConfigError(
                f"the uploads in this Redis have layout {theirs.decode()}, expected {self._layout}"
            )

    def get(self, upload_id: str) -> ChunkUpload:
        """The upload as it is now; raises ``UploadNotFound``."""
        (found,) = self.snapshots([upload_id])
        if found is None:
            raise UploadNotFound(upload_id)
        return found

    def get_all(self, upload_ids: Sequence[str]) -> list[ChunkUpload | None]:
        """Each upload as it is at one moment, in this order; None for those that are not known."""
        unique = list(dict.fromkeys(upload_ids))
        found = dict(zip(unique, self.snapshots(unique), strict=True))
        return [found[upload_id] for upload_id in upload_ids]

    def find(self, service: str, filepath: str) -> ChunkUpload | None:
        """The newest upload to a path, ended or not; None if there is none."""
        shard = keys.shard_of_path(service, filepath, self._shards)
        with connection.translated():
            newest = cast("bytes | None", self._client.get(keys.path(shard, service, filepath)))
        return self.snapshots([newest.decode()])[0] if newest else None

    def list_uploads(self) -> Iterator[ChunkUpload]:
        """All uploads that are known: ended ones until their records vanish."""
        for shard in range(self._shards):
            due = keys.due(shard)
            with connection.translated():
                batches = connection.served(self._client, due, partial(_members, shard))
            # An upload that ends meanwhile is in both.
            members = dict.fromkeys(member for batch in batches for member in batch)
            yield from filter(None, self.snapshots([member.decode() for member in members]))

    def grid(self, upload_id: str) -> Grid:
        """The part grid of an upload, which never changes; raises ``UploadNotFound``."""
        with connection.translated():
            text = cast("bytes | None", self._client.hget(keys.intake(upload_id), "grid"))
        if text is None:
            raise UploadNotFound(upload_id)
        return Grid.load(text.decode())

    def events(self, upload_id: str, after: str, block_ms: int | None = None) -> list[Event]:
        """What happened after the event ``after``; see ``stream.events``."""
        return stream.events(self._waiting, upload_id, after, block_ms)

    def last_event_id(self, upload_id: str) -> str:
        """The id of the newest event; "0" if there is none."""
        with connection.translated():
            newest = cast("list[Any]", self._client.xrevrange(keys.events(upload_id), count=1))
        return newest[0][0].decode() if newest else "0"

    def snapshots(self, upload_ids: Sequence[str]) -> list[ChunkUpload | None]:
        """Each upload as it is at one moment; None for those that are not known."""
        if not upload_ids:
            return []
        questions: list[Question] = [
            (of(upload_id, "intake", "work"), {}) for upload_id in upload_ids
        ]
        answers = self._scripts.ask("snapshot", questions)
        return [
            _snapshot(upload_id, answer)
            for upload_id, answer in zip(upload_ids, answers, strict=True)
        ]


def _members(shard: int, server: redis.Redis) -> list[list[bytes]]:
    """The uploads of a shard that have not ended, and those that have."""
    with server.pipeline(transaction=False) as pipe:
        pipe.zrange(keys.due(shard), 0, -1)
        pipe.zrange(keys.ended(shard), 0, -1)
        return pipe.execute()


def _snapshot(upload_id: str, answer: Sequence[Any]) -> ChunkUpload | None:
    match answer:
        case [b"found", now, intake, work]:
            return from_hashes(upload_id, fields(intake), fields(work), now)
    return None


def fields(flat: Sequence[bytes]) -> dict[str, str]:
    """A hash as scripts answer it: names and values in turn."""
    return {
        name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)
    }
