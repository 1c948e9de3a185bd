"""The producers' moves: begin, add bytes, tell the length, cancel, requeue."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast

import redis
from redis.exceptions import WatchError

from chunkferry import connection, keys, lua, stream
from chunkferry.config import Settings
from chunkferry.errors import (
    Backpressure,
    ChunkferryError,
    LengthMismatch,
    OffsetMismatch,
    RedisFull,
    TooManyUploads,
    UploadClosed,
    UploadInProgress,
    UploadNotFound,
)
from chunkferry.ledger.batch import Batch
from chunkferry.ledger.durability import Durability
from chunkferry.ledger.gauge import UNLIMITED, MemoryGauge
from chunkferry.ledger.scripts import Scripts, UnexpectedAnswer, milliseconds, of
from chunkferry.moves import Accepted, Created, Draft, Termination
from chunkferry.parts import Grid
from chunkferry.upload import ChunkUpload

#: The keys of ``create``, beside those of the path.
_CREATED: Final = ("intake", "work", "due", "events", "joins", "partials", "telling")
#: Progress of receiving is told at most this often, in milliseconds.
_TOLD_EVERY: Final = 200
#: A producer that has to wait tries again after so many seconds.
_RETRY_AFTER: Final = 0.1
#: How long a count of open uploads is believed, in seconds, and up to which share of the limit.
_COUNT_EVERY: Final = 1.0
_NEAR: Final = 0.8
#: Transactions in a row that may be undone; the pauses between them, doubling, take about 4 s.
_CONFLICTS: Final = 8
_PAUSE: Final = 0.008


class RedisIntake:
    """The producers' side of the ledger."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._settings = settings
        self._durability = Durability(scripts, settings)
        self._memory = MemoryGauge(
            scripts.client, settings.memory_share, settings.shards, limit=settings.memory_limit
        )
        self._rewake_ms = milliseconds(settings.rewake_seconds)
        self._counted = -math.inf, 0

    def create(self, draft: Draft) -> Created:
        """Begin an upload; see ``services.Intake``."""
        shard = keys.shard_of_path(draft.service, draft.filepath, self._settings.shards)
        upload_id = keys.new_upload_id(shard)
        path = keys.path(shard, draft.service, draft.filepath)
        with connection.translated():
            newest = (cast("bytes | None", self._scripts.client.get(path)) or b"").decode()
        limit = self._settings.max_open_uploads
        open_uploads = self._open_uploads() if limit else 0
        while True:
            answer = self._create(draft, upload_id, path, newest, full=0 < limit <= open_uploads)
            match answer:
                case ["created", wake]:
                    counted_at, count = self._counted
                    self._counted = counted_at, count + 1
                    return Created(upload_id=upload_id, wake=wake == "1", existed=False)
                case ["same", existing]:
                    return Created(upload_id=existing, wake=False, existed=True)
                case ["occupied", existing, state]:
                    raise UploadInProgress(draft.filepath, existing, state)
                case ["moved", newest]:
                    continue
                case ["full"]:
                    raise TooManyUploads(open_uploads, limit)
            raise UnexpectedAnswer("create", answer)

    def _open_uploads(self) -> int:
        """How many uploads have not ended, or had not a moment ago where there is room for many.

        Many that begin at once may pass the limit by their number: it protects, it does not count.
        """
        counted_at, count = self._counted
        is_near = count >= self._settings.max_open_uploads * _NEAR
        if is_near or time.monotonic() - counted_at > _COUNT_EVERY:
            due = [keys.due(shard) for shard in range(self._settings.shards)]
            with connection.translated():
                count = sum(connection.each(self._scripts.client, due, _sizes))
            self._counted = time.monotonic(), count
        return count

    def _create(
        self, draft: Draft, upload_id: str, path: str, newest: str, *, full: bool
    ) -> list[str]:
        return self._scripts.run(
            "create",
            {
                **of(upload_id, *_CREATED),
                "path": path,
                # A path without an upload still has to name a key of its slot.
                "previous": keys.intake(newest or upload_id),
            },
            {
                "upload_id": upload_id,
                "expected": newest,
                "service": draft.service,
                "filepath": draft.filepath,
                "length": -1 if draft.length is None else draft.length,
                "grid": draft.grid.dump(),
                "first_boundary": draft.grid.boundary(0),
                "window": self._settings.window,
                "idle_ms": milliseconds(draft.expiry),
                "content_type": draft.content_type,
                "metadata": json.dumps(dict(draft.metadata)),
                "notes": json.dumps(dict(draft.notes)),
                "lasting_ms": milliseconds(draft.lasting) if draft.lasting else 0,
                "sources": json.dumps(draft.sources) if draft.sources else "",
                "keep_ms": milliseconds(draft.keep) if draft.keep else 0,
                "token": draft.idempotency_key,
                "full": int(full),
                "rewake_ms": self._rewake_ms,
                # A partial upload is nobody's file.
                "tells": int(self._settings.tells and draft.keep is None),
            },
        )

    def append(
        self, upload_id: str, start: int, pieces: Sequence[memoryview], grid: Grid
    ) -> Accepted:
        """Accept bytes, all or none; see ``services.Intake``."""
        batch = Batch(upload_id, start, pieces, grid)
        try:
            with connection.translated():
                return self._append(batch)
        except RedisFull as exc:
            self._stay_alive(batch)
            raise RedisFull(start) from exc

    def _append(self, batch: Batch) -> Accepted:
        in_doubt = False

        def append(server: redis.Redis) -> Accepted:
            nonlocal in_doubt
            conflicts = 0
            while True:
                try:
                    return self._attempt(server, batch, in_doubt=in_doubt)
                except WatchError:
                    # Somebody else wrote; or the connection was lost, or Sentinels still lead to
                    # the old primary, which redis-py tells the same way: either way admit knows
                    # how things stand.
                    in_doubt = True
                    conflicts += 1
                    if conflicts > _CONFLICTS:
                        raise
                    time.sleep(_PAUSE * 2**conflicts if conflicts > 1 else 0)
                except redis.ConnectionError:
                    # A lost answer leaves open whether the bytes were accepted: asking again
                    # tells.
                    if in_doubt:
                        raise
                    in_doubt = True

        return connection.served(self._scripts.client, keys.intake(batch.upload_id), append)

    def _attempt(self, server: redis.Redis, batch: Batch, *, in_doubt: bool) -> Accepted:
        """One transaction; ``in_doubt`` if an earlier one may have gone through."""
        with server.pipeline(transaction=True) as transaction:
            transaction.watch(keys.intake(batch.upload_id))  # type: ignore[no-untyped-call]  # redis-py
            admission = self._scripts["admit"].run(
                transaction,
                of(batch.upload_id, "intake", "work"),
                batch.questions(
                    self._memory.room(batch.upload_id) if batch.needs_room else UNLIMITED
                ),
            )
            received = self._settle(batch, admission)
            if received is not None:
                # The wake-up that went with an answer that was lost was lost as well.
                return Accepted(received=received, wake=in_doubt)
            transaction.multi()
            stream.push(transaction, batch.upload_id, batch.start, batch.pieces)
            transaction.execute_command(*self._accept(batch))  # type: ignore[no-untyped-call]  # redis-py
            answer = lua.texts(transaction.execute()[-1])
        if answer[0] != "accepted":
            raise UnexpectedAnswer("accept", answer)
        added = batch.finish - batch.start
        return Accepted(received=batch.finish, wake=answer[1] == "1", added=added)

    def _stay_alive(self, batch: Batch) -> None:
        """Redis was full only at the end: tell it that this producer waits, and is not silent."""
        with suppress(ChunkferryError):
            names = of(batch.upload_id, "intake", "work")
            self._scripts.run("admit", names, {**batch.questions(0), "begins": 1})

    def _accept(self, batch: Batch) -> tuple[str | int, ...]:
        return self._scripts["accept"].command(
            of(batch.upload_id, "intake", "work", "due", "events", "filling", "telling"),
            {
                "upload_id": batch.upload_id,
                "start": batch.start,
                "finish": batch.finish,
                "part_end": batch.part_end,
                "crc32c": batch.crc32c,
                "rewake_ms": self._rewake_ms,
                "told_every_ms": _TOLD_EVERY,
            },
            whole=True,
        )

    def _settle(self, batch: Batch, admission: list[str]) -> int | None:
        """What ``admit`` says: None to go on, the offset if it knows these bytes, or an error."""
        match admission:
            case ["admitted"]:
                return None
            case ["known", received, *last, stored]:
                batch.require_same(last, int(stored), self._scripts.client)
                return int(received)
            case ["unknown"]:
                raise UploadNotFound(batch.upload_id)
            case ["closed", state]:
                raise UploadClosed(batch.upload_id, state)
            case ["mismatch", received]:
                raise OffsetMismatch(int(received), batch.start)
            case ["too_long", length]:
                raise LengthMismatch(
                    f"the file was announced with {length} bytes, "
                    f"but this data ends at byte {batch.finish}"
                )
            case ["wait", received]:
                raise Backpressure(int(received), _RETRY_AFTER)
        raise UnexpectedAnswer("admit", admission)

    def set_length(self, upload_id: str, length: int) -> bool:
        """Say how long the file is; see ``services.Intake``."""
        answer = self._scripts.run(
            "set_length",
            of(upload_id, "intake", "work", "due", "events", "telling"),
            {"upload_id": upload_id, "length": length, "rewake_ms": self._rewake_ms},
        )
        match answer:
            case ["set", wake]:
                return wake == "1"
            case ["same"]:
                return False
            case ["unknown"]:
                raise UploadNotFound(upload_id)
            case ["closed", state]:
                raise UploadClosed(upload_id, state, "change its length")
            case ["conflict", known]:
                raise LengthMismatch(f"the length was announced as {known} bytes, not {length}")
            case ["below", received]:
                raise LengthMismatch(
                    f"{received} bytes are received already, the length cannot be {length}"
                )
        raise UnexpectedAnswer("set_length", answer)

    def ensure_durable(self, upload_id: str, received: int, length: int | None = None) -> None:
        """Wait for disk and replicas; see ``services.Intake``."""
        self._durability.wait(upload_id, received, length)

    def require_durability(self) -> None:
        """Raise ``ConfigError`` unless the server can be as durable as the settings ask."""
        self._durability.require()

    def cancel(self, upload_id: str) -> bool:
        """Have the upload removed; see ``services.Intake``."""
        answer = self._scripts.run(
            "cancel",
            of(upload_id, "intake", "work", "parts", "due", "events", "filling", "telling"),
            {"upload_id": upload_id, "rewake_ms": self._rewake_ms},
        )
        match answer:
            case ["cancelled"]:
                return True
            case ["same"]:
                return False
            case ["unknown"]:
                raise UploadNotFound(upload_id)
            case ["closed", state]:
                raise UploadClosed(upload_id, state, "be cancelled")
        raise UnexpectedAnswer("cancel", answer)

    def terminate(self, upload: ChunkUpload, *, deleted: bool) -> Termination:
        """Note that an object is about to be deleted, or has been; see ``services.Intake``."""
        shard = keys.shard_of(upload.upload_id)
        answer = self._scripts.run(
            "terminate",
            {
                **of(upload.upload_id, "intake"),
                "path": keys.path(shard, upload.service, upload.filepath),
            },
            {"upload_id": upload.upload_id, "deleted": int(deleted)},
        )
        match answer:
            case ["unknown"]:
                raise UploadNotFound(upload.upload_id)
            case ["closed", state]:
                raise UploadClosed(upload.upload_id, state, "be taken back")
        return Termination(answer[0])

    def requeue(self, upload_id: str) -> bool:
        """Give a failed upload another chance; see ``services.Intake``."""
        answer = self._scripts.run(
            "requeue",
            of(upload_id, "intake", "work", "due", "events", "joins", "telling"),
            {
                "upload_id": upload_id,
                "token": secrets.token_hex(8),
                "rewake_ms": self._rewake_ms,
            },
        )
        match answer:
            case ["requeued", wake]:
                return wake == "1"
            case ["unknown"]:
                raise UploadNotFound(upload_id)
            case ["closed", state]:
                raise UploadClosed(upload_id, state, "be requeued")
        raise UnexpectedAnswer("requeue", answer)


def _sizes(server: redis.Redis, names: Sequence[str]) -> list[int]:
    """The sizes of sorted sets that are on one server."""
    with server.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.zcard(name)
        return pipe.execute()
