"""``ChunkManager``: the producer's object. Starts uploads, accepts their bytes, tells the news.

Knows no store and does no upload itself: it writes to the ledger and sends wake-ups.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import BinaryIO, Final

import redis as redis_py
from redis.cluster import RedisCluster

from chunkferry import config, connection, families, parts, sources, wakeup
from chunkferry.config import Settings
from chunkferry.errors import (
    InvalidArgument,
    LengthMismatch,
    MissingExtra,
    NotDurable,
    RedisUnavailable,
    UnknownService,
    UploadClosed,
    UploadNotFound,
)
from chunkferry.filepath import check_destination, check_filepath, new_partial
from chunkferry.ledger import RedisLedger
from chunkferry.metadata import check_content_type, check_idempotency_key, check_metadata
from chunkferry.moves import Created, Draft, Termination
from chunkferry.news import News
from chunkferry.notifier import Notifier
from chunkferry.sender import Sender
from chunkferry.services import Ledger, Waker
from chunkferry.state import State
from chunkferry.tally import Tally
from chunkferry.upload import ChunkUpload

#: What Redis takes for the id of a stream's entry.
_EVENT_ID: Final = re.compile(r"[0-9]{1,19}(-[0-9]{1,19})?")


class ChunkManager:
    """Producers' access to chunkferry. Thread-safe, cheap; from asyncio use a worker thread."""

    def __init__(
        self,
        redis: str | redis_py.Redis | RedisCluster | None = None,
        *,
        chunk_size_limit: int | None = None,
        incomplete_upload_expiry: timedelta | None = None,
        service: str = "default",
        settings: Settings | None = None,
        waker: Waker | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """Connect on first use.

        Args:
            redis: URL or client of the uploads' Redis; default ``settings.redis_url``.
            chunk_size_limit: preferred part size in bytes, instead of the setting.
            incomplete_upload_expiry: silence after which an upload is given up, instead of the
                setting.
            service: the store that uploads go to unless they name another.
            settings: default: what the ``CHUNKFERRY_…`` variables say.
            waker: sends wake-ups; default: through Celery.
            ledger: default: in Redis. Tests may pass ``chunkferry.testing.MemoryLedger``.

        Raises:
            ConfigError: a setting is unusable.
        """
        changes: dict[str, object] = {}
        if chunk_size_limit is not None:
            changes["chunk_size_limit"] = chunk_size_limit
        if incomplete_upload_expiry is not None:
            changes["incomplete_upload_expiry"] = incomplete_upload_expiry
        if redis is not None:
            # Wake-ups and an embedded uploader need the address too, not only the client.
            changes["redis_url"] = redis if isinstance(redis, str) else connection.url_of(redis)
        self.settings = (settings or config.load()).changed(**changes)
        self.service = service
        self._ledger = ledger or _ledger(redis, self.settings)
        self._tally = Tally(self._ledger.totals)
        self._sender = Sender(self._ledger, self.settings, self._wake, self._tally)
        self._waker = waker
        self._ready = False
        self._stop = threading.Event()

    # --- the whole vocabulary ----------------------------------------------------------------

    @property
    def chunk_size(self) -> int:
        """Preferred part size in bytes."""
        return self.settings.chunk_size_limit

    def put_with_status(
        self,
        filepath: str,
        filesize: int | None,
        reader: BinaryIO,
        *,
        service: str | None = None,
        content_type: str = "",
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str = "",
        background: bool = False,
    ) -> Notifier:
        """Start an upload and send what ``reader`` holds.

        The reader may hold less than ``filesize`` bytes: send the rest with
        ``resume_put_with_status``. With ``filesize`` None, say the length with ``set_length``
        once it is known; the upload cannot complete before.

        Args:
            filepath: where the object goes, relative to the store's root.
            filesize: bytes of the whole file, or None.
            reader: read until its end; short reads are fine.
            service: name of the store.
            content_type: the object's MIME type.
            metadata: kept with the object where the store can.
            idempotency_key: the same key for the same path continues the same upload: bytes that
                were received before are compared and acknowledged. An upload that was cancelled
                or has expired is begun anew; one that failed is requeued.
            background: return at once and send from a thread; a failure to send is then the
                notifier's ``Error``.

        Returns:
            The news of the upload, from its beginning.

        Raises:
            UploadInProgress: another upload to the path has not ended.
            ChunkferryError: as ``create`` and ``append``; what was accepted is kept.
        """
        upload = self.create(
            filepath,
            filesize,
            service=service,
            content_type=content_type,
            metadata=metadata,
            idempotency_key=idempotency_key,
        )
        notifier = Notifier(self._ledger.records, upload.upload_id, after="0")
        if upload.state is State.FAILED:
            self._revive(upload.upload_id)
        self._send(upload, 0, reader, notifier, background=background)
        return notifier

    def resume_put_with_status(
        self,
        filepath: str,
        reader: BinaryIO,
        *,
        service: str | None = None,
        background: bool = False,
    ) -> Notifier:
        """Send more data: ``reader`` holds what follows the received bytes.

        A failed upload is requeued first.

        Raises:
            UploadNotFound: no upload to the path takes data.
            ChunkferryError: as ``append``; what was accepted is kept.
        """
        upload = self.get_incomplete_upload(filepath, service=service)
        if upload is None or upload.state is State.ABORTING:
            raise UploadNotFound(filepath)
        if upload.state is State.FAILED:
            self._revive(upload.upload_id)
        notifier = Notifier(self._ledger.records, upload.upload_id)
        self._send(upload, upload.received, reader, notifier, background=background)
        return notifier

    def get_incomplete_upload(
        self, filepath: str, *, service: str | None = None
    ) -> ChunkUpload | None:
        """The upload to ``filepath`` that has not ended, or None."""
        upload = self.find_upload(filepath, service=service)
        return None if upload is None or upload.has_ended else upload

    def find_upload(self, filepath: str, *, service: str | None = None) -> ChunkUpload | None:
        """The newest upload to ``filepath``, ended or not; None if there is none."""
        self.init()
        return self._ledger.records.find(service or self.service, check_filepath(filepath))

    def upload_exists(self, filepath: str, *, service: str | None = None) -> bool:
        """True if an upload to ``filepath`` has not ended."""
        return self.get_incomplete_upload(filepath, service=service) is not None

    # --- for backends that drive requests themselves -----------------------------------------

    def create(
        self,
        filepath: str,
        filesize: int | None = None,
        *,
        service: str | None = None,
        content_type: str = "",
        metadata: Mapping[str, str] | None = None,
        notes: Mapping[str, str] | None = None,
        idempotency_key: str = "",
        lasting: timedelta | None = None,
    ) -> ChunkUpload:
        """Begin an upload; see ``put_with_status`` for the arguments it shares with that.

        Args:
            filepath: where the object goes, relative to the store's root.
            filesize: bytes of the whole file, or None.
            service: name of the store.
            content_type: the object's MIME type.
            metadata: kept with the object where the store can.
            notes: kept with the upload's record, not with the object: whose it is, say.
            idempotency_key: the same key for the same path continues the same upload.
            lasting: how long receiving may take in all, however busy the producer is; None for
                any time.

        Raises:
            InvalidPath, InvalidArgument, LengthMismatch, UnknownService: nothing was begun.
            UploadInProgress: another upload to the path has not ended.
            TooManyUploads: as many uploads are open as may be.
            Backpressure, RedisUnavailable, ConfigError: Redis is full, gone, or unfit.
            NotDurable: it was begun, and may still get lost. Go on with its ``upload_id``, or
                repeat the call if it has an idempotency key.
        """
        self.init()
        draft = Draft(
            service=self._known(service or self.service),
            filepath=check_destination(filepath),
            length=filesize,
            grid=parts.plan(filesize, self.chunk_size),
            expiry=self.settings.incomplete_upload_expiry,
            content_type=check_content_type(content_type),
            metadata=check_metadata(metadata or {}),
            notes=dict(notes or {}),
            lasting=lasting,
            idempotency_key=check_idempotency_key(idempotency_key),
        )
        created, upload = self._begin(draft)
        if created.existed and filesize not in {None, upload.length}:
            raise LengthMismatch(
                f"the upload of this idempotency key has {upload.length} bytes, not {filesize}"
            )
        return upload

    def create_partial(
        self,
        filesize: int | None = None,
        *,
        service: str | None = None,
        metadata: Mapping[str, str] | None = None,
        notes: Mapping[str, str] | None = None,
        lasting: timedelta | None = None,
    ) -> ChunkUpload:
        """Begin an upload whose object is only there to be joined with others.

        It takes data as any other; see ``create`` for the arguments. Once complete, its object
        waits for ``settings.incomplete_upload_expiry``, at a path of its own in the store, and is
        removed then, or soon after the upload that ``concatenate`` made of it is complete.

        Raises:
            ChunkferryError: as ``create``.
        """
        self.init()
        draft = Draft(
            service=self._known(service or self.service),
            filepath=new_partial(),
            length=filesize,
            grid=parts.plan(filesize, self.chunk_size),
            expiry=self.settings.incomplete_upload_expiry,
            metadata=check_metadata(metadata or {}),
            notes=dict(notes or {}),
            keep=self.settings.incomplete_upload_expiry,
            lasting=lasting,
        )
        return self._begin(draft)[1]

    def concatenate(
        self,
        filepath: str,
        upload_ids: Sequence[str],
        *,
        service: str | None = None,
        content_type: str = "",
        metadata: Mapping[str, str] | None = None,
        notes: Mapping[str, str] | None = None,
        idempotency_key: str = "",
        lasting: timedelta | None = None,
    ) -> ChunkUpload:
        """Begin an upload that workers join from partial ones; see ``create`` for the rest.

        Some of them may still take data: what is there is joined, and the rest waits. If one
        fails or is removed, so does the joined upload: it fails, and its ``error`` says why.
        Whose uploads may be joined is for the caller to say, and whether their store can
        (``storage.capabilities.can_concatenate``): where it cannot, the upload fails.

        Args:
            filepath: where the object goes, relative to the store's root.
            upload_ids: partial uploads of the same service, in order. One may come twice.
            service: name of the store.
            content_type: the object's MIME type.
            metadata: kept with the object where the store can.
            notes: kept with the upload's record, not with the object.
            idempotency_key: the same key for the same path continues the same upload.
            lasting: how long joining may take in all, waiting included; None for any time.

        Raises:
            UploadNotFound, UploadClosed: one of ``upload_ids`` is not known, or cannot go on.
            InvalidArgument: one is not partial or elsewhere, or another join has this key.
            LengthMismatch: together they are too long.
            ChunkferryError: as ``create``.
        """
        self.init()
        service = self._known(service or self.service)
        sources.check_number(upload_ids)
        found = sources.check(upload_ids, self._ledger.records.get_all(upload_ids), service)
        length = sources.total_length(found)
        draft = Draft(
            service=service,
            filepath=check_destination(filepath),
            length=length,
            grid=parts.plan(length, self.chunk_size),
            expiry=self.settings.incomplete_upload_expiry,
            content_type=check_content_type(content_type),
            metadata=check_metadata(metadata or {}),
            notes=dict(notes or {}),
            sources=tuple(upload_ids),
            lasting=lasting,
            idempotency_key=check_idempotency_key(idempotency_key),
        )
        _, upload = self._begin(draft)
        if upload.sources != draft.sources:
            raise InvalidArgument("the upload of this idempotency key is joined from others")
        self._ledger.joins.link(upload_ids, upload.upload_id)
        if self._waker is not None:
            self._waker.join(upload.upload_id)
        return upload

    def append(
        self,
        upload_id: str,
        offset: int,
        data: bytes | bytearray | memoryview,
        *,
        checksum: str | None = None,
        wait: float | None = None,
        durable: bool = True,
    ) -> int:
        """Accept ``data``, which starts at byte ``offset`` of the file; return the new offset.

        Bytes that were received before are compared and acknowledged. Large data is accepted
        piece by piece: after an error, ``get(upload_id).received`` tells where to go on.

        Args:
            upload_id: the upload.
            offset: must be the number of bytes received so far, unless ``data`` repeats some.
            data: any number of bytes; none at all only asks for the offset.
            checksum: of ``data``, such as ``"sha256:9f86d0…"``; see ``checksums.verify``.
            wait: seconds to wait for room; default ``settings.append_wait_seconds``.
            durable: False where several appends follow one another, and ``ensure_durable`` is
                called before any of them is acknowledged.

        Raises:
            ChecksumMismatch: the data was damaged; nothing was accepted.
            OffsetMismatch: a gap or an overlap; its ``expected`` is where to go on.
            LengthMismatch: more than was announced.
            ContentConflict: other bytes were received at these offsets before.
            UploadNotFound, UploadClosed: there is no such upload, or it takes no more data.
            Backpressure: no room within ``wait``; its ``received`` is where to go on.
            NotDurable: accepted, but not as durable as the settings ask; try the same call again.
            RedisUnavailable: try the same call again.
        """
        self.init()
        return self._sender.append(
            upload_id, offset, data, checksum=checksum, wait=wait, durable=durable
        )

    def ensure_durable(self, upload_id: str, received: int) -> None:
        """Return once the first ``received`` bytes are as durable as the settings ask.

        Raises:
            UploadNotFound: there is no such upload any more.
            OffsetMismatch: Redis came back with fewer bytes.
            NotDurable: disk or replicas did not answer in time; ask again.
        """
        self._ledger.intake.ensure_durable(upload_id, received)

    def set_length(self, upload_id: str, length: int) -> None:
        """Say how long a file is that began without a length.

        Raises:
            LengthMismatch: more was received, or another length announced before.
            UploadNotFound, UploadClosed: there is no such upload, or it has ended.
            NotDurable: the length is noted, and may still get lost; try the same call again.
        """
        self.init()
        if not 0 <= length <= parts.MAX_LENGTH:
            raise InvalidArgument(f"length must be 0 to {parts.MAX_LENGTH} bytes, not {length}")
        if self._ledger.intake.set_length(upload_id, length):
            self._wake(upload_id)
        self._ledger.intake.ensure_durable(upload_id, 0, length)

    def get(self, upload_id: str) -> ChunkUpload:
        """The upload as it is now; ``UploadNotFound`` if there is none."""
        self.init()
        upload = self._ledger.records.get(upload_id)
        self._sender.know(upload)
        return upload

    def watch(self, upload_id: str, after: str | None = None) -> Notifier:
        """The news of an upload, from any process, at any time.

        Args:
            upload_id: the upload.
            after: the ``event_id`` of the last status that is known; "0" for all that are kept;
                None to begin with how the upload stands now.

        Raises:
            InvalidArgument: ``after`` never was an event's id.
            UploadNotFound: there is no such upload.
        """
        _check_event_id(after)
        self.get(upload_id)
        return Notifier(self._ledger.records, upload_id, after)

    def news(self, upload_id: str, after: str | None = None) -> News:
        """The events of an upload, for readers that wait by themselves; see ``watch``.

        Raises:
            InvalidArgument: ``after`` never was an event's id.
        """
        _check_event_id(after)
        self.init()
        return News(self._ledger.records, upload_id, after)

    def cancel(self, upload_id: str) -> None:
        """Have the upload removed, here and at its store. Asking twice is fine.

        Raises:
            UploadNotFound: there is no such upload.
            UploadClosed: it is complete, being completed, or expired.
        """
        self.init()
        if self._ledger.intake.cancel(upload_id):
            self._wake(upload_id)

    def terminate(self, upload: ChunkUpload, *, deleted: bool) -> Termination:
        """Note that the object of a complete upload is about to be deleted, or has been.

        Deleting it is the caller's business, between two calls of this: no other upload to the
        path begins meanwhile. Both may be repeated.

        Raises:
            UploadNotFound: there is no such upload.
            UploadClosed: it is not complete.
        """
        self.init()
        return self._ledger.intake.terminate(upload, deleted=deleted)

    def requeue(self, upload_id: str) -> None:
        """Give a failed upload another chance, from where it stopped.

        Raises:
            UploadNotFound: there is no such upload.
            UploadClosed: it has not failed.
        """
        self.init()
        if self._ledger.intake.requeue(upload_id):
            self._wake(upload_id)

    def list_uploads(
        self, *, state: State | None = None, service: str | None = None
    ) -> Iterator[ChunkUpload]:
        """All uploads that are known, in no order, fetched lazily.

        Ended ones are known for ``settings.result_ttl``.
        """
        self.init()
        for upload in self._ledger.records.list_uploads():
            if state in {None, upload.state} and service in {None, upload.service}:
                yield upload

    def note_principal(self, principal: str, upload_id: str) -> None:
        """Count an upload among those of ``principal``; for front doors with quotas."""
        self.init()
        self._ledger.principals.note(principal, upload_id)

    def uploads_of(self, principal: str) -> list[ChunkUpload]:
        """Uploads of ``principal`` that were noted, and have not ended."""
        self.init()
        return self._ledger.principals.uploads_of(principal)

    # --- for operators -----------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """All that is known of the uploads, for front doors that show it."""
        return self._ledger

    @property
    def tally(self) -> Tally:
        """What this process has counted, for front doors that count as well."""
        return self._tally

    # --- life cycle --------------------------------------------------------------------------

    def init(self) -> None:
        """Check Redis and the way to the workers. Done by itself on first use.

        Raises:
            EvictingRedis: it could drop accepted bytes.
            ConfigError: it is too old, a replica, holds data of another layout, or cannot be as
                durable as the settings ask.
            MissingExtra: Celery, which sends the wake-ups, is not installed.
            RedisUnavailable: it does not answer.
        """
        # No lock: threads that come at once all check, and nobody waits for another's network.
        if self._ready:
            return
        self.require_usable()
        if self._waker is None:
            wakeup.require_celery()
            self._waker = wakeup.ProducerWaker(self.settings.broker)
        self._ready = True

    def require_usable(self) -> None:
        """Check Redis, each time this is called; raises as ``init``, but for ``MissingExtra``."""
        if isinstance(self._ledger, RedisLedger):
            self._ledger.records.require_usable()
            self._ledger.intake.require_durability()

    def run_uploader(self) -> None:
        """Run a Celery worker and beat inside this process until ``shutdown``.

        The embedded default, for a thread of its own; in production the workers are separate.

        Raises:
            MissingExtra: Celery is not installed.
        """
        self.init()
        try:
            # By name, because the worker knows this package and never the other way round.
            embedded = importlib.import_module("chunkferry_worker.embedded")
        except ImportError as exc:
            raise MissingExtra("run_uploader", "worker") from exc
        embedded.run(self.settings, self._stop)

    def shutdown(self) -> None:
        """End ``run_uploader`` after the part it is at."""
        self._stop.set()

    # --- inside ------------------------------------------------------------------------------

    def _begin(self, draft: Draft) -> tuple[Created, ChunkUpload]:
        """Begin what ``draft`` says, or find that it had begun before."""
        created = self._ledger.intake.create(draft)
        if not created.existed:
            self._tally.count(families.UPLOADS_CREATED, draft.service)
        if created.wake:
            self._wake(created.upload_id)
        self._keep(created.upload_id, repeatable=bool(draft.idempotency_key))
        return created, self.get(created.upload_id)

    def _send(
        self,
        upload: ChunkUpload,
        start: int,
        reader: BinaryIO,
        notifier: Notifier,
        *,
        background: bool,
    ) -> None:
        """Append what ``reader`` holds, whose first byte is the file's byte ``start``."""

        def send_or_tell() -> None:
            try:
                self._sender.send(upload, start, reader)
            except Exception as exc:
                notifier.fail(exc)

        if background:
            threading.Thread(target=send_or_tell, name="chunkferry-send", daemon=True).start()
        else:
            self._sender.send(upload, start, reader)

    def _keep(self, upload_id: str, *, repeatable: bool) -> None:
        """Wait until an upload that has just begun is as durable as the settings ask.

        Whatever goes wrong, its id is told: without an idempotency key nothing else leads to it.
        """
        try:
            self._ledger.intake.ensure_durable(upload_id, 0)
        except UploadNotFound as exc:
            raise NotDurable(upload_id, 0, "Redis lost it again, path and all") from exc
        except NotDurable as exc:
            raise NotDurable(upload_id, 0, exc.reason, repeatable=repeatable) from exc
        except RedisUnavailable as exc:
            raise NotDurable(upload_id, 0, str(exc), repeatable=repeatable) from exc

    def _revive(self, upload_id: str) -> None:
        """Requeue a failed upload, unless somebody has just done that."""
        try:
            self.requeue(upload_id)
        except UploadClosed:
            if self.get(upload_id).state is State.FAILED:
                raise

    def _wake(self, upload_id: str) -> None:
        if self._waker is not None:
            wakeup.CountedWaker(self._waker, self._tally, "producer").wake(upload_id)

    def _known(self, service: str) -> str:
        if service not in self.settings.services:
            raise UnknownService(service, list(self.settings.services))
        return service


def _ledger(client: str | redis_py.Redis | RedisCluster | None, settings: Settings) -> RedisLedger:
    if client is None or isinstance(client, str):
        return RedisLedger(connection.connect(settings.redis_url), settings)
    return RedisLedger(connection.adopt(client), settings)


def _check_event_id(event_id: str | None) -> None:
    if event_id is not None and not _EVENT_ID.fullmatch(event_id):
        raise InvalidArgument(f"after must be the event_id of a status, not {event_id!r:.100}")
