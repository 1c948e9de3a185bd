"""``S3Store``: what it makes of answers that no real server gives on request."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import md5

import pytest
from tests.servers.faulty_s3 import (
    Answer,
    FaultyS3,
    Handler,
    answer,
    error,
    lose_answer,
    reset_after,
    running,
    stall,
)
from tests.storing import PART, content, crc32c, cut, new_upload, no_heartbeat, read, send

from chunkferry.errors import (
    ChunkferryError,
    IntegrityError,
    InvalidPath,
    LeaseLost,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from chunkferry.services import Part
from chunkferry.storage import from_url
from chunkferry.storage.s3 import client as client_module
from chunkferry.storage.s3 import metadata
from chunkferry.storage.s3.bucket import Bucket
from chunkferry.storage.s3.store import S3Store
from chunkferry.storage.s3.upload import S3FileService
from chunkferry.storage.url import parse
from chunkferry.upload import ChunkUpload

CREATED = answer(
    200,
    "<InitiateMultipartUploadResult><UploadId>session-1</UploadId></InitiateMultipartUploadResult>",
)
COMPLETED = answer(
    200,
    "<CompleteMultipartUploadResult><Key>k</Key><ETag>x</ETag></CompleteMultipartUploadResult>",
)
NO_PARTS = answer(200, "<ListPartsResult></ListPartsResult>")


@dataclass(frozen=True, kw_only=True)
class Case:
    """An upload of four bytes to a server that does as it is told."""

    server: FaultyS3
    store: S3Store
    upload: ChunkUpload
    service: S3FileService


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access-key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-access-key")
    with running() as found:
        yield found


def store_at(server: FaultyS3, options: str = "") -> S3Store:
    store = from_url(f"s3://bucket/prefix?endpoint_url={server.endpoint}{options}")
    assert isinstance(store, S3Store)
    return store


def case_at(server: FaultyS3, options: str = "") -> Case:
    """A case whose session is open and which everything goes well with, unless told otherwise."""
    upload = new_upload("file", 4)
    server.on("POST uploads", CREATED)
    server.on("PUT partNumber", answer(ETag=f'"{md5(b"data").hexdigest()}"'))
    server.on("POST uploadId", COMPLETED)
    server.on("HEAD", head_of(upload))
    server.on("GET uploadId", NO_PARTS)
    store = store_at(server, options)
    service = store.chunk_file_service()
    service.initialize_chunk(upload)
    return Case(server=server, store=store, upload=upload, service=service)


@pytest.fixture
def case(server: FaultyS3) -> Case:
    return case_at(server)


def head_of(upload: ChunkUpload, *, length: int = 4, etag: str = "", **headers: str) -> Answer:
    return answer(
        ETag=etag or f'"{composite(b"data")}"',
        Content_Length=str(length),
        x_amz_meta_chunkferry_upload=upload.upload_id,
        Last_Modified="Sun, 22 Nov 2026 17:00:00 GMT",
        **headers,
    )


def composite(data: bytes) -> str:
    return f"{md5(md5(data).digest()).hexdigest()}-1"


def complete(case: Case) -> object:
    parts = send(case.service, cut(b"data"))
    return case.service.complete_upload(parts, crc32c(b"data"), no_heartbeat)


def test_a_failing_server_is_tried_again_and_given_up(case: Case) -> None:
    """After three answers of 500 the worker backs off, and the lease is free."""
    case.server.on("PUT partNumber", error(500, "InternalError"))
    with pytest.raises(StoreUnavailable, match=r"uploading part 1 of 'prefix/file': InternalError"):
        case.service.upload_part(cut(b"data")[0], no_heartbeat)
    assert len(case.server.seen("PUT partNumber")) == client_module.ATTEMPTS


def test_a_retry_sends_the_whole_body(case: Case) -> None:
    """Botocore rewinds the part between its tries."""
    data = content(PART)
    ok = answer(ETag=f'"{md5(data).hexdigest()}"')
    case.server.on("PUT partNumber", reset_after(PART // 2), ok)
    case.service.upload_part(cut(data)[0], no_heartbeat)
    assert case.server.seen("PUT partNumber")[-1].body == data


def test_a_silent_server_is_given_up(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is never answered ends by itself, after as long as the URL says."""
    monkeypatch.setattr(client_module, "ATTEMPTS", 1)
    service = store_at(case.server, "&read_timeout_seconds=0.1").chunk_file_service()
    service.restore(case.upload, case.service.save())
    case.server.on("PUT partNumber", stall)
    with pytest.raises(StoreUnavailable, match="ReadTimeoutError"):
        service.upload_part(cut(b"data")[0], no_heartbeat)


