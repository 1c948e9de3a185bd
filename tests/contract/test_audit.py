"""What is unfinished in a store is listed, weighed and removed: on every store and server."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from tests import storing
from tests.servers.s3 import S3Server
from tests.storing import PART, AuditedStore, crc32c, cut, new_upload, no_heartbeat, send
from tests.waiting import wait_until

from chunkferry.parts import MIB
from chunkferry.services import Unfinished
from chunkferry.storage import from_url
from chunkferry.storage.memory import MemoryStore
from chunkferry.storage.s3 import audit
from chunkferry.upload import ChunkUpload
from chunkferry_worker import tether

A_DAY = timedelta(days=1)
ODD_PATHS = ["a b/c d.txt", "übung/日本語/🦆.bin", "100%/50%25.bin", "a#b&c=d+e?.bin", "<\"'>"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A store under test."""

    store: AuditedStore
    #: What a listing shows of an upload: its path, or its id.
    shown: Callable[[ChunkUpload], str]
    #: False for moto, which has all sessions begin in 2010.
    is_dated: bool = True


def on_disk(request: pytest.FixtureRequest) -> Subject:
    root: Path = request.getfixturevalue("tmp_path") / "objects"
    store = cast("AuditedStore", from_url(f"file://{root}"))
    return Subject(store=store, shown=lambda upload: upload.upload_id)


def in_memory(request: pytest.FixtureRequest) -> Subject:
    store = cast("AuditedStore", MemoryStore())
    return Subject(store=store, shown=lambda upload: upload.filepath)


def on_server(fixture: str) -> Callable[[pytest.FixtureRequest], Subject]:
    def make(request: pytest.FixtureRequest) -> Subject:
        server: S3Server = request.getfixturevalue(fixture)
        store = cast("AuditedStore", from_url(server.url(secrets.token_hex(8))))
        is_dated = fixture != "moto_s3"
        return Subject(store=store, shown=lambda upload: upload.filepath, is_dated=is_dated)

    return make


@pytest.fixture(
    params=[
        pytest.param(on_disk, id="local"),
        pytest.param(in_memory, id="memory"),
        pytest.param(on_server("moto_s3"), id="moto"),
        pytest.param(on_server("rgw"), id="ceph", marks=pytest.mark.s3),
    ]
)
def subject(request: pytest.FixtureRequest) -> Subject:
    return cast("Subject", request.param(request))


def begun(store: AuditedStore, filepath: str = "folder/file.bin", data: bytes = b"") -> ChunkUpload:
    """An upload with a session, of which ``data`` is stored."""
    upload = new_upload(filepath, len(data))
    service = store.chunk_file_service()
    service.initialize_chunk(upload)
    send(service, cut(data))
    return upload


def names(found: list[Unfinished]) -> list[str]:
    """What each is known by: its upload where the store tells, else its path."""
    return sorted(item.upload_id or item.filepath for item in found)


def listed(store: AuditedStore) -> list[Unfinished]:
    return list(store.unfinished())


def test_nothing_is_unfinished_in_a_new_store(subject: Subject) -> None:
    """Not even a folder has to be there."""
    assert listed(subject.store) == []


@pytest.mark.parametrize("filepath", ODD_PATHS)
def test_an_open_session_is_listed_as_ours(subject: Subject, filepath: str) -> None:
    """With its path or upload, an age, and whatever characters it has."""
    upload = begun(subject.store, filepath)
    (found,) = listed(subject.store)
    assert names([found]) == [subject.shown(upload)]
    assert found.is_ours
    assert (-timedelta(seconds=2) < found.age < timedelta(minutes=5)) == subject.is_dated
    assert found.name not in repr(found) or found.name == found.upload_id
    subject.store.remove(found)


def test_a_finished_upload_is_not_listed(subject: Subject) -> None:
    """Neither a completed nor a removed one; nor one that was put."""
    storing.store(subject.store, new_upload("a", 4), b"data")
    service = subject.store.chunk_file_service()
    service.initialize_chunk(new_upload("b", 4))
    service.cleanup(no_heartbeat)
    with Path(__file__).open("rb") as reader:
        subject.store.put("c", reader)
    assert listed(subject.store) == []


def test_what_is_stored_is_weighed(subject: Subject) -> None:
    """The bytes of all parts, a repeated one counted once."""
    upload = begun(subject.store, "large", storing.content(PART + 7))
    (found,) = listed(subject.store)
    assert names([found]) == [subject.shown(upload)]
    assert subject.store.weigh(found) == PART + 7
    subject.store.remove(found)
    assert subject.store.weigh(found) == 0


def test_only_what_was_listed_is_removed(subject: Subject) -> None:
    """Of two sessions, one to the same path and one to a longer one, both others stay."""
    first = begun(subject.store, "file")
    (found,) = listed(subject.store)
    others = [begun(subject.store, path) for path in ("file", "file.sig")]
    assert subject.store.remove(found)
    assert not subject.store.remove(found)
    assert names(listed(subject.store)) == sorted(map(subject.shown, others))
    assert first.upload_id not in names(listed(subject.store))


