"""What every built-in store guarantees: on a disk, in memory, on Ceph, and on emulated clouds."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from tests import storing
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.s3 import S3Server
from tests.storing import PART, FileService, Store, crc32c, cut, new_upload, no_heartbeat, send

from chunkferry.errors import IntegrityError, InvalidPath, LeaseLost, SessionLost
from chunkferry.services import (
    Attesting,
    ChunkFileService,
    ChunkStore,
    HeadService,
    Portable,
    Reaping,
    Reconciling,
    Service,
    StoredObject,
    StoredPart,
)
from chunkferry.storage import from_url
from chunkferry.storage.local import LocalStore
from chunkferry.storage.memory import MemoryStore
from chunkferry.upload import ChunkUpload

SIZES = [0, 1, PART - 1, PART, PART + 1, 3 * PART + 7]
ODD_PATHS = [
    "a b/c d.txt",
    "übung/日本語/🦆.bin",
    "what?.bin",
    "100%/50%25.bin",
    "a#b&c=d+e.bin",
    "quote's\"<tag>.bin",
    "-dash/.hidden/~tilde",
    "x" * 255,
]
BAD_PATHS = ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", "a\0b", ".chunkferry/x", "a\\b"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A store under test, and a look at what it does not show."""

    store: Store
    #: Number of open sessions.
    leftovers: Callable[[], int]
    #: False where the store takes parts at any time, and forgets them by itself.
    refuses_late_parts: bool = True


def on_disk(request: pytest.FixtureRequest) -> Subject:
    root: Path = request.getfixturevalue("tmp_path") / "objects"
    staging = root / ".chunkferry"
    store = cast("Store", from_url(f"file://{root}"))
    return Subject(store=store, leftovers=lambda: len(list(staging.glob("*"))))


def in_memory(request: pytest.FixtureRequest) -> Subject:
    store = from_url(f"memory://{secrets.token_hex(8)}")
    assert isinstance(store, MemoryStore)
    return Subject(store=cast("Store", store), leftovers=lambda: len(store.sessions))


def on_ceph(request: pytest.FixtureRequest) -> Subject:
    server: S3Server = request.getfixturevalue("rgw")
    prefix = secrets.token_hex(8)
    client = server.client()

    def leftovers() -> int:
        answer = client.list_multipart_uploads(Bucket=server.bucket, Prefix=prefix)
        return len(answer.get("Uploads", []))

    return Subject(store=cast("Store", from_url(server.url(prefix))), leftovers=leftovers)


def on_gcs(request: pytest.FixtureRequest) -> Subject:
    server: GcsServer = request.getfixturevalue("gcs")
    prefix = secrets.token_hex(8)
    return Subject(
        store=cast("Store", from_url(server.url(prefix))),
        leftovers=lambda: len(server.leftovers(prefix)),
    )


def on_azurite(request: pytest.FixtureRequest) -> Subject:
    server: AzureServer = request.getfixturevalue("azurite")
    prefix = secrets.token_hex(8)
    return Subject(
        store=cast("Store", from_url(server.url(prefix))),
        leftovers=lambda: len(server.leftovers(prefix)),
        refuses_late_parts=False,
    )


REAPING = [
    pytest.param(on_disk, id="local"),
    pytest.param(in_memory, id="memory"),
    pytest.param(on_ceph, id="ceph", marks=pytest.mark.s3),
]
FINDING = [*REAPING, pytest.param(on_azurite, id="azurite", marks=pytest.mark.azure)]
ALL = [*FINDING, pytest.param(on_gcs, id="gcs")]


@pytest.fixture(params=ALL)
def subject(request: pytest.FixtureRequest) -> Subject:
    return cast("Subject", request.param(request))


@pytest.fixture(params=FINDING)
def finding(request: pytest.FixtureRequest) -> Subject:
    """A store that lists sessions by their path, and parts by their content.

    Google lists neither.
    """
    return cast("Subject", request.param(request))


@pytest.fixture(params=REAPING)
def reaping(request: pytest.FixtureRequest) -> Subject:
    """A store that removes late sessions by their path, and touches no other.

    Azure's uncommitted blocks cannot be removed one by one.
    """
    return cast("Subject", request.param(request))


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store


