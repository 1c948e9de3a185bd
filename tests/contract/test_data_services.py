"""What every store guarantees about whole objects, port by port, on servers of its own.

A store takes part in the tests of the Protocols that it implements; see ``tests.servers.backends``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit, urlunsplit

import pytest
from tests import storing
from tests.servers.backends import Backend, DataStore
from tests.storing import PART, content, read
from tests.waiting import wait_until

from chunkferry.errors import (
    IntegrityError,
    InvalidArgument,
    InvalidPath,
    LengthMismatch,
    StoreUnavailable,
)
from chunkferry.services import (
    DownloadParams,
    HeadService,
    ListService,
    MD5Service,
    ParallelService,
    RangeService,
    Service,
    ServiceWithConcurrency,
    ServiceWithMimeType,
    ServiceWithTimeout,
    SignedUrlConfig,
    SignedUrlService,
    SignedUrlUploadService,
    StreamService,
    VersionService,
)
from chunkferry.storage import transfer
from chunkferry.storage.capabilities import capabilities

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Stands for ``transfer.RANGE``, so that small objects have many ranges.
RANGE = 64 * 1024
SIZES = [0, 1, RANGE - 1, RANGE, RANGE + 1, 3 * RANGE + 7]
ODD_PATHS = [
    "a b/c d.txt",
    " leading and trailing ",
    "übung/日本語/🦆.bin",
    "what?.bin",
    "100%/50%25.bin",
    "a#b&c=d+e.bin",
    "quote's\"<tag>.bin",
    "semi;colon,comma=@!$*()[]{}|^`.bin",
    "-dash/.hidden/~tilde",
    "é/é",
    "x" * 255,
]
BAD_PATHS = ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", "a\0b", ".chunkferry/x"]
HOUR = timedelta(hours=1)


@pytest.fixture
def objects(backend: Backend) -> Service:
    """The store, for whole objects."""
    return backend.offering(Service)


@pytest.fixture
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small objects take several ranges."""
    monkeypatch.setattr(transfer, "RANGE", RANGE)


def put(store: Service, filepath: str, data: bytes = b"data") -> bytes:
    store.put(filepath, io.BytesIO(data))
    return data


class Trickle(io.BytesIO):
    """A reader that never returns all it is asked for."""

    def __init__(self, data: bytes, most: int = 1000) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._most if size is None or size < 0 else min(size, self._most))