def test_a_removed_session_takes_nothing_more(subject: Subject) -> None:
    """Its worker, should it wake up, is told so; the object never appears."""
    data = b"data"
    upload = new_upload("file", len(data))
    service = subject.store.chunk_file_service()
    service.initialize_chunk(upload)
    parts = send(service, cut(data))
    (found,) = listed(subject.store)
    subject.store.remove(found)
    assert not service.has_session()
    with pytest.raises(Exception, match=r"session|gone"):
        service.complete_upload(parts, crc32c(data), no_heartbeat)
    assert not subject.store.exists("file")


def test_a_long_listing_is_complete(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page nothing is left out or shown twice, also among sessions of one path."""
    monkeypatch.setattr(audit, "PAGE", 2)
    uploads = [begun(subject.store, path) for path in ("a", "a", "a", "a/b", "b", "c", "c")]
    found = listed(subject.store)
    assert names(found) == sorted(map(subject.shown, uploads))
    assert len({item.name for item in found}) == len(uploads)
    assert all(subject.store.remove(item) for item in found)


# --- what is not ours ---------------------------------------------------------------------------


@pytest.fixture(params=["moto", pytest.param("ceph", marks=pytest.mark.s3)])
def server(request: pytest.FixtureRequest) -> S3Server:
    """An S3 server whose bucket has nothing unfinished."""
    name = "rgw" if request.param == "ceph" else "moto_s3"
    found: S3Server = request.getfixturevalue(name)
    client = found.client()
    for session in client.list_multipart_uploads(Bucket=found.bucket).get("Uploads", []):
        client.abort_multipart_upload(
            Bucket=found.bucket, Key=session["Key"], UploadId=session["UploadId"]
        )
    return found


def keys_at(store: AuditedStore) -> dict[str, bool]:
    """What is unfinished: path -> whether it is ours."""
    return {found.filepath: found.is_ours for found in listed(store)}


def test_nothing_beside_the_prefix_is_listed(server: S3Server) -> None:
    """A prefix ends at a slash, and other keys of the bucket are none of our business."""
    client = server.client()
    for key in ("mine/a", "mineral", "other/a", "m"):
        client.create_multipart_upload(Bucket=server.bucket, Key=key)
    assert keys_at(cast("AuditedStore", from_url(server.url("mine")))) == {"a": True}


def test_a_bucket_without_a_prefix_is_shared_with_strangers(server: S3Server) -> None:
    """All is shown, and nothing is ours, unless the operator says so."""
    server.client().create_multipart_upload(Bucket=server.bucket, Key="a")
    assert keys_at(cast("AuditedStore", from_url(server.url()))) == {"a": False}
    assert keys_at(cast("AuditedStore", from_url(server.url(exclusive="true")))) == {"a": True}


@pytest.mark.parametrize("name", ["a//b", ".chunkferry/x", "a/../b", "a\\b"])
def test_a_key_that_no_upload_can_have_is_not_ours(server: S3Server, name: str) -> None:
    """Whoever made it, it was not chunkferry."""
    key = f"mine/{name}"
    server.client().create_multipart_upload(Bucket=server.bucket, Key=key)
    assert keys_at(cast("AuditedStore", from_url(server.url("mine")))) == {name: False}


def test_other_files_in_the_folder_are_not_ours(tmp_path: Path) -> None:
    """Only what is named by an upload, or by a put, and is a file."""
    store = cast("AuditedStore", from_url(f"file://{tmp_path}"))
    upload = begun(store)
    folder = tmp_path / ".chunkferry"
    put = f"put-{'0' * 32}"
    for name in (put, "put-1", "notes.txt", f"{upload.upload_id}.bak"):
        (folder / name).write_bytes(b"1234")
    (folder / "7-00000000000000000000000000000000").mkdir()
    (folder / "8-00000000000000000000000000000000").symlink_to("notes.txt")
    ours = [found.name for found in listed(store) if found.is_ours]
    assert ours == [upload.upload_id, put]


def test_a_file_that_was_written_to_is_not_removed(tmp_path: Path) -> None:
    """Somebody is at it after all."""
    store = cast("AuditedStore", from_url(f"file://{tmp_path}"))
    upload = begun(store)
    file = tmp_path / ".chunkferry" / upload.upload_id
    os.utime(file, (0, 0))
    (found,) = listed(store)
    assert found.age > A_DAY
    os.utime(file)
    assert not store.remove(found)
    (found,) = listed(store)
    assert store.remove(found)
    assert not file.exists()


def test_a_put_that_was_killed_can_be_removed(tmp_path: Path) -> None:
    """It leaves a file that is ours, with the bytes written so far."""
    code = (
        "import pathlib, sys; from chunkferry.storage.local import LocalStore;"
        "LocalStore(pathlib.Path(sys.argv[1])).put('a', sys.stdin.buffer)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    store = cast("AuditedStore", from_url(f"file://{tmp_path}"))
    with tether.spawn(command, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.write(b"x" * MIB)
        child.stdin.flush()
        wait_until(lambda: sum(map(store.weigh, listed(store))) == MIB, 30, what="it writes")
        child.kill()
    (found,) = listed(store)
    assert found.is_ours
    assert store.remove(found)
    assert list((tmp_path / ".chunkferry").iterdir()) == []
    assert not store.exists("a")
