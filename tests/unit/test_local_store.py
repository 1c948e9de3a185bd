"""``LocalStore``: what only a file system can do wrong."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import storing
from tests.storing import PART, crc32c, cut, new_upload, no_heartbeat, send

from chunkferry.errors import (
    ChunkferryError,
    ConfigError,
    IntegrityError,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from chunkferry.services import Part
from chunkferry.storage.local import LocalFileService, LocalStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that nothing under the root may reach."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


def started(store: LocalStore, filepath: str = "a/b/file", length: int = 4) -> LocalFileService:
    service = store.chunk_file_service()
    service.initialize_chunk(new_upload(filepath, length))
    return service


def everything_of(store: LocalStore, filepath: str) -> list[Callable[[], object]]:
    """Each way to get at a path."""
    service = started(store, filepath)
    parts = send(service, cut(b"data"))
    return [
        lambda: store.get(filepath).close(),
        lambda: store.exists(filepath),
        lambda: store.head(filepath),
        lambda: store.put(filepath, io.BytesIO(b"data")),
        lambda: store.delete(filepath),
        lambda: store.md5(filepath),
        lambda: store.download(filepath, io.BytesIO()),
        lambda: store.download_range(filepath, io.BytesIO(), 0, 1),
        lambda: store.stream(filepath, io.BytesIO()),
        lambda: store.upload(filepath, 4, io.BytesIO(b"data")),
        service.find_object,
        lambda: service.complete_upload(parts, crc32c(b"data"), no_heartbeat),
    ]


@pytest.mark.parametrize("session", ["session-of-s3", "[7]", "{}"])
def test_a_session_of_another_store_is_told(store: LocalStore, session: str) -> None:
    """Somebody gave the service a new URL while uploads were going on."""
    with pytest.raises(ConfigError, match="URL of service 'default'") as caught:
        store.chunk_file_service().restore(new_upload(), session)
    assert session not in str(caught.value)


@pytest.mark.parametrize("link", ["a", "a/b"])
def test_a_linked_folder_is_never_entered(
    root: Path, store: LocalStore, outside: Path, link: str
) -> None:
    """A symlink on the way, at any level, ends every call."""
    (outside / "b").mkdir()
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(outside)
    before = sorted(outside.rglob("*"))
    for call in everything_of(store, "a/b/secret"):
        with pytest.raises(StoreRefused):
            call()
    assert before == sorted(outside.rglob("*"))
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_linked_file_is_never_read(root: Path, store: LocalStore, outside: Path) -> None:
    """A symlink in the place of an object is not an object."""
    root.mkdir()
    (root / "file").symlink_to(outside / "secret")
    for method in (store.get, store.exists, store.head):
        with pytest.raises(StoreRefused):
            method("file")


def test_a_linked_file_is_replaced_not_followed(
    root: Path, store: LocalStore, outside: Path
) -> None:
    """Writing to a path with a symlink replaces the link."""
    root.mkdir()
    (root / "file").symlink_to(outside / "secret")
    store.put("file", io.BytesIO(b"data"))
    assert not (root / "file").is_symlink()
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_linked_staging_folder_is_never_used(
    root: Path, store: LocalStore, outside: Path
) -> None:
    """Unfinished files stay on the objects' file system."""
    root.mkdir()
    (root / ".chunkferry").symlink_to(outside)
    with pytest.raises(StoreRefused):
        started(store)
    with pytest.raises(StoreRefused):
        store.put("file", io.BytesIO(b"data"))
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_linked_unfinished_file_is_never_written(
    root: Path, store: LocalStore, outside: Path
) -> None:
    """A symlink in the place of the unfinished file is refused."""
    upload = new_upload("file", 4)
    (root / ".chunkferry").mkdir(parents=True)
    (root / ".chunkferry" / upload.upload_id).symlink_to(outside / "secret")
    with pytest.raises(StoreRefused):
        store.chunk_file_service().initialize_chunk(upload)
    assert (outside / "secret").read_bytes() == b"secret"