def restored(store: Store, upload: ChunkUpload, earlier: FileService) -> FileService:
    """What another worker makes of ``earlier``'s recorded state."""
    service = store.chunk_file_service()
    service.restore(upload, earlier.save())
    return service


def started(store: Store, upload: ChunkUpload) -> FileService:
    service = store.chunk_file_service()
    service.initialize_chunk(upload)
    return service


def complete(service: FileService, parts: list[StoredPart], data: bytes) -> StoredObject:
    return service.complete_upload(parts, crc32c(data), no_heartbeat)


def test_it_has_all_abilities(store: Store) -> None:
    """Every built-in store implements every port that the worker cannot do without."""
    service = store.chunk_file_service()
    assert all(isinstance(store, port) for port in (ChunkStore, Service, HeadService))
    assert all(isinstance(service, port) for port in (ChunkFileService, Portable))


@pytest.mark.parametrize("size", SIZES)
def test_objects_of_all_sizes_arrive_whole(subject: Subject, size: int) -> None:
    """The object has exactly the bytes sent, and nothing stays open."""
    data = storing.content(size)
    upload = new_upload(length=size)
    found = storing.store(subject.store, upload, data)
    assert size == found.size
    assert data == storing.read(subject.store, upload.filepath)
    assert subject.leftovers() == 0


@pytest.mark.parametrize("filepath", ODD_PATHS)
def test_odd_names_are_kept(subject: Subject, filepath: str) -> None:
    """Blanks, other scripts and characters with a meaning in URLs are nothing special."""
    upload = new_upload(filepath, 4)
    service = started(subject.store, upload)
    assert subject.leftovers() == 1
    complete(service, send(service, cut(b"data")), b"data")
    assert storing.read(subject.store, filepath) == b"data"
    assert service.find_object() is not None
    service.cleanup(storing.no_heartbeat)
    assert subject.leftovers() == 0


@pytest.mark.parametrize("filepath", BAD_PATHS)
def test_bad_paths_are_refused(store: Store, filepath: str) -> None:
    """No method takes a path that could leave the store."""
    with pytest.raises(InvalidPath):
        store.chunk_file_service().initialize_chunk(new_upload(filepath))
    for method in (store.get, store.exists, store.head, store.delete):
        with pytest.raises(InvalidPath):
            method(filepath)
    with pytest.raises(InvalidPath):
        store.put(filepath, io.BytesIO(b"data"))


def test_it_is_initialized_once_it_has_a_session(store: Store) -> None:
    """An empty state restores no session."""
    upload = new_upload(length=1)
    service = store.chunk_file_service()
    assert not service.is_initialized()
    assert service.save() == ""
    service.restore(upload, "")
    assert not service.is_initialized()
    service.initialize_chunk(upload)
    assert service.is_initialized()
    assert restored(store, upload, service).is_initialized()


def test_nothing_is_visible_before_completion(store: Store) -> None:
    """Parts in the store are no object."""
    upload = new_upload(length=PART + 1)
    service = started(store, upload)
    send(service, cut(storing.content(PART + 1)))
    assert not store.exists(upload.filepath)
    assert service.find_object() is None
    service.cleanup(storing.no_heartbeat)


def test_another_worker_goes_on(store: Store) -> None:
    """Each part and the completion may be another worker's."""
    data = storing.content(2 * PART + 5)
    upload = new_upload(length=len(data))
    service = started(store, upload)
    stored = []
    for part in cut(data):
        service = restored(store, upload, service)
        stored += send(service, [part])
    complete(restored(store, upload, service), stored, data)
    assert data == storing.read(store, upload.filepath)


def test_a_part_may_be_sent_again(store: Store) -> None:
    """A repeat of a part changes nothing."""
    data = storing.content(PART + 5)
    upload = new_upload(length=len(data))
    service = started(store, upload)
    first = send(service, cut(data))
    again = send(service, cut(data)[:1])
    assert first[:1] == again
    complete(service, first, data)
    assert data == storing.read(store, upload.filepath)


def test_a_completion_may_be_repeated(store: Store) -> None:
    """A worker whose predecessor completed but did not say so gets the same answer."""
    data = storing.content(PART + 5)
    upload = new_upload(length=len(data))
    service = started(store, upload)
    parts = send(service, cut(data))
    first = complete(service, parts, data)
    assert first == complete(restored(store, upload, service), parts, data)


