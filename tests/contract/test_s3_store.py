"""What S3 servers refuse, and what only some of them can do: conditions and CRC32C."""

from __future__ import annotations

import io
import secrets
from base64 import b64encode
from collections.abc import Callable

import pytest
from tests import storing
from tests.servers.s3 import S3Server
from tests.storing import PART, crc32c, cut, new_upload, no_heartbeat, read

from chunkferry.errors import ChunkferryError, StoreRefused, StoreUnavailable
from chunkferry.services import Part, SinglePut
from chunkferry.storage import from_url
from chunkferry.storage.s3.store import S3Store


def store_at(server: S3Server, **options: str) -> S3Store:
    store = from_url(server.url(secrets.token_hex(8), **options))
    assert isinstance(store, S3Store)
    return store


def every_call(store: S3Store) -> list[Callable[[], object]]:
    upload = new_upload(length=4)
    return [
        lambda: store.chunk_file_service().initialize_chunk(upload),
        lambda: store.reap(upload, lambda: True),
        lambda: store.exists("file"),
        lambda: store.head("file"),
        lambda: store.get("file"),
        lambda: store.put("file", io.BytesIO(b"data")),
        lambda: store.delete("file"),
    ]


def assert_all_raise(store: S3Store, kind: type[ChunkferryError]) -> None:
    for call in every_call(store):
        with pytest.raises(kind):
            call()


def whole(data: bytes) -> Part:
    return Part(number=1, offset=0, data=memoryview(data), crc32c=crc32c(data))


def put_whole(store: S3Store, data: bytes, filepath: str = "file") -> None:
    service = store.chunk_file_service()
    assert service.can_put_whole(len(data))
    service.put_whole(new_upload(filepath, len(data)), whole(data), no_heartbeat)


@pytest.mark.s3
def test_a_server_that_is_down_is_retryable(rgw: S3Server) -> None:
    """A refused connection says nothing about the object."""
    down = S3Server(endpoint="http://127.0.0.1:1", access_key="", secret_key="")
    assert_all_raise(store_at(down), StoreUnavailable)


@pytest.mark.s3
def test_a_missing_bucket_is_refused(rgw: S3Server) -> None:
    """Not even HEAD takes a missing bucket for a missing object."""
    other = S3Server(endpoint=rgw.endpoint, access_key="", secret_key="", bucket="absent")
    assert_all_raise(store_at(other), StoreRefused)


@pytest.mark.s3
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_refused(
    rgw: S3Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Neither an unknown key nor a wrong signature gets better by itself."""
    monkeypatch.setenv(name, "wrong")
    assert_all_raise(store_at(rgw), StoreRefused)


@pytest.mark.s3
def test_missing_credentials_are_refused(rgw: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials nothing is even sent."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert_all_raise(store_at(rgw), StoreRefused)
    assert_all_raise(store_at(rgw, aws_profile="absent"), StoreRefused)


@pytest.mark.s3
def test_type_and_notes_arrive(rgw: S3Server) -> None:
    """The object carries its MIME type, the caller's notes and the id of its upload."""
    upload = new_upload(length=4, content_type="text/plain", metadata={"name": "ü.txt"})
    prefix = secrets.token_hex(8)
    store = from_url(rgw.url(prefix))
    storing.store(store, upload, b"data")
    found = rgw.client().head_object(Bucket=rgw.bucket, Key=f"{prefix}/{upload.filepath}")
    assert found["ContentType"] == "text/plain"
    assert found["Metadata"] == {
        "chunkferry-upload": upload.upload_id,
        "name": "=?UTF-8?B?w7wudHh0?=",
    }


@pytest.fixture(params=["moto", pytest.param("ceph", marks=pytest.mark.s3)])
def conditional(request: pytest.FixtureRequest) -> S3Store:
    """A store on a server that honours conditions."""
    server = request.getfixturevalue("rgw" if request.param == "ceph" else "moto_s3")
    return store_at(server, conditional_writes="true")


@pytest.mark.parametrize("size", [0, 1, PART])
def test_small_objects_take_one_request(conditional: S3Store, size: int) -> None:
    """An object of any size a single PUT takes arrives whole."""
    data = storing.content(size)
    put_whole(conditional, data)
    assert data == read(conditional, "file")


def test_another_object_is_not_replaced_by_one_request(conditional: S3Store) -> None:
    """Its tag would be no fence: content can come back. A session takes its place."""
    put_whole(conditional, b"before")
    service = conditional.chunk_file_service()
    upload = new_upload("file", 4)
    assert service.put_whole(upload, whole(b"data"), no_heartbeat) is None
    assert read(conditional, "file") == b"before"


def test_a_repeat_of_a_whole_put_writes_nothing(conditional: S3Store) -> None:
    """The object already carries the upload's id."""
    service = conditional.chunk_file_service()
    assert isinstance(service, SinglePut)
    upload = new_upload("file", 4)
    first = service.put_whole(upload, whole(b"data"), no_heartbeat)
    before = conditional.head("file")
    again = conditional.chunk_file_service().put_whole(upload, whole(b"data"), no_heartbeat)
    assert first == again == service.find_object()
    assert before == conditional.head("file")


def test_a_late_put_never_replaces_the_next_object(conditional: S3Store) -> None:
    """A worker that froze between its look and its PUT finds the key taken."""
    upload = new_upload("file", 4)
    thawed = False

    def freeze() -> None:
        nonlocal thawed
        if not thawed:
            thawed = True
            successor = conditional.chunk_file_service()
            successor.put_whole(upload, whole(b"late"), no_heartbeat)
            conditional.put("file", io.BytesIO(b"next"))

    with pytest.raises(StoreUnavailable, match="412"):
        conditional.chunk_file_service().put_whole(upload, whole(b"late"), freeze)
    assert read(conditional, "file") == b"next"


def test_a_late_put_recognises_its_successor(conditional: S3Store) -> None:
    """If what changed the key was the same upload, all is well."""
    upload = new_upload("file", 4)
    successors: list[object] = []

    def freeze() -> None:
        if not successors:
            service = conditional.chunk_file_service()
            successors.append(service.put_whole(upload, whole(b"data"), no_heartbeat))

    late = conditional.chunk_file_service().put_whole(upload, whole(b"data"), freeze)
    assert successors == [late]


@pytest.mark.parametrize("size", [0, 1, PART + 1])
def test_the_object_has_a_checksum_of_the_whole(moto_s3: S3Server, size: int) -> None:
    """With `when_supported` S3 itself holds the CRC32C of all bytes."""
    prefix = secrets.token_hex(8)
    store = from_url(moto_s3.url(prefix, checksums="when_supported"))
    data = storing.content(size)
    storing.store(store, new_upload("file", size), data)
    found = moto_s3.client().head_object(
        Bucket=moto_s3.bucket, Key=f"{prefix}/file", ChecksumMode="ENABLED"
    )
    assert found["ChecksumType"] == "FULL_OBJECT"
    assert found["ChecksumCRC32C"] == b64encode(crc32c(data).to_bytes(4, "big")).decode()


def test_stored_parts_are_recognised_on_moto(moto_s3: S3Server) -> None:
    """A part is found if the server has its bytes."""
    service = store_at(moto_s3, checksums="when_supported").chunk_file_service()
    service.initialize_chunk(new_upload("file", 4))
    part = cut(b"data")[0]
    assert service.find_part(part) is None
    receipt = service.upload_part(part, no_heartbeat)
    assert receipt == service.find_part(part)
    service.cleanup(storing.no_heartbeat)