class Failing(io.BytesIO):
    """A reader whose disk breaks after its first bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if piece := super().read(size):
            return piece
        msg = "the disk is gone"
        raise OSError(msg)


def test_the_table_of_abilities_is_what_the_store_has(backend: Backend) -> None:
    """Every store can do the least that the worker and ``doctor`` make use of."""
    found = capabilities(backend.store)
    least = {"uploads in parts", "uploads resumed by any worker", "put, get, exists, delete"}
    assert {name for name in least if not found[name]} == set()


# --- Service, HeadService ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART + 7])
def test_what_was_put_is_read(objects: Service, size: int) -> None:
    """Objects of all sizes come back as they were."""
    data = put(objects, "folder/file.bin", content(size))
    assert data == read(objects, "folder/file.bin")


def test_a_reader_may_return_less_than_asked_for(objects: Service) -> None:
    """A short read is not the end of the object."""
    data = content(300_000)
    objects.put("file", Trickle(data))
    assert data == read(objects, "file")


def test_a_reader_stays_the_callers(objects: Service) -> None:
    """It is read to its end, and not closed."""
    reader = io.BytesIO(b"data")
    objects.put("file", reader)
    assert not reader.closed
    assert reader.read() == b""


def test_a_reader_that_fails_leaves_the_old_object(objects: Service) -> None:
    """An object is replaced by a whole one or not at all."""
    put(objects, "file", b"old")
    with pytest.raises(OSError, match="the disk is gone"):
        objects.put("file", Failing(content(PART)))
    assert read(objects, "file") == b"old"


def test_a_reader_of_something_else_is_refused(objects: Service) -> None:
    """None, by which a non-blocking reader says "not now", does not pass for the end."""

    class Text(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return None  # type: ignore[return-value]  # what such readers do

    with pytest.raises(InvalidArgument, match="NoneType"):
        objects.put("file", Text())
    assert not objects.exists("file")


def test_a_put_replaces_the_object(objects: Service) -> None:
    """The newest object is the one that is found."""
    put(objects, "file", b"old and long")
    put(objects, "file", b"new")
    assert read(objects, "file") == b"new"


def test_a_deleted_object_is_gone(objects: Service) -> None:
    """After delete there is nothing, and deleting nothing is no error."""
    put(objects, "a/b")
    objects.delete("a/b")
    assert not objects.exists("a/b")
    objects.delete("a/b")
    objects.delete("never/was")


def test_an_object_that_is_not_there(backend: Backend, objects: Service) -> None:
    """Reading raises what open would; looking tells."""
    with pytest.raises(FileNotFoundError):
        objects.get("absent")
    assert not objects.exists("absent")
    head = backend.offering(HeadService).head("absent")
    assert (head.exists, head.content_length, head.last_modified) == (False, 0, None)


def test_a_folder_is_no_object(backend: Backend, objects: Service) -> None:
    """A path that only others begin with does not exist."""
    put(objects, "a/b")
    assert not objects.exists("a")
    assert not backend.offering(HeadService).head("a").exists


def test_a_stream_can_be_closed_early(objects: Service) -> None:
    """Whoever wants the beginning does not have to read it all."""
    data = put(objects, "file", content(PART))
    with objects.get("file") as stream:
        assert data[:100] == stream.read(100)
    assert stream.closed
    assert data == read(objects, "file")


def test_head_describes_the_object(backend: Backend, objects: Service) -> None:
    """Size, time with a timezone, and a tag that changes with the object."""
    store = backend.offering(HeadService)
    put(objects, "file", b"12345")
    first = store.head("file")
    assert (first.exists, first.content_length) == (True, 5)
    assert first.last_modified is not None
    assert first.last_modified.tzinfo is not None
    assert abs(datetime.now(UTC) - first.last_modified) < timedelta(minutes=10)
    assert first.etag
    assert '"' not in first.etag
    put(objects, "file", b"54321")
    assert store.head("file").etag != first.etag


@pytest.mark.parametrize("filepath", ODD_PATHS)
def test_odd_names_are_kept(
    backend: Backend, objects: Service, tmp_path: Path, filepath: str
) -> None:
    """Blanks, other scripts and characters with a meaning in URLs are nothing special."""
    data = put(objects, filepath, filepath.encode())
    assert objects.exists(filepath)
    assert data == read(objects, filepath)
    assert backend.offering(HeadService).head(filepath).content_length == len(data)
    listing = backend.offering(ListService)
    assert [found.filepath for found in listing.objects()] == [filepath]
    assert [found.filepath for found in listing.objects(filepath)] == [filepath]
    backend.offering(ParallelService).download(filepath, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    objects.delete(filepath)
    assert not objects.exists(filepath)


def test_the_longest_name_is_kept(backend: Backend, objects: Service) -> None:
    """A path of 1 024 bytes, prefix included, is as good as any other."""
    filepath = "/".join(["x" * 199] * 6)[: backend.room - 1] + "y"
    data = put(objects, filepath)
    assert data == read(objects, filepath)
    assert [found.filepath for found in backend.offering(ListService).objects()] == [filepath]


@pytest.mark.parametrize("filepath", BAD_PATHS)
def test_bad_paths_are_refused(backend: Backend, filepath: str) -> None:
    """No method takes a path that could leave the store."""
    store = cast("DataStore", backend.store)
    writer = io.BytesIO()
    calls: dict[type, Callable[[], object]] = {
        Service: lambda: store.put(filepath, io.BytesIO(b"data")),
        HeadService: lambda: store.head(filepath),
        MD5Service: lambda: store.md5(filepath),
        ParallelService: lambda: store.upload(filepath, 4, io.BytesIO(b"data")),
        RangeService: lambda: store.download_range(filepath, writer, 0, 1),
        StreamService: lambda: store.stream(filepath, writer),
        SignedUrlService: lambda: store.signed_url(filepath, HOUR),
        SignedUrlUploadService: lambda: store.put_signed_url(filepath, HOUR),
        ServiceWithMimeType: lambda: store.set_mime_type(filepath, "text/plain"),
    }
    offered = [call for port, call in calls.items() if isinstance(store, port)]
    for method in (store.get, store.exists, store.delete):
        with pytest.raises(InvalidPath):
            method(filepath)
    for call in offered:
        with pytest.raises(InvalidPath):
            call()
    if isinstance(store, ParallelService):
        with pytest.raises(InvalidPath):
            store.download(filepath, writer)


# --- ListService ------------------------------------------------------------------------------


@pytest.fixture
def listing(backend: Backend) -> ListService:
    """The store, for listings."""
    return backend.offering(ListService)


def paths(listing: ListService, prefix: str = "") -> list[str]:
    return sorted(found.filepath for found in listing.objects(prefix))


def test_nothing_is_listed_where_nothing_is(listing: ListService) -> None:
    """An empty store, or one that was never used, has an empty listing."""
    assert paths(listing) == []
    assert paths(listing, "a/b") == []


def test_a_prefix_is_text(listing: ListService, objects: Service) -> None:
    """It may end anywhere in a path, and selects what begins with it."""
    for filepath in ("a", "a.txt", "a/b", "a/bc", "a/b.d/e", "b/a"):
        if filepath != "a":  # on a disk it is the folder of the others
            put(objects, filepath)
    assert paths(listing) == ["a.txt", "a/b", "a/b.d/e", "a/bc", "b/a"]
    assert paths(listing, "a") == ["a.txt", "a/b", "a/b.d/e", "a/bc"]
    assert paths(listing, "a/") == ["a/b", "a/b.d/e", "a/bc"]
    assert paths(listing, "a/b") == ["a/b", "a/b.d/e", "a/bc"]
    assert paths(listing, "a/b.") == ["a/b.d/e"]
    assert paths(listing, "a/b.d/e") == ["a/b.d/e"]
    assert paths(listing, "a/b.d/e/") == []
    assert paths(listing, "/a") == []
    assert paths(listing, "../") == []


def test_sizes_are_listed(listing: ListService, objects: Service) -> None:
    """Each object comes with its size."""
    put(objects, "a/empty", b"")
    put(objects, "a/five", b"12345")
    found = {item.filepath: item.size for item in listing.objects("a/")}
    assert found == {"a/empty": 0, "a/five": 5}


def test_any_number_of_objects_is_listed(
    backend: Backend, listing: ListService, objects: Service
) -> None:
    """2 500 objects take several pages; each is listed once."""
    wanted = sorted(f"many/{number % 7}/{number:04}" for number in range(backend.many))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda filepath: put(objects, filepath), wanted))
    assert paths(listing, "many/") == wanted


def test_a_listing_is_lazy(listing: ListService, objects: Service) -> None:
    """It is an iterator: whoever wants one object asks for one, and may stop."""
    for number in range(3):
        put(objects, f"file-{number}")
    found = listing.objects()
    assert isinstance(found, Iterator)
    assert next(found).filepath.startswith("file-")


def test_unfinished_uploads_are_not_listed(backend: Backend, listing: ListService) -> None:
    """What is listed are objects, not what may become some."""
    service = backend.store.chunk_file_service()
    upload = storing.new_upload("file", PART + 1)
    service.initialize_chunk(upload)
    storing.send(service, storing.cut(content(PART + 1))[:1])
    assert paths(listing) == []
    assert paths(listing, ".chunkferry/") == []
    service.cleanup(storing.no_heartbeat)


def test_a_listing_survives_changes(listing: ListService, objects: Service) -> None:
    """An object that goes while others are listed is no error."""
    for number in range(10):
        put(objects, f"{number}/file")
    found = listing.objects()
    first = next(found).filepath
    for number in range(10):
        objects.delete(f"{number}/file")
    rest = {item.filepath for item in found}
    assert first not in rest


# --- MD5Service -------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"data"])
def test_an_md5_is_that_of_the_bytes(backend: Backend, objects: Service, data: bytes) -> None:
    """A digest that is known is right."""
    put(objects, "file", data)
    found = backend.offering(MD5Service).md5("file")
    assert found in {None, hashlib.md5(data, usedforsecurity=False).digest()}


def test_the_md5_of_parts_is_not_made_up(backend: Backend) -> None:
    """What was uploaded in parts has the digest of its bytes, or none that is known."""
    data = content(PART + 1)
    storing.store(backend.store, storing.new_upload("file", len(data)), data)
    found = backend.offering(MD5Service).md5("file")
    assert found in {None, hashlib.md5(data, usedforsecurity=False).digest()}


def test_nothing_has_no_md5(backend: Backend) -> None:
    """An absent object is told from an unknown digest."""
    with pytest.raises(FileNotFoundError):
        backend.offering(MD5Service).md5("absent")


# --- ParallelService, ServiceWithConcurrency --------------------------------------------------


@pytest.fixture
def parallel(backend: Backend) -> ParallelService:
    """The store, for transfers."""
    return backend.offering(ParallelService)


@pytest.mark.usefixtures("short_ranges")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("concurrency", [None, 1, 3])
def test_downloads_are_whole_and_in_order(
    parallel: ParallelService, objects: Service, size: int, concurrency: int | None
) -> None:
    """Whatever the number of ranges, a writer gets the object from its first to its last byte."""
    data = put(objects, "file", content(size))
    writer, moved = io.BytesIO(), list[int]()
    params = None if concurrency is None else DownloadParams(concurrency=concurrency)
    parallel.download("file", writer, params, moved.append)
    assert data == writer.getvalue()
    assert sum(moved) == size


@pytest.mark.usefixtures("short_ranges")
def test_a_download_takes_a_path(
    parallel: ParallelService, objects: Service, tmp_path: Path
) -> None:
    """The file appears whole, in place of what was there, with nothing beside it."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "file").write_bytes(b"old")
    data = put(objects, "file", content(SIZES[-1]))
    parallel.download("file", folder / "file")
    assert data == (folder / "file").read_bytes()
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_download_of_nothing_makes_no_file(parallel: ParallelService, tmp_path: Path) -> None:
    """An absent object is told before anything is written."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    with pytest.raises(FileNotFoundError):
        parallel.download("absent", folder / "file")
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("short_ranges")
def test_a_download_that_fails_leaves_the_old_file(
    parallel: ParallelService, objects: Service, tmp_path: Path
) -> None:
    """What progress raises comes out as it is, and what was fetched is gone."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "file").write_bytes(b"old")
    put(objects, "file", content(SIZES[-1]))
    stop = KeyError("enough")

    def progress(moved: int) -> None:
        raise stop

    with pytest.raises(KeyError) as caught:
        parallel.download("file", folder / "file", progress=progress)
    assert caught.value is stop
    assert (folder / "file").read_bytes() == b"old"
    assert [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_concurrency_below_one_is_refused(
    parallel: ParallelService, objects: Service, concurrency: int
) -> None:
    """Nothing can be fetched over no connection."""
    put(objects, "file")
    with pytest.raises(InvalidArgument, match="concurrency must be 1 or more"):
        parallel.download("file", io.BytesIO(), DownloadParams(concurrency=concurrency))


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART + 7])
def test_uploads_are_whole(
    parallel: ParallelService, objects: Service, tmp_path: Path, size: int
) -> None:
    """A reader and a file at a path are both stored to their last byte."""
    data, moved = content(size), list[int]()
    (tmp_path / "source").write_bytes(data)
    parallel.upload("from/reader", size, Trickle(data, PART // 3), moved.append)
    parallel.upload("from/path", size, tmp_path / "source")
    assert data == read(objects, "from/reader")
    assert data == read(objects, "from/path")
    assert sum(moved) == size


@pytest.mark.parametrize("size", [4, PART + 1, 2 * PART])
@pytest.mark.parametrize("off", [-1, 1])
def test_an_upload_of_another_size_is_refused(
    backend: Backend, parallel: ParallelService, objects: Service, size: int, off: int
) -> None:
    """Neither fewer bytes than announced nor more become an object."""
    put(objects, "file", b"old")
    with pytest.raises(LengthMismatch, match=f"expected {size + off} bytes"):
        parallel.upload("file", size + off, io.BytesIO(content(size)))
    assert read(objects, "file") == b"old"


def test_an_upload_of_a_negative_size_is_refused(parallel: ParallelService) -> None:
    """There is nothing with fewer bytes than none."""
    with pytest.raises(InvalidArgument):
        parallel.upload("file", -1, io.BytesIO())


def test_an_upload_stopped_by_progress_leaves_nothing(
    parallel: ParallelService, objects: Service
) -> None:
    """What progress raises comes out as it is."""
    stop = KeyError("enough")

    def progress(moved: int) -> None:
        raise stop

    with pytest.raises(KeyError) as caught:
        parallel.upload("file", PART + 1, io.BytesIO(content(PART + 1)), progress)
    assert caught.value is stop
    assert not objects.exists("file")


def test_an_upload_without_its_file_is_an_error(parallel: ParallelService, tmp_path: Path) -> None:
    """A path with nothing at it stores nothing."""
    with pytest.raises(FileNotFoundError):
        parallel.upload("file", 4, tmp_path / "absent")


@pytest.mark.usefixtures("short_ranges")
def test_a_chosen_concurrency_moves_the_same_bytes(backend: Backend, objects: Service) -> None:
    """Whatever is set, the object arrives whole; what cannot be is refused."""
    store = backend.offering(ServiceWithConcurrency)
    for refused in (0, -1):
        with pytest.raises(InvalidArgument):
            store.set_concurrency(refused)
    data = content(SIZES[-1])
    for concurrency in (1, 7):
        store.set_concurrency(concurrency)
        backend.offering(ParallelService).upload("file", len(data), io.BytesIO(data))
        writer = io.BytesIO()
        backend.offering(ParallelService).download("file", writer)
        assert data == writer.getvalue()


# --- RangeService, StreamService --------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "finish"),
    [
        (0, 0),
        (0, 1),
        (0, 10),
        (9, 10),
        (3, 7),
        (5, 5),
        (10, 10),
        (0, 11),
        (9, 99),
        (10, 20),
        (50, 99),
    ],
)
def test_a_range_is_exact(backend: Backend, objects: Service, start: int, finish: int) -> None:
    """[start, finish), to the byte, at both ends and beyond them."""
    data = put(objects, "file", b"0123456789")
    writer = io.BytesIO()
    backend.offering(RangeService).download_range("file", writer, start, finish)
    assert data[start:finish] == writer.getvalue()


@pytest.mark.parametrize("finish", [0, 1])
def test_a_range_of_an_empty_object_is_empty(
    backend: Backend, objects: Service, finish: int
) -> None:
    """There is nothing to read, and no error."""
    put(objects, "file", b"")
    writer = io.BytesIO()
    backend.offering(RangeService).download_range("file", writer, 0, finish)
    assert writer.getvalue() == b""


@pytest.mark.parametrize(("start", "finish"), [(-1, 1), (0, -1), (-2, -1), (2, 1)])
def test_what_is_no_range_is_refused(
    backend: Backend, objects: Service, start: int, finish: int
) -> None:
    """Nothing counts from the end, and nothing ends before it begins."""
    put(objects, "file", b"0123456789")
    with pytest.raises(InvalidArgument, match="a range is"):
        backend.offering(RangeService).download_range("file", io.BytesIO(), start, finish)


@pytest.mark.parametrize(("start", "finish"), [(0, 0), (0, 1), (5, 5)])
def test_a_range_of_nothing_is_an_error(backend: Backend, start: int, finish: int) -> None:
    """Not even an empty range of an absent object can be read."""
    with pytest.raises(FileNotFoundError):
        backend.offering(RangeService).download_range("absent", io.BytesIO(), start, finish)


@pytest.mark.parametrize("size", [0, 1, PART + 1])
def test_a_stream_goes_into_a_writer(backend: Backend, objects: Service, size: int) -> None:
    """All bytes, in order; the writer stays open."""
    data, writer = put(objects, "file", content(size)), io.BytesIO()
    backend.offering(StreamService).stream("file", writer)
    assert data == writer.getvalue()


class Sips(io.BytesIO):
    """A writer that takes a little at a time."""

    def write(self, data: ReadableBuffer, /) -> int:
        return super().write(memoryview(data)[:7])


def test_a_writer_may_take_less_than_given(
    backend: Backend, parallel: ParallelService, objects: Service
) -> None:
    """Short writes are continued, however the object is read."""
    data = put(objects, "file", content(100))
    for reading in (
        parallel.download,
        backend.offering(StreamService).stream,
        lambda path, w: backend.offering(RangeService).download_range(path, w, 0, 100),
    ):
        writer = Sips()
        reading("file", writer)
        assert data == writer.getvalue()


def test_a_stream_of_nothing_is_an_error(backend: Backend) -> None:
    """An absent object is told, and nothing is written."""
    writer = io.BytesIO()
    with pytest.raises(FileNotFoundError):
        backend.offering(StreamService).stream("absent", writer)
    assert writer.getvalue() == b""


# --- VersionService ---------------------------------------------------------------------------


@pytest.fixture
def versions(backend: Backend) -> DataStore:
    """The store, for reads of one version."""
    return backend.offering(VersionService)


@pytest.mark.parametrize(("start", "finish"), [(0, 0), (0, 1), (3, 7), (9, 10), (0, 10)])
def test_a_part_of_a_version_is_exact(versions: DataStore, start: int, finish: int) -> None:
    """[start, finish) of what ``head`` told of."""
    data = put(versions, "file", b"0123456789")
    etag = versions.head("file").etag
    assert data[start:finish] == b"".join(versions.read_version("file", etag, start, finish))


def test_a_version_comes_in_pieces(versions: DataStore) -> None:
    """However large it is, a piece of it fits into the memory of many readers."""
    data = put(versions, "file", content(PART))
    pieces = list(versions.read_version("file", versions.head("file").etag, 1, PART))
    assert data[1:] == b"".join(pieces)
    assert max(map(len, pieces)) <= 8 * 1024 * 1024


def test_another_version_is_not_read(versions: DataStore) -> None:
    """Not one byte of it."""
    put(versions, "file", b"first")
    etag = versions.head("file").etag
    put(versions, "file", b"other")
    with pytest.raises(IntegrityError):
        next(versions.read_version("file", etag, 0, 5))


def test_two_versions_are_never_mixed(versions: DataStore) -> None:
    """A reader that paused gets the rest of its version, or an error."""
    data = put(versions, "file", content(PART))
    pieces = versions.read_version("file", versions.head("file").etag, 0, PART)
    found = next(pieces)
    put(versions, "file", content(PART))
    with contextlib.suppress(IntegrityError):
        for piece in pieces:
            found += piece
    assert data.startswith(found)


def test_an_absent_version_is_an_error(versions: DataStore) -> None:
    """Found out by the first step."""
    with pytest.raises(FileNotFoundError):
        next(versions.read_version("absent", "some", 0, 1))


def test_a_reader_may_stop_early(versions: DataStore) -> None:
    """Closing ends it; the next one reads from the beginning."""
    data = put(versions, "file", content(PART))
    etag = versions.head("file").etag
    pieces = versions.read_version("file", etag, 0, PART)
    next(pieces)
    pieces.close()
    assert data == b"".join(versions.read_version("file", etag, 0, PART))


# --- ServiceWithMimeType ----------------------------------------------------------------------


@pytest.fixture
def typed(backend: Backend) -> ServiceWithMimeType:
    """The store, for MIME types."""
    return backend.offering(ServiceWithMimeType)


def test_a_mime_type_can_be_changed(
    backend: Backend, typed: ServiceWithMimeType, objects: Service
) -> None:
    """The type is another, the bytes are the same."""
    put(objects, "file", b"text")
    typed.set_mime_type("file", "text/plain; charset=utf-8")
    assert backend.offering(HeadService).head("file").content_type == "text/plain; charset=utf-8"
    assert read(objects, "file") == b"text"


def test_another_type_does_not_make_another_upload(
    backend: Backend, typed: ServiceWithMimeType
) -> None:
    """The object still carries the id of its upload, so that a late worker recognises it."""
    upload = storing.new_upload("file", 4, metadata={"name": "ü.txt"})
    service = backend.store.chunk_file_service()
    service.initialize_chunk(upload)
    parts = storing.send(service, storing.cut(b"data"))
    service.complete_upload(parts, storing.crc32c(b"data"), storing.no_heartbeat)
    typed.set_mime_type("file", "image/png")
    found = service.find_object()
    assert found is not None
    assert found.size == 4


def test_nothing_has_no_mime_type(typed: ServiceWithMimeType) -> None:
    """The type of an absent object cannot be changed."""
    with pytest.raises(FileNotFoundError):
        typed.set_mime_type("absent", "text/plain")


# --- ServiceWithTimeout -----------------------------------------------------------------------


@pytest.fixture
def bounded(backend: Backend) -> ServiceWithTimeout:
    """The store, for deadlines."""
    return backend.offering(ServiceWithTimeout)


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_deadline_in_the_past_is_refused(bounded: ServiceWithTimeout, seconds: int) -> None:
    """A call needs some time."""
    with pytest.raises(InvalidArgument):
        bounded.set_timeout(timedelta(seconds=seconds))


def test_within_the_deadline_all_is_as_before(
    backend: Backend, bounded: ServiceWithTimeout, objects: Service
) -> None:
    """Every call does the same with a deadline that is far away."""
    bounded.set_timeout(HOUR)
    data = put(objects, "file", content(SIZES[-1]))
    assert data == read(objects, "file")
    writer = io.BytesIO()
    backend.offering(ParallelService).download("file", writer)
    assert data == writer.getvalue()
    assert paths(backend.offering(ListService)) == ["file"]
    with pytest.raises(FileNotFoundError):
        objects.get("absent")
    objects.delete("file")
    assert not objects.exists("file")


def test_a_reader_that_hangs_is_given_up(bounded: ServiceWithTimeout, objects: Service) -> None:
    """The deadline holds whatever the call waits for, and nothing is stored."""
    bounded.set_timeout(timedelta(seconds=0.5))
    begun, going_on, ended = threading.Event(), threading.Event(), threading.Event()

    class Hanging(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            begun.set()
            going_on.wait()
            ended.set()
            return super().read(size)

    with pytest.raises(StoreUnavailable, match=r"not done within 0\.5 s"):
        objects.put("file", Hanging(b"data"))
    going_on.set()
    # A busy machine may not have come so far.
    wait_until(lambda: ended.is_set() or not begun.is_set(), what="the call given up goes on")
    bounded.set_timeout(HOUR)
    assert not objects.exists("file")


# --- SignedUrlService, SignedUrlUploadService -------------------------------------------------


@pytest.fixture
def signing(backend: Backend) -> SignedUrlService:
    """The store, for signed URLs that a server answers."""
    store = backend.offering(SignedUrlService)
    if not backend.serves_urls:
        pytest.skip("nobody serves its URLs here")
    return store


@pytest.fixture
def signing_uploads(backend: Backend, signing: SignedUrlService) -> SignedUrlUploadService:
    """The same, for writing."""
    return backend.offering(SignedUrlUploadService)


@pytest.fixture
def checked(backend: Backend) -> None:
    """Only on a server that looks at signatures."""
    if not backend.checks_urls:
        pytest.skip("its server takes any signature")


def fetch(url: str) -> tuple[bytes, dict[str, str]]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read(), {name.lower(): value for name, value in answer.headers.items()}


def send(url: str, data: bytes, **headers: str) -> None:
    named = {
        # urllib would call it a form, which moto takes apart.
        "Content-Type": "application/octet-stream",
        # Azure asks for it; the others do not mind.
        "x-ms-blob-type": "BlockBlob",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, named, method="PUT")
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def refused(url: str) -> bool:
    try:
        fetch(url)
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code in {400, 401, 403}
    return False


@pytest.mark.parametrize("filepath", ODD_PATHS)
def test_a_signed_url_reads_the_object(
    signing: SignedUrlService, objects: Service, filepath: str
) -> None:
    """Anybody can read it, whatever its name is."""
    data = put(objects, filepath, content(100))
    found, _ = fetch(signing.signed_url(filepath, HOUR))
    assert data == found


def test_a_signed_url_says_how_to_show_it(signing: SignedUrlService, objects: Service) -> None:
    """The answer has the disposition, the name in any script, and the type."""
    put(objects, "file")
    config = SignedUrlConfig(download=True, filename='Ü "1".txt', content_type="text/x-test")
    _, headers = fetch(signing.signed_url("file", HOUR, config))
    assert headers["content-type"] == "text/x-test"
    assert headers["content-disposition"] == (
        "attachment; filename=\"_ _1_.txt\"; filename*=UTF-8''%C3%9C%20%221%22.txt"
    )


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=-1), timedelta(days=36500)])
def test_a_lifetime_that_cannot_be_is_refused(backend: Backend, lifetime: timedelta) -> None:
    """Neither a URL that was never valid nor one for a century is made."""
    with pytest.raises(InvalidArgument, match="lifetime"):
        backend.offering(SignedUrlService).signed_url("file", lifetime)
    with pytest.raises(InvalidArgument, match="lifetime"):
        backend.offering(SignedUrlUploadService).put_signed_url("file", lifetime)