@pytest.mark.parametrize("size", [0, 7])
def test_a_completed_object_is_found(store: Store, size: int) -> None:
    """After a crash between completion and its record, the object itself tells."""
    data = storing.content(size)
    upload = new_upload(length=size)
    service = started(store, upload)
    done = complete(service, send(service, cut(data)), data)
    successor = restored(store, upload, service)
    assert done == successor.find_object()
    assert done == complete(successor, send_nothing(data, done), data)


def send_nothing(data: bytes, done: StoredObject) -> list[StoredPart]:
    """The record of parts that were stored long ago, with receipts nobody has any more."""
    receipt = '{"etag": "00000000000000000000000000000000"}'
    return [
        StoredPart(number=part.number, size=len(part.data), crc32c=part.crc32c, receipt=receipt)
        for part in cut(data)
    ]


def test_an_object_of_others_is_not_ours(store: Store) -> None:
    """Neither an earlier upload's object nor a plain one is taken for this upload's."""
    storing.store(store, new_upload(length=4), b"data")
    upload = new_upload(length=4)
    service = started(store, upload)
    assert service.find_object() is None
    store.put(upload.filepath, io.BytesIO(b"data"))
    assert service.find_object() is None
    service.cleanup(storing.no_heartbeat)


def test_an_existing_object_is_replaced(store: Store) -> None:
    """The old object stays until the new one is whole."""
    storing.store(store, new_upload(length=3), b"old")
    service = started(store, new_upload(length=4))
    parts = send(service, cut(b"new!"))
    assert storing.read(store, "folder/file.bin") == b"old"
    complete(service, parts, b"new!")
    assert storing.read(store, "folder/file.bin") == b"new!"


def test_cleanup_leaves_nothing(subject: Subject) -> None:
    """Cleaning up is complete, and may be repeated by anybody."""
    upload = new_upload(length=PART + 1)
    service = started(subject.store, upload)
    send(service, cut(storing.content(PART + 1)))
    restored(subject.store, upload, service).cleanup(storing.no_heartbeat)
    service.cleanup(storing.no_heartbeat)
    assert subject.leftovers() == 0
    assert not subject.store.exists(upload.filepath)


def test_cleanup_finds_what_was_not_recorded(finding: Subject) -> None:
    """Sessions of workers that died before they could say so are removed as well."""
    upload = new_upload(length=1)
    for _ in range(2):
        started(finding.store, upload)
    assert finding.leftovers() >= 1
    service = finding.store.chunk_file_service()
    service.restore(upload, "")
    service.cleanup(storing.no_heartbeat)
    assert finding.leftovers() == 0


def test_a_former_holder_cleans_up_nothing(finding: Subject) -> None:
    """What it listed may be another upload's by now: it asks before it removes."""
    upload = new_upload(length=PART)
    started(finding.store, upload)

    def taken_over() -> None:
        raise LeaseLost("another worker holds it")

    former = restored(finding.store, upload, finding.store.chunk_file_service())
    with pytest.raises(LeaseLost):
        former.cleanup(taken_over)
    assert finding.leftovers()
    former.cleanup(storing.no_heartbeat)
    assert not finding.leftovers()


def test_cleanup_keeps_the_object(store: Store) -> None:
    """What is published is nobody's leftover."""
    upload = new_upload(length=4)
    service = started(store, upload)
    complete(service, send(service, cut(b"data")), b"data")
    service.cleanup(storing.no_heartbeat)
    assert storing.read(store, upload.filepath) == b"data"


def test_cleanup_keeps_longer_names(subject: Subject) -> None:
    """A path that begins with this one's is another path."""
    other = started(subject.store, new_upload("folder/file.bin.sig", 4))
    started(subject.store, new_upload("folder/file.bin", 4)).cleanup(storing.no_heartbeat)
    complete(other, send(other, cut(b"data")), b"data")
    assert subject.leftovers() == 0


def test_a_late_part_after_the_end_changes_nothing(subject: Subject) -> None:
    """A worker that lost its lease cannot write into a finished object."""
    upload = new_upload(length=4)
    zombie = started(subject.store, upload)
    successor = restored(subject.store, upload, zombie)
    complete(successor, send(successor, cut(b"data")), b"data")
    send_late(subject, zombie)
    assert storing.read(subject.store, upload.filepath) == b"data"


