"""Objects in this process: ``memory://name``, one store per name. For tests.

It behaves like an object store: sessions have ids of their own, several may be open for one path,
and nothing is visible before its session is completed. Look at ``sessions`` and ``contents``.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from os import PathLike
from typing import IO, BinaryIO, Final

import google_crc32c

from chunkferry.errors import ConfigError, IntegrityError, SessionLost
from chunkferry.filepath import check_filepath
from chunkferry.services import (
    DownloadParams,
    HeadInfo,
    Heartbeat,
    Object,
    Part,
    Progress,
    StoredObject,
    StoredPart,
    Unfinished,
)
from chunkferry.storage import manifest, transfer
from chunkferry.storage import url as urls
from chunkferry.storage.bound import BoundService
from chunkferry.upload import ChunkUpload


class MemoryOptions(urls.Options):
    """Options of a ``memory://`` URL: none so far."""


@dataclass(slots=True, kw_only=True)
class MemorySession:
    """One open session."""

    upload: ChunkUpload
    #: Milliseconds since 1970, by the store's clock.
    began_at: int
    #: The parts stored so far, by number.
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryObject:
    """One finished object."""

    data: bytes
    etag: str
    last_modified: datetime
    #: The upload it came from; empty if it was ``put``.
    upload_id: str = ""
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


_stores: Final[dict[str, MemoryStore]] = {}


def from_url(url: str) -> MemoryStore:
    """The store of that name, the same one for every caller in the process.

    Raises:
        ConfigError: the name is empty, or there are options.
    """
    parsed = urls.parse(url)
    urls.validate(parsed, MemoryOptions)
    if not parsed.location:
        msg = "a memory URL is memory://name"
        raise ConfigError(msg)
    # setdefault is atomic: of two callers at once both get the same store.
    return _stores.setdefault(parsed.location, MemoryStore())