def test_the_root_itself_may_be_a_link(tmp_path: Path, outside: Path) -> None:
    """Where the root is, is the operator's business."""
    (tmp_path / "link").symlink_to(outside)
    LocalStore(tmp_path / "link").put("file", io.BytesIO(b"data"))
    assert (outside / "file").read_bytes() == b"data"


def test_a_pipe_is_no_object(root: Path, store: LocalStore) -> None:
    """Opening a FIFO in the place of an object does not hang."""
    root.mkdir()
    os.mkfifo(root / "pipe")
    with pytest.raises(StoreRefused):
        store.get("pipe")
    assert not store.exists("pipe")


def test_a_file_in_the_way_is_refused(store: LocalStore) -> None:
    """A path through an object, or onto a folder, cannot be stored."""
    store.put("a/file", io.BytesIO(b"data"))
    with pytest.raises(StoreRefused):
        store.put("a/file/below", io.BytesIO(b"data"))
    with pytest.raises(StoreRefused):
        store.put("a", io.BytesIO(b"data"))


def test_a_chdir_does_not_move_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative root is fixed when the store is made."""
    monkeypatch.chdir(tmp_path)
    store = LocalStore(Path("objects"))
    monkeypatch.chdir("/")
    store.put("file", io.BytesIO(b"data"))
    assert (tmp_path / "objects" / "file").read_bytes() == b"data"


def test_the_final_name_appears_only_at_the_end(root: Path, store: LocalStore) -> None:
    """Before completion there is nothing outside the staging folder."""
    service = started(store)
    parts = send(service, cut(b"data"))
    assert [path.name for path in root.iterdir()] == [".chunkferry"]
    service.complete_upload(parts, crc32c(b"data"), no_heartbeat)
    assert (root / "a/b/file").read_bytes() == b"data"
    assert list((root / ".chunkferry").iterdir()) == []


def test_a_put_leaves_nothing_behind_when_its_reader_fails(root: Path, store: LocalStore) -> None:
    """Neither the object nor a temporary file."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            msg = "reader"
            raise ValueError(msg)

    with pytest.raises(ValueError, match="reader"):
        store.put("file", Broken())
    assert list((root / ".chunkferry").iterdir()) == []
    assert not store.exists("file")


def test_an_unrecorded_file_is_adopted_not_truncated(store: LocalStore) -> None:
    """A worker that died before it could record its session loses no bytes."""
    upload = new_upload("file", PART + 1)
    first, second = cut(storing.content(PART + 1))
    died = store.chunk_file_service()
    died.initialize_chunk(upload)
    died.upload_part(first, no_heartbeat)
    service = store.chunk_file_service()
    service.initialize_chunk(upload)
    assert died.save() == service.save()
    assert service.find_part(first) is not None
    assert service.find_part(second) is None


def test_another_file_under_the_same_name_is_not_ours(root: Path, store: LocalStore) -> None:
    """A worker that lost its lease and starts anew cannot pass an empty file off as ours."""
    upload = new_upload("file", 0)
    service = store.chunk_file_service()
    service.initialize_chunk(upload)
    unfinished = root / ".chunkferry" / upload.upload_id
    # Kept under another name, so that its inode is not given to the new file.
    unfinished.rename(root / "kept")
    unfinished.touch()
    with pytest.raises(SessionLost):
        service.complete_upload([], 0, no_heartbeat)
    with pytest.raises(SessionLost):
        service.upload_part(cut(b"data")[0], no_heartbeat)
    assert not store.exists("file")


def test_an_object_of_another_size_is_not_ours(root: Path, store: LocalStore) -> None:
    """The right inode alone does not make an object whole."""
    service = started(store, "file")
    parts = send(service, cut(b"data"))
    service.complete_upload(parts, crc32c(b"data"), no_heartbeat)
    (root / "file").write_bytes(b"more data")
    assert service.find_object() is None