@pytest.mark.usefixtures("checked")
def test_a_signed_url_expires(signing: SignedUrlService, objects: Service) -> None:
    """After its lifetime the server refuses it."""
    put(objects, "file")
    url = signing.signed_url("file", timedelta(seconds=1))
    wait_until(lambda: refused(url), what="URL has expired")


@pytest.mark.usefixtures("checked")
def test_a_changed_url_is_refused(signing: SignedUrlService, objects: Service) -> None:
    """Neither another object nor another answer can be asked for."""
    put(objects, "file")
    put(objects, "other")
    config = SignedUrlConfig(download=True, filename="name.txt")
    url = signing.signed_url("file", HOUR, config)
    parts = urlsplit(url)
    assert not refused(url)
    assert refused(urlunsplit(parts._replace(path=parts.path.replace("file", "other"))))
    assert refused(url.replace("name.txt", "virus.exe"))
    assert refused(urlunsplit(parts._replace(query="")))


@pytest.mark.usefixtures("checked")
def test_a_url_for_reading_does_not_write(signing: SignedUrlService, objects: Service) -> None:
    """The method is part of what was signed."""
    put(objects, "file", b"old")
    with pytest.raises(urllib.error.HTTPError) as caught:
        send(signing.signed_url("file", HOUR), b"new")
    with caught.value:
        assert caught.value.code in {400, 401, 403}
    assert read(objects, "file") == b"old"


@pytest.mark.parametrize("filepath", ["a b/ü?#%+.txt", "file"])
def test_a_signed_url_writes_the_object(
    signing_uploads: SignedUrlUploadService, objects: Service, filepath: str
) -> None:
    """Anybody can store it with one PUT."""
    send(signing_uploads.put_signed_url(filepath, HOUR), b"data")
    assert read(objects, filepath) == b"data"


def test_a_signed_type_arrives(backend: Backend, signing_uploads: SignedUrlUploadService) -> None:
    """The object gets the type that was agreed on."""
    url = signing_uploads.put_signed_url("file", HOUR, SignedUrlConfig(content_type="text/x-test"))
    send(url, b"data", Content_Type="text/x-test")
    assert backend.offering(HeadService).head("file").content_type == "text/x-test"


@pytest.mark.usefixtures("checked")
def test_a_url_for_writing_expires(
    signing_uploads: SignedUrlUploadService, objects: Service
) -> None:
    """After its lifetime nothing is stored."""
    url = signing_uploads.put_signed_url("file", timedelta(seconds=1))

    def expired() -> bool:
        try:
            send(url, b"late")
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code in {400, 401, 403}
        return False

    wait_until(expired, what="URL has expired")