def send_late(subject: Subject, zombie: FileService) -> None:
    """A part that comes too late; most stores say so."""
    part = cut(b"late")[0]
    if not subject.refuses_late_parts:
        zombie.upload_part(part, no_heartbeat)
        return
    with pytest.raises(SessionLost):
        zombie.upload_part(part, no_heartbeat)


@pytest.mark.parametrize("size", [0, 4])
def test_a_late_completion_never_touches_the_next_object(store: Store, size: int) -> None:
    """Once another upload has replaced the object, an old worker's completion is refused."""
    data = storing.content(size)
    upload = new_upload(length=size)
    zombie = started(store, upload)
    parts = send(zombie, cut(data))
    complete(restored(store, upload, zombie), parts, data)
    storing.store(store, new_upload(length=4), b"next")
    with pytest.raises(SessionLost):
        complete(zombie, parts, data)
    assert zombie.find_object() is None
    assert storing.read(store, upload.filepath) == b"next"


@pytest.mark.parametrize("size", [0, 4])
def test_late_effects_after_a_cancel_are_refused(subject: Subject, size: int) -> None:
    """After cleanup neither parts nor a completion bring anything back."""
    data = storing.content(size)
    upload = new_upload(length=size)
    zombie = started(subject.store, upload)
    parts = send(zombie, cut(data))
    restored(subject.store, upload, zombie).cleanup(storing.no_heartbeat)
    assert subject.leftovers() == 0
    send_late(subject, zombie)
    with pytest.raises(SessionLost):
        complete(zombie, parts, data)
    assert not subject.store.exists(upload.filepath)
    assert subject.leftovers() == int(not subject.refuses_late_parts)


def reap(subject: Subject, upload: ChunkUpload, may_remove: Callable[[], bool]) -> int:
    assert isinstance(subject.store, Reaping)
    return subject.store.reap(upload, may_remove)


def test_a_late_session_is_reaped(reaping: Subject) -> None:
    """What a worker opened after its upload had ended is found by the upload's path."""
    upload = new_upload(length=4)
    storing.store(reaping.store, upload, b"data")
    started(reaping.store, upload)
    assert reap(reaping, upload, lambda: True) == 1
    assert reap(reaping, upload, lambda: True) == 0
    assert reaping.leftovers() == 0
    assert storing.read(reaping.store, upload.filepath) == b"data"


def test_reaping_asks_first(reaping: Subject) -> None:
    """Nothing is removed where it might be another upload's to the path, which is alive."""
    upload = new_upload(length=4)
    started(reaping.store, upload)
    by_path = not isinstance(reaping.store, LocalStore)
    assert reap(reaping, upload, lambda: False) == int(not by_path)
    assert reaping.leftovers() == int(by_path)
    reap(reaping, upload, lambda: True)


def test_reaping_never_touches_a_newer_session(reaping: Subject) -> None:
    """A session opened after the listing belongs to a newer upload and stays."""
    ended, newer = new_upload(length=4), new_upload(length=4)
    started(reaping.store, ended)
    sessions: list[FileService] = []

    def open_newer() -> bool:
        sessions.append(started(reaping.store, newer))
        return True

    assert reap(reaping, ended, open_newer) == 1
    if not sessions:  # files are named by their upload: nobody had to be asked
        open_newer()
    complete(sessions[0], send(sessions[0], cut(b"data")), b"data")
    assert storing.read(reaping.store, newer.filepath) == b"data"


def is_open(service: FileService) -> bool:
    assert isinstance(service, Attesting)
    return service.has_session()


def test_a_session_is_known_until_its_end(reaping: Subject) -> None:
    """It is open from its beginning until the object is complete or the session removed."""
    store, upload = reaping.store, new_upload(length=4)
    service = started(store, upload)
    assert is_open(restored(store, upload, service))
    complete(service, send(service, cut(b"data")), b"data")
    assert not is_open(restored(store, upload, service))
    other = started(store, upload)
    other.cleanup(storing.no_heartbeat)
    assert not is_open(other)