def test_a_longer_file_is_refused(store: LocalStore) -> None:
    """Bytes nobody recorded are not published, and not cut off either."""
    service = started(store, "file")
    parts = send(service, cut(b"data"))
    late = Part(number=2, offset=4, data=memoryview(b"more"), crc32c=crc32c(b"more"))
    service.upload_part(late, no_heartbeat)
    with pytest.raises(IntegrityError, match="has 8 bytes, but 4 were stored"):
        service.complete_upload(parts, crc32c(b"data"), no_heartbeat)


def test_short_writes_are_continued(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes less than it was given is not the end."""
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, data[:3], at))
    data = storing.content(10)
    storing.store(store, new_upload("file", 10), data)
    assert data == storing.read(store, "file")


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, StoreUnavailable),
        (errno.EDQUOT, StoreUnavailable),
        (errno.EIO, StoreUnavailable),
        (errno.ESTALE, StoreUnavailable),
        (errno.EMFILE, StoreUnavailable),
        (errno.EACCES, StoreRefused),
        (errno.EPERM, StoreRefused),
        (errno.EROFS, StoreRefused),
    ],
)
def test_errors_of_the_disk_are_told_apart(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int, error: type[ChunkferryError]
) -> None:
    """A full disk may get room; a missing permission stays missing."""
    service = started(store, "file")

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(error, match=os.strerror(number)) as caught:
        service.upload_part(cut(b"data")[0], no_heartbeat)
    assert caught.value.retryable is (error is StoreUnavailable)


def test_a_part_is_durable_before_its_receipt(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receipt for bytes that are not on the disk is never given."""
    service = started(store, "file")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(StoreUnavailable):
        service.upload_part(cut(b"data")[0], no_heartbeat)
    with pytest.raises(StoreUnavailable):
        service.find_part(cut(b"data")[0])


def test_a_file_written_to_while_it_is_read_is_an_error(
    root: Path, store: LocalStore, tmp_path: Path
) -> None:
    """What other programs do in place is found out, and no mixture of versions is left."""
    store.put("file", io.BytesIO(storing.content(3 * 1024 * 1024)))

    def progress(moved: int) -> None:
        with (root / "file").open("ab") as file:
            file.write(b"more")

    with pytest.raises(IntegrityError, match="written to while it was read"):
        store.download("file", tmp_path / "copy", progress=progress)
    assert not (tmp_path / "copy").exists()


def test_a_file_that_is_replaced_is_read_to_its_end(store: LocalStore, tmp_path: Path) -> None:
    """Whoever has begun with a version gets all of it, and nothing else."""
    data = storing.content(3 * 1024 * 1024)
    store.put("file", io.BytesIO(data))
    store.download(
        "file", tmp_path / "copy", progress=lambda _: store.put("file", io.BytesIO(b"new"))
    )
    assert (tmp_path / "copy").read_bytes() == data


def test_links_and_pipes_are_not_listed(root: Path, store: LocalStore, outside: Path) -> None:
    """What is no object is left out, and no link is followed to what lies outside."""
    store.put("a/file", io.BytesIO(b"data"))
    (root / "link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    (root / "a" / "loop").symlink_to(root)
    os.mkfifo(root / "a" / "pipe")
    (root / "a" / os.fsdecode(b"\xff")).touch()
    (root / ".chunkferry" / "put-left").touch()
    assert [found.filepath for found in store.objects()] == ["a/file"]


def test_a_linked_folder_cannot_be_listed_by_its_name(
    root: Path, store: LocalStore, outside: Path
) -> None:
    """Not even where the prefix names it."""
    root.mkdir()
    (root / "folder").symlink_to(outside)
    assert list(store.objects("folder/")) == []


def test_files_are_listed_in_the_order_of_their_bytes(store: LocalStore) -> None:
    """As S3 does: folders stand where their names with a slash belong."""
    for filepath in ("b", "a/z", "a.txt", "a0", "ü"):
        store.put(filepath, io.BytesIO(b""))
    assert [found.filepath for found in store.objects()] == ["a.txt", "a/z", "a0", "b", "ü"]