def test_a_reset_connection_is_retryable(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks in the middle of a part is no refusal."""
    monkeypatch.setattr(client_module, "ATTEMPTS", 1)
    service = store_at(case.server).chunk_file_service()
    service.restore(case.upload, case.service.save())
    case.server.on("PUT partNumber", reset_after(1000))
    with pytest.raises(StoreUnavailable):
        service.upload_part(cut(content(PART))[0], no_heartbeat)


def test_a_lost_lease_is_not_retried(case: Case) -> None:
    """What the heartbeat raises in the middle of a part comes out at once and unwrapped."""
    lost = LeaseLost("gone")
    beats: list[None] = []

    def heartbeat() -> None:
        beats.append(None)
        if len(beats) > 20:
            raise lost

    with pytest.raises(LeaseLost) as caught:
        case.service.upload_part(cut(content(PART))[0], heartbeat)
    assert caught.value is lost
    assert len(beats) == 21
    # The broken connection is not used again.
    case.service.upload_part(cut(b"data")[0], no_heartbeat)
    assert [request.body for request in case.server.seen("PUT partNumber")] == [b"data"]


def test_an_error_inside_a_success_is_an_error(case: Case) -> None:
    """S3 may answer 200 and then report a failure in the body."""
    case.server.on("POST uploadId", error(200, "InternalError"))
    with pytest.raises(StoreUnavailable):
        complete(case)
    case.server.on("POST uploadId", error(200, "InternalError"), COMPLETED)
    assert complete(case) == case.service.find_object()


def test_a_lost_answer_to_a_completion_is_no_failure(case: Case) -> None:
    """The object itself proves that the first try succeeded."""
    case.server.on("POST uploadId", lose_answer, error(404, "NoSuchUpload"))
    assert complete(case) == case.service.find_object()


def test_a_session_that_is_gone_is_told_from_a_busy_server(case: Case) -> None:
    """Ceph answers 500 where the session is gone; the list of parts tells."""
    case.server.on("POST uploadId", error(500, "InternalError"))
    case.server.on("GET uploadId", error(404, "NoSuchUpload"))
    assert complete(case) == case.service.find_object()
    case.server.on("HEAD", head_of(new_upload("file", 4)))
    with pytest.raises(SessionLost):
        complete(case)


def test_changed_etags_of_the_same_bytes_are_taken_over(server: FaultyS3) -> None:
    """A repeated part has a new ETag with SSE-KMS; its checksum proves that it is the same."""
    case = case_at(server, "&checksums=when_supported")
    checksum = b64encode(crc32c(b"data").to_bytes(4, "big")).decode()
    server.on("PUT partNumber", answer(ETag='"first"'))
    server.on("POST uploadId", error(400, "InvalidPart"), COMPLETED)
    server.on("GET uploadId", parts_list(size=4, etag="second", checksum=checksum))
    complete(case)
    assert b"<ETag>second</ETag>" in server.seen("POST uploadId")[-1].body


@pytest.mark.parametrize(("size", "checksum"), [(5, "same"), (4, "AAAAAA==")])
def test_changed_parts_are_never_taken_over(server: FaultyS3, size: int, checksum: str) -> None:
    """A part of another size or checksum is not the one that was recorded."""
    case = case_at(server, "&checksums=when_supported")
    same = b64encode(crc32c(b"data").to_bytes(4, "big")).decode()
    server.on("POST uploadId", error(400, "InvalidPart"))
    server.on(
        "GET uploadId",
        parts_list(size=size, etag="second", checksum=same if checksum == "same" else checksum),
    )
    with pytest.raises(IntegrityError, match="part 1"):
        complete(case)


def parts_list(*, size: int, etag: str, checksum: str) -> Answer:
    return answer(
        200,
        f"<ListPartsResult><Part><PartNumber>1</PartNumber><Size>{size}</Size>"
        f"<ETag>&quot;{etag}&quot;</ETag><ChecksumCRC32C>{checksum}</ChecksumCRC32C></Part>"
        "</ListPartsResult>",
    )


def test_a_wrong_sum_of_all_parts_stops_the_upload(server: FaultyS3) -> None:
    """S3 itself compares the checksum of the whole object."""
    case = case_at(server, "&checksums=when_supported")
    server.on("POST uploadId", error(400, "BadDigest"))
    with pytest.raises(IntegrityError, match="do not add up"):
        complete(case)


@pytest.mark.parametrize(
    ("length", "headers", "what"),
    [
        (5, {}, "size 5, expected 4"),
        (4, {"etag": '"00000000000000000000000000000000-1"'}, "ETag"),
        (
            4,
            {"x_amz_checksum_crc32c": "AAAAAA==", "x_amz_checksum_type": "FULL_OBJECT"},
            "CRC32C",
        ),
    ],
)
def test_an_object_that_differs_is_found_out(
    case: Case, length: int, headers: dict[str, str], what: str
) -> None:
    """A completion is believed only if the object is as it should be."""
    case.server.on("HEAD", head_of(case.upload, length=length, **headers))
    with pytest.raises(IntegrityError, match=what):
        complete(case)


def test_an_object_of_somebody_else_is_found_out(case: Case) -> None:
    """A completed object without our id is not ours."""
    case.server.on("HEAD", head_of(new_upload("file", 4)))
    with pytest.raises(IntegrityError, match="id"):
        complete(case)


def test_etags_that_are_no_md5_are_not_compared(case: Case) -> None:
    """Some servers have ETags of their own; the sizes still have to agree."""
    case.server.on("PUT partNumber", answer(ETag='"not-an-md5"'))
    case.server.on("HEAD", head_of(case.upload, etag='"whatever-1"'))
    assert complete(case) == case.service.find_object()


def test_the_body_is_signed_where_no_checksum_is_sent(case: Case) -> None:
    """Every request that carries bytes lets the server check them."""
    complete(case)
    (request,) = case.server.seen("PUT partNumber")
    assert len(request.headers["X-Amz-Content-SHA256"]) == 64
    assert "x-amz-checksum-crc32c" not in request.headers


def test_a_checksum_replaces_the_signature_of_the_body(server: FaultyS3) -> None:
    """One checksum per part is enough."""
    case = case_at(server, "&checksums=when_supported")
    complete(case)
    (request,) = server.seen("PUT partNumber")
    assert request.headers["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD"
    assert (
        request.headers["x-amz-checksum-crc32c"]
        == b64encode(crc32c(b"data").to_bytes(4, "big")).decode()
    )


def test_options_reach_the_object(server: FaultyS3) -> None:
    """Encryption, class, ACL and tags are asked for when the session is opened."""
    case_at(
        server,
        "&sse=aws:kms&sse_kms_key_id=key&storage_class=STANDARD_IA&acl=private&tags=k%3Dv%26a%3Db",
    )
    (request,) = server.seen("POST uploads")
    sent = {name.lower(): value for name, value in request.headers.items()}
    assert sent["x-amz-server-side-encryption"] == "aws:kms"
    assert sent["x-amz-server-side-encryption-aws-kms-key-id"] == "key"
    assert sent["x-amz-storage-class"] == "STANDARD_IA"
    assert sent["x-amz-acl"] == "private"
    assert sent["x-amz-tagging"] == "k=v&a=b"
    assert sent["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", StoreRefused),
        (501, "NotImplemented", StoreRefused),
        (403, "InvalidAccessKeyId", StoreRefused),
        (403, "SignatureDoesNotMatch", StoreRefused),
        (404, "NoSuchBucket", StoreRefused),
        (400, "InvalidDigest", StoreRefused),
        (400, "EntityTooLarge", StoreRefused),
        (404, "NoSuchUpload", SessionLost),
        (404, "NoSuchKey", SessionLost),
        (400, "BadDigest", StoreUnavailable),
        (400, "RequestTimeout", StoreUnavailable),
        (400, "XAmzContentSHA256Mismatch", StoreUnavailable),
        (400, "ExpiredToken", StoreUnavailable),
        (403, "QuotaExceeded", StoreUnavailable),
        (429, "TooManyRequests", StoreUnavailable),
        (503, "SlowDown", StoreUnavailable),
        (507, "Whatever", StoreUnavailable),
        (500, "InternalError", StoreUnavailable),
        (502, "Whatever", StoreUnavailable),
        (503, "ServiceUnavailable", StoreUnavailable),
        (504, "Whatever", StoreUnavailable),
        (408, "Whatever", StoreUnavailable),
        (409, "OperationAborted", StoreUnavailable),
        (409, "ConditionalRequestConflict", StoreUnavailable),
        (400, "XAmzContentChecksumMismatch", StoreUnavailable),
        (400, "Throttling", StoreUnavailable),
        (401, "Unauthorized", StoreRefused),
        (403, "RequestTimeTooSkewed", StoreRefused),
        (403, "AccountProblem", StoreRefused),
        (405, "MethodNotAllowed", StoreRefused),
        (400, "InvalidBucketName", StoreRefused),
        (400, "InvalidArgument", StoreRefused),
    ],
)
def test_errors_are_told_apart(
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    kind: type[ChunkferryError],
) -> None:
    """What may pass is retried; what stays is given up; a lost session is neither."""
    monkeypatch.setattr(client_module, "ATTEMPTS", 1)
    service = store_at(case.server).chunk_file_service()
    service.restore(case.upload, case.service.save())
    case.server.on("PUT partNumber", error(status, code))
    with pytest.raises(kind, match=code) as caught:
        service.upload_part(cut(b"data")[0], no_heartbeat)
    assert caught.value.retryable is (kind is StoreUnavailable)


def test_growing_parts_are_refused_where_all_must_be_of_one_size(server: FaultyS3) -> None:
    """R2 would refuse them only at the very end; a known length never comes to that."""
    server.on("PUT partNumber", answer(ETag='"x"'))
    service = store_at(server, "&profile=r2").chunk_file_service()
    service.restore(new_upload("file", None), "session-1")
    grid = new_upload("file", None).grid
    offset = 500 * grid.part_size
    last, first = part_at(500, offset - grid.part_size), part_at(501, offset)
    grown = part_at(502, grid.boundary(offset))
    service.upload_part(last, no_heartbeat)
    service.upload_part(first, no_heartbeat)
    with pytest.raises(StoreRefused, match="takes parts of one size only"):
        service.upload_part(grown, no_heartbeat)
    store_at(server).chunk_file_service().restore(new_upload("file", None), "session-1")


def part_at(number: int, offset: int) -> Part:
    return Part(number=number, offset=offset, data=memoryview(b"data"), crc32c=crc32c(b"data"))


def test_an_answer_of_something_else_is_retryable(case: Case) -> None:
    """A proxy's page instead of XML says nothing about the object."""
    case.server.on("POST uploads", answer(200, "<html><p>Welcome"))
    with pytest.raises(StoreUnavailable, match="starting 'prefix/file'"):
        case.store.chunk_file_service().initialize_chunk(case.upload)


def test_errors_hold_no_secrets(case: Case) -> None:
    """Neither keys nor signatures nor session ids get into an error's text."""
    case.server.on("PUT partNumber", error(403, "SignatureDoesNotMatch"))
    with pytest.raises(StoreRefused) as caught:
        case.service.upload_part(cut(b"data")[0], no_heartbeat)
    for secret in ("access-key-id", "secret-access-key", "session-1", "Signature="):
        assert secret not in str(caught.value)


def test_an_object_that_ends_early_is_an_error(case: Case) -> None:
    """A short answer is never taken for the whole object."""
    case.server.on("GET", answer(200, "half", Content_Length="8"))
    with pytest.raises(StoreUnavailable, match="reading 'file'"):
        read(case.store, "file")


def test_a_refused_head_is_not_an_answer(case: Case) -> None:
    """No permission means neither that the object exists nor that it does not."""
    case.server.on("HEAD", error(403, ""))
    with pytest.raises(StoreRefused):
        case.store.exists("file")


def test_cleanup_gives_up_on_endless_sessions(case: Case) -> None:
    """Sessions that come back after each abort are reported, not fought for ever."""
    case.server.on("DELETE uploadId", answer(204))
    case.server.on(
        "GET uploads",
        answer(
            200,
            "<ListMultipartUploadsResult><Upload><Key>prefix/file</Key>"
            "<UploadId>again</UploadId></Upload></ListMultipartUploadsResult>",
        ),
    )
    with pytest.raises(StoreUnavailable, match="still listed"):
        case.service.cleanup(no_heartbeat)


def listing(*uploads: str, marker: str = "") -> Answer:
    """What is unfinished, as S3 lists it; ``marker`` if there is more."""
    more = f"<IsTruncated>true</IsTruncated><NextKeyMarker>{marker}</NextKeyMarker>"
    body = "".join(f"<Upload>{upload}</Upload>" for upload in uploads)
    return answer(
        200,
        f"<ListMultipartUploadsResult>{more if marker else ''}{body}</ListMultipartUploadsResult>",
    )


def session(key: str, initiated: str = "") -> str:
    """One unfinished upload of a listing."""
    date = f"<Initiated>{initiated}</Initiated>" if initiated else ""
    return f"<Key>{key}</Key><UploadId>s-{key}</UploadId>{date}"


def test_what_a_server_lists_beside_the_prefix_is_passed_over(case: Case) -> None:
    """Some servers do not heed the prefix that they are asked for."""
    keys = ("prefix/file", "prefixed/file", "stranger/file", "file")
    case.server.on("GET uploads", listing(*map(session, keys)))
    assert [found.filepath for found in case.store.unfinished()] == ["file"]


def test_an_unfinished_upload_without_a_date_is_never_old(case: Case) -> None:
    """What cannot be told is not guessed."""
    case.server.on("GET uploads", listing(session("prefix/file")))
    assert [found.age for found in case.store.unfinished()] == [timedelta(0)]


@pytest.mark.parametrize(
    ("date", "hours"),
    [
        ("Wed, 01 Jan 2020 12:00:00 GMT", 2),
        ("Wed, 01 Jan 2020 12:00:00 -0000", 2),
        ("Wed, 01 Jan 2020 12:00:00 +0200", 0),
    ],
)
def test_an_age_is_told_by_the_servers_clock(case: Case, date: str, hours: int) -> None:
    """Ours may differ by years."""

    def dated(handler: Handler) -> None:
        handler.date_time_string = lambda *_: date  # type: ignore[method-assign]  # its clock
        listing(session("prefix/file", "2020-01-01T10:00:00.000Z"))(handler)

    case.server.on("GET uploads", dated)
    assert [found.age for found in case.store.unfinished()] == [timedelta(hours=hours)]


def test_a_server_without_a_clock_is_dated_by_ours(case: Case) -> None:
    """Whatever a proxy has made of the header."""

    def undated(handler: Handler) -> None:
        handler.date_time_string = lambda *_: "nonsense"  # type: ignore[method-assign]  # no clock
        listing(session("prefix/file", "2020-01-01T10:00:00.000Z"))(handler)

    case.server.on("GET uploads", undated)
    assert [found.age > timedelta(days=365) for found in case.store.unfinished()] == [True]


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (error(403, "AccessDenied"), StoreRefused),
        (error(503, "SlowDown"), StoreUnavailable),
        (listing(session("prefix/file"), marker="prefix/file"), StoreRefused),
    ],
    ids=["denied", "slow", "endless"],
)
def test_a_listing_that_fails_is_no_empty_one(
    case: Case, refusal: Answer, kind: type[ChunkferryError]
) -> None:
    """Without permission, under load, and where a server gives the same page again and again."""
    case.server.on("GET uploads", refusal)
    with pytest.raises(kind):
        list(case.store.unfinished())


