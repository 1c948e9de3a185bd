"""Ports of whole objects: what a store can do with files besides taking uploads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from os import PathLike
from typing import IO, BinaryIO, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadInfo:
    """What a store knows about an object without reading it."""

    exists: bool
    #: With timezone; None if the object does not exist.
    last_modified: datetime | None = None
    #: Bytes.
    content_length: int = 0
    #: Empty where the store keeps none.
    content_type: str = ""
    #: Changes whenever the object does; without quotes.
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """One object of a listing."""

    filepath: str
    #: Empty where a listing does not tell it (S3, folders).
    content_type: str = ""
    #: Bytes.
    size: int = 0


#: Called with the number of bytes that have moved since it was last called: read from the
#: source of an upload, or written to the target of a download. Never by two threads at once;
#: what it raises ends the transfer and comes out unchanged.
Progress = Callable[[int], None]

#: A lazy listing.
ObjectIterator = Iterator[Object]


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadParams:
    """How ``ParallelService.download`` goes about it."""

    #: Ranges fetched at the same time; None for the service's own choice.
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedUrlConfig:
    """What a signed URL answers with."""

    #: True to have browsers save the object instead of showing it.
    download: bool = False
    #: The name it is saved under, in any script; sent as RFC 8187 says, with a plain fallback.
    filename: str = ""
    #: For reading: sent in place of the object's own. For writing: what the uploader has to send
    #: as ``Content-Type``, and the object gets; empty to leave it to the uploader.
    content_type: str = ""


@runtime_checkable
class Service(Protocol):
    """Whole objects by path.

    Every method of this and the following ports takes only what ``filepath.check_filepath``
    accepts, else ``InvalidPath``, and raises ``StoreError`` where the store does not say.
    """

    def exists(self, filepath: str) -> bool:
        """True if the object exists. An error is raised, never taken for an answer.

        A folder, that is a path that only others begin with, is no object.
        """

    def get(self, filepath: str) -> IO[bytes]:
        """The object as a readable stream; the caller closes it. FileNotFoundError if absent."""

    def put(self, filepath: str, reader: BinaryIO) -> None:
        """Store all that ``reader`` holds, atomically, in place of what is there."""

    def delete(self, filepath: str) -> None:
        """Remove the object; nothing happens if there is none."""


@runtime_checkable
class HeadService(Protocol):
    """Facts about an object. Without it, sizes are known by reading only."""

    def head(self, filepath: str) -> HeadInfo:
        """What is known; ``exists`` is False for nothing, and for a folder."""


@runtime_checkable
class ListService(Protocol):
    """Listings. Without it nobody can find objects whose paths they do not know."""

    def objects(self, prefix: str = "") -> ObjectIterator:
        """All objects whose path starts with ``prefix``, asked for as the iterator goes on.

        ``prefix`` is text, not a folder: ``a/b`` also finds ``a/bc``. Listed is what the other
        methods can reach: nothing unfinished, nothing under ``.chunkferry/``, no folders. The
        order is the store's own. An object that comes or goes meanwhile may be missed; errors
        are raised by the iterator.
        """


@runtime_checkable
class MD5Service(Protocol):
    """MD5 digests. Without it, comparing takes a download."""

    def md5(self, filepath: str) -> bytes | None:
        """The digest, 16 bytes; None where the store does not know it.

        Raises:
            FileNotFoundError: there is no such object.
        """


@runtime_checkable
class ParallelService(Protocol):
    """Transfers of whole objects over several connections. Without it, one has to do."""

    def download(
        self,
        filepath: str,
        writer: BinaryIO | PathLike[str],
        params: DownloadParams | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write the object into ``writer``, in order, or into a file at that path.

        The file appears whole, in place of what is there, or not at all; a writer may have got
        a beginning when an error is raised. Never are two versions mixed.

        Raises:
            FileNotFoundError: there is no such object.
            IntegrityError: it changed meanwhile.
            InvalidArgument: ``params.concurrency`` is not 1 or more.
        """

    def upload(
        self,
        filepath: str,
        filesize: int,
        reader: BinaryIO | PathLike[str],
        progress: Progress | None = None,
    ) -> None:
        """Store ``filesize`` bytes of ``reader``, or of the file at that path, atomically.

        Raises:
            LengthMismatch: it holds fewer or more; nothing is stored then.
            InvalidArgument: ``filesize`` is negative.
        """