class MemoryStore:
    """A store in this process. Thread-safe; not shared with forked children."""

    def __init__(self, *, clock: Callable[[], int] | None = None) -> None:
        """Begin empty.

        Args:
            clock: milliseconds since 1970, such as a ``ManualClock``; default: the computer's.
        """
        self._lock: Final = threading.Lock()
        self._clock: Final = clock or _wall_clock
        #: Open sessions by id.
        self.sessions: Final[dict[str, MemorySession]] = {}
        #: Finished objects by path.
        self.contents: Final[dict[str, MemoryObject]] = {}

    def chunk_file_service(self) -> MemoryFileService:
        """A fresh service for one upload."""
        return MemoryFileService(self)

    def reap(self, upload: ChunkUpload, may_remove: Callable[[], bool]) -> int:
        """Remove the sessions that were open for the path before ``may_remove`` was asked."""
        listed = self.sessions_of(upload.filepath)
        if not listed or not may_remove():
            return 0
        return sum(self.abort(session) for session in listed)

    def unfinished(self) -> Iterator[Unfinished]:
        """All open sessions."""
        with self._lock:
            now, sessions = self._clock(), dict(self.sessions)
        for session_id, session in sessions.items():
            yield Unfinished(
                name=session_id,
                age=timedelta(milliseconds=now - session.began_at),
                filepath=session.upload.filepath,
            )

    def weigh(self, found: Unfinished) -> int:
        """The bytes of the session's parts."""
        session = self.sessions.get(found.name)
        return sum(map(len, session.parts.values())) if session else 0

    def remove(self, found: Unfinished) -> bool:
        """Remove the session."""
        return self.abort(found.name)

    def exists(self, filepath: str) -> bool:
        """True if the object exists."""
        return check_filepath(filepath) in self.contents

    def head(self, filepath: str) -> HeadInfo:
        """What is known of the object."""
        found = self.contents.get(check_filepath(filepath))
        if found is None:
            return HeadInfo(exists=False)
        return HeadInfo(
            exists=True,
            last_modified=found.last_modified,
            content_length=len(found.data),
            content_type=found.content_type,
            etag=found.etag,
        )

    def get(self, filepath: str) -> IO[bytes]:
        """The object as a stream."""
        return io.BytesIO(self._found(filepath).data)

    def put(self, filepath: str, reader: BinaryIO) -> None:
        """Store all that ``reader`` holds."""
        check_filepath(filepath)
        self.contents[filepath] = _object(transfer.Reader(reader).read())

    def delete(self, filepath: str) -> None:
        """Remove the object."""
        self.contents.pop(check_filepath(filepath), None)

    def objects(self, prefix: str = "") -> Iterator[Object]:
        """The objects whose paths start with ``prefix``, as they are at the first step."""
        for filepath, found in sorted(self.contents.items()):
            if filepath.startswith(prefix):
                yield Object(
                    filepath=filepath, content_type=found.content_type, size=len(found.data)
                )

    def md5(self, filepath: str) -> bytes:
        """The digest of the object."""
        return hashlib.md5(self._found(filepath).data, usedforsecurity=False).digest()

    def download(
        self,
        filepath: str,
        writer: BinaryIO | PathLike[str],
        params: DownloadParams | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write the object into ``writer``."""
        transfer.chosen(params)
        transfer.copy([self._found(filepath).data], writer, progress)

    def upload(
        self,
        filepath: str,
        filesize: int,
        reader: BinaryIO | PathLike[str],
        progress: Progress | None = None,
    ) -> None:
        """Store ``filesize`` bytes of ``reader``."""
        check_filepath(filepath)
        with transfer.source(reader) as file:
            data = transfer.Reader(file, size=filesize, progress=progress).read()
        self.contents[filepath] = _object(data)

    def download_range(self, filepath: str, writer: BinaryIO, start: int, finish: int) -> None:
        """Write bytes [start, finish) into ``writer``."""
        transfer.check_range(start, finish)
        transfer.write(writer, self._found(filepath).data[start:finish])

    def stream(self, filepath: str, writer: BinaryIO) -> None:
        """Write the object into ``writer``."""
        transfer.write(writer, self._found(filepath).data)

    def read_version(
        self, filepath: str, etag: str, start: int, finish: int
    ) -> Generator[bytes, None, None]:
        """The bytes [start, finish), a range at a time."""
        found = self._found(filepath)
        if found.etag != etag:
            raise transfer.changed(filepath)
        for at, to in transfer.spans(start, finish):
            yield found.data[at:to]

    def set_mime_type(self, filepath: str, mime_type: str) -> None:
        """Change the object's MIME type."""
        found = self._found(filepath)
        self.contents[filepath] = replace(found, content_type=mime_type)

    def _found(self, filepath: str) -> MemoryObject:
        found = self.contents.get(check_filepath(filepath))
        if found is None:
            raise FileNotFoundError(filepath)
        return found

    def open(self, upload: ChunkUpload) -> str:
        """Open a session for ``upload``; return its id."""
        check_filepath(upload.filepath)
        session_id = secrets.token_hex(8)
        self.sessions[session_id] = MemorySession(upload=upload, began_at=self._clock())
        return session_id

    def session(self, session_id: str) -> MemorySession:
        """The open session of that id.

        Raises:
            SessionLost: it was completed or removed.
        """
        found = self.sessions.get(session_id)
        if found is None:
            msg = f"no session {session_id!r}"
            raise SessionLost(msg)
        return found

    def sessions_of(self, filepath: str) -> list[str]:
        """Ids of the sessions open for exactly this path."""
        with self._lock:
            return [id_ for id_, s in self.sessions.items() if s.upload.filepath == filepath]

    def abort(self, session_id: str) -> bool:
        """Remove a session; False if there was none."""
        with self._lock:
            return self.sessions.pop(session_id, None) is not None

    def publish(self, session_id: str, parts: Sequence[StoredPart], crc32c: int) -> None:
        """Make an object of the session's parts, and end the session.

        Raises:
            SessionLost: there is no such session.
            IntegrityError: the parts are not the ones listed.
        """
        with self._lock:
            session = self.session(session_id)
            data = b"".join(session.parts.get(part.number, b"") for part in parts)
            if len(data) != manifest.total_size(parts) or google_crc32c.value(data) != crc32c:
                msg = f"the parts of {session.upload.filepath!r} are not the ones stored"
                raise IntegrityError(msg)
            self.contents[session.upload.filepath] = _object(data, session.upload)
            del self.sessions[session_id]


class MemoryFileService(BoundService):
    """One upload into a ``MemoryStore``. Its state is the id of its session."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self._store: Final = store

    def initialize_chunk(self, upload: ChunkUpload) -> None:
        """Open a session."""
        self._bound = upload
        self._state = self._store.open(upload)

    def upload_part(self, part: Part, heartbeat: Heartbeat) -> str:
        """Keep a copy of the part; the receipt is its checksum."""
        heartbeat()
        self._store.session(self._state).parts[part.number] = bytes(part.data)
        return f"{part.crc32c:08x}"

    def find_part(self, part: Part) -> str | None:
        """The receipt, if the session holds these bytes."""
        session = self._store.sessions.get(self._state)
        if session is None or session.parts.get(part.number) != bytes(part.data):
            return None
        return f"{part.crc32c:08x}"

    def complete_upload(
        self, parts: Sequence[StoredPart], crc32c: int, heartbeat: Heartbeat
    ) -> StoredObject:
        """Publish the object."""
        heartbeat()
        with suppress(SessionLost):
            self._store.publish(self._state, parts, crc32c)
        found = self.find_object()
        if found is None:
            msg = f"the session of {self._upload.filepath!r} is gone, and the object is not ours"
            raise SessionLost(msg)
        return found

    def find_object(self) -> StoredObject | None:
        """The object, if this upload made it."""
        found = self._store.contents.get(self._upload.filepath)
        if found is None or found.upload_id != self._upload.upload_id:
            return None
        return StoredObject(size=len(found.data), etag=found.etag)

    def has_session(self) -> bool:
        """True if the session is open."""
        return self._state in self._store.sessions

    def abandon(self) -> None:
        """Remove the session of this instance."""
        self._store.abort(self._state)

    def cleanup(self, confirm: Heartbeat) -> None:
        """Remove every session that is open for the path."""
        sessions = self._store.sessions_of(self._upload.filepath)
        confirm()
        for session_id in sessions:
            self._store.abort(session_id)


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


def _object(data: bytes, upload: ChunkUpload | None = None) -> MemoryObject:
    return MemoryObject(
        data=data,
        etag=secrets.token_hex(8),
        last_modified=datetime.now(UTC),
        upload_id=upload.upload_id if upload else "",
        content_type=upload.content_type if upload else "",
        metadata=upload.metadata if upload else {},
    )