def test_stored_parts_are_recognised(finding: Subject) -> None:
    """A part is found if the store holds exactly its bytes, and only then."""
    data = storing.content(PART + 5)
    first, second = cut(data)
    service = started(finding.store, new_upload(length=len(data)))
    assert isinstance(service, Reconciling)
    assert service.find_part(first) is None
    receipt = service.upload_part(first, no_heartbeat)
    assert receipt == service.find_part(first)
    assert service.find_part(second) is None
    assert service.find_part(cut(storing.content(PART))[0]) is None
    service.cleanup(storing.no_heartbeat)
    assert service.find_part(first) is None


def test_a_gap_between_parts_is_refused(store: Store) -> None:
    """A list of parts with one missing never becomes an object."""
    data = storing.content(2 * PART + 5)
    upload = new_upload(length=len(data))
    service = started(store, upload)
    first, _, third = send(service, cut(data))
    with pytest.raises(IntegrityError, match="expected part 2"):
        complete(service, [first, third], data)
    assert not store.exists(upload.filepath)
    service.cleanup(storing.no_heartbeat)


def test_a_part_that_is_not_there_is_refused(store: Store) -> None:
    """A record of a part that the store does not have is found out."""
    data = storing.content(PART + 5)
    upload = new_upload(length=len(data))
    service = started(store, upload)
    first = send(service, cut(data)[:1])
    with pytest.raises(IntegrityError):
        complete(service, first + send_nothing(data, StoredObject(size=0))[1:], data)
    assert not store.exists(upload.filepath)
    service.cleanup(storing.no_heartbeat)


def test_a_lost_lease_ends_the_call(store: Store) -> None:
    """What the heartbeat raises comes out of the service as it is; the part can be repeated."""
    data = storing.content(PART)
    upload = new_upload(length=PART)
    service = started(store, upload)
    lost = LeaseLost("gone")

    def heartbeat() -> None:
        raise lost

    with pytest.raises(LeaseLost) as caught:
        service.upload_part(cut(data)[0], heartbeat)
    assert caught.value is lost
    complete(service, send(service, cut(data)), data)
    assert data == storing.read(store, upload.filepath)


def test_the_lease_is_kept_while_bytes_move(store: Store) -> None:
    """Each call that moves bytes is a sign of life."""
    beats: list[None] = []
    service = started(store, new_upload(length=PART))
    service.upload_part(cut(storing.content(PART))[0], lambda: beats.append(None))
    assert beats
    service.cleanup(storing.no_heartbeat)


def test_a_service_needs_an_upload(store: Store) -> None:
    """Without initialize_chunk or restore there is nothing to be found or cleaned up."""
    service = store.chunk_file_service()
    for method in (service.find_object, lambda: service.cleanup(storing.no_heartbeat)):
        with pytest.raises(Exception, match="has to come first"):
            method()


def test_whole_objects_by_path(store: Store) -> None:
    """put, get, exists, head and delete agree with one another."""
    assert not store.exists("a/b.txt")
    assert not store.head("a/b.txt").exists
    store.put("a/b.txt", io.BytesIO(b"text"))
    assert store.exists("a/b.txt")
    head = store.head("a/b.txt")
    assert (head.exists, head.content_length) == (True, 4)
    assert head.last_modified is not None
    assert head.last_modified.tzinfo is not None
    assert storing.read(store, "a/b.txt") == b"text"
    store.delete("a/b.txt")
    store.delete("a/b.txt")
    assert not store.exists("a/b.txt")


@pytest.mark.parametrize("size", [0, 2 * PART + 9 * 1024 * 1024])
def test_put_takes_any_size(store: Store, size: int) -> None:
    """Empty and large objects arrive whole, and the reader stays the caller's."""
    data = storing.content(size)
    reader = io.BytesIO(data)
    store.put("big", reader)
    assert not reader.closed
    assert data == storing.read(store, "big")


def test_an_absent_object_cannot_be_read(store: Store) -> None:
    """Get raises what open would."""
    with pytest.raises(FileNotFoundError):
        store.get("absent")


def test_a_folder_is_no_object(store: Store) -> None:
    """A path that only others begin with does not exist."""
    store.put("a/b", io.BytesIO(b"text"))
    assert not store.exists("a")