@pytest.mark.parametrize(
    ("call", "operation"), [("weigh", "GET uploadId"), ("remove", "DELETE uploadId")]
)
def test_what_is_gone_or_forbidden_is_told_apart(case: Case, call: str, operation: str) -> None:
    """A session that somebody else removed weighs nothing; one without permission is an error."""
    case.server.on("GET uploads", listing(session("prefix/file")))
    (found,) = case.store.unfinished()
    case.server.on(operation, error(404, "NoSuchUpload"))
    assert not getattr(case.store, call)(found)
    case.server.on(operation, error(403, "AccessDenied"))
    with pytest.raises(StoreRefused):
        getattr(case.store, call)(found)


def test_without_conditions_nothing_is_put_whole(case: Case) -> None:
    """An unconditional PUT is no fence, so it is not offered."""
    assert not case.service.can_put_whole(4)
    assert store_at(case.server, "&conditional_writes=true").chunk_file_service().can_put_whole(4)


def test_a_fork_gets_a_client_of_its_own(server: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets are not shared among processes; within one, the client is."""
    bucket = Bucket(parse(f"s3://bucket?endpoint_url={server.endpoint}"))
    parent = bucket.client
    assert bucket.client is parent
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert bucket.client is not parent


def test_a_key_too_long_with_its_prefix_is_refused(server: FaultyS3) -> None:
    """S3's limit holds for prefix and path together."""
    with pytest.raises(InvalidPath, match="with its prefix"):
        store_at(server).exists("/".join(["abc"] * 255))


def test_metadata_becomes_ascii() -> None:
    """Names are tokens; values that are not plain ASCII become RFC 2047 words."""
    encoded = metadata.encode(
        "id", {"Name": "plain text", "ä": "ü", "sneaky": "=?x?=", "line": "a\r\nb", "empty": ""}
    )
    assert encoded == {
        "chunkferry-upload": "id",
        "name": "plain text",
        "%C3%A4": "=?UTF-8?B?w7w=?=",
        "sneaky": "=?UTF-8?B?PT94Pz0=?=",
        "line": "=?UTF-8?B?YQ0KYg==?=",
        "empty": "",
    }


@pytest.mark.parametrize(
    ("notes", "reason"),
    [
        ({"a": "x" * 2048}, "2048 or fewer"),
        ({"chunkferry-upload": "other"}, "reserved"),
        ({"A": "1", "a": "2"}, "there twice"),
        ({"": "1"}, "empty"),
    ],
)
def test_metadata_that_s3_cannot_hold_is_refused(notes: dict[str, str], reason: str) -> None:
    """The upload fails for good, with the reason."""
    with pytest.raises(StoreRefused, match=reason):
        metadata.encode("id", notes)


@pytest.mark.parametrize(
    "code", ["s3cret bytes", "Slow\nDown", "x" * 65, "&lt;Key&gt;", "", "\u202eDown"]
)
def test_what_a_server_answers_is_not_repeated(case: Case, code: str) -> None:
    """Only what looks like one of S3's codes: the rest of its words could be anything."""
    body = f"<Error><Code>{code}</Code><Message>s3cret</Message><Key>s3cret</Key></Error>"
    case.server.on("PUT partNumber", answer(403, body))
    with pytest.raises(StoreRefused) as raised:
        case.service.upload_part(cut(b"data")[0], no_heartbeat)
    assert str(raised.value).startswith("uploading part 1 of 'prefix/file': ")
    assert str(raised.value).endswith(" (HTTP 403)")
    assert str(raised.value).isprintable()
    assert "s3cret" not in str(raised.value)
    assert len(str(raised.value)) < 100