@runtime_checkable
class RangeService(Protocol):
    """Reads of a part of an object. Without it, a read begins at the first byte."""

    def download_range(self, filepath: str, writer: BinaryIO, start: int, finish: int) -> None:
        """Write bytes [start, finish) into ``writer``, of one version of the object.

        What lies beyond the end of the object is left out: a ``finish`` that is too large ends
        there, a ``start`` beyond it writes nothing. Equal ones write nothing, also both 0.

        Raises:
            FileNotFoundError: there is no such object, whatever the range.
            IntegrityError: the object changed meanwhile.
            InvalidArgument: not 0 <= start <= finish.
        """


@runtime_checkable
class VersionService(Protocol):
    """Reads of exactly the version that ``head`` told of, at the reader's pace.

    Without it, a front door serves whole objects, and no ranges of them.
    """

    def read_version(
        self, filepath: str, etag: str, start: int, finish: int
    ) -> Generator[bytes, None, None]:
        """The bytes [start, finish) of the version ``etag``, piece by piece, 8 MiB at most each.

        Nothing is asked for before the first step, nor read ahead of the reader, who may pause
        for any time between two steps, and closes the generator. No deadline counts here.
        The caller knows the size: 0 <= start <= finish <= size.

        Raises:
            FileNotFoundError: by the first step: there is no such object.
            IntegrityError: by any step: it is another version by now.
        """


@runtime_checkable
class StreamService(Protocol):
    """Sequential reads into a writer."""

    def stream(self, filepath: str, writer: BinaryIO) -> None:
        """Write the whole object into ``writer``, in order, of one version.

        Raises:
            FileNotFoundError: there is no such object.
            IntegrityError: it changed meanwhile.
        """


@runtime_checkable
class SignedUrlService(Protocol):
    """URLs that let anybody read one object for a while."""

    def signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """The URL, valid for ``lifetime`` from now. Whether the object exists is not asked.

        Whoever has the URL may read: it is a secret, and must not be logged.

        Raises:
            InvalidArgument: ``lifetime`` is under a second, or longer than the store allows.
        """


@runtime_checkable
class SignedUrlUploadService(Protocol):
    """URLs that let anybody write one object for a while."""

    def put_signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """The URL, valid for ``lifetime`` from now, for one PUT of the whole object.

        Of ``config`` only ``content_type`` counts.

        Raises:
            InvalidArgument: ``lifetime`` is under a second, or longer than the store allows.
        """


@runtime_checkable
class ServiceWithConcurrency(Protocol):
    """A service with a choice of connections."""

    def set_concurrency(self, concurrency: int) -> None:
        """Use that many at the same time in each later transfer that does not say itself.

        Raises:
            InvalidArgument: it is not 1 or more.
        """


@runtime_checkable
class ServiceWithMimeType(Protocol):
    """A service that can change an object's MIME type."""

    def set_mime_type(self, filepath: str, mime_type: str) -> None:
        """Change it; bytes and metadata stay.

        Raises:
            FileNotFoundError: there is no such object.
        """


@runtime_checkable
class ServiceWithTimeout(Protocol):
    """A service with a deadline. Without it, only each silence of a server is bounded."""

    def set_timeout(self, timeout: timedelta) -> None:
        """Give up every later call on whole objects that takes longer, whatever it waits for.

        Such a call raises ``StoreUnavailable``; what it had asked the store for may still come
        into effect. Of what ``get`` returns, each read is a call. The calls of a
        ``ChunkFileService`` have their lease instead.

        Raises:
            InvalidArgument: it is not above zero.
        """
