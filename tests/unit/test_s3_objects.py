"""Whole objects of S3: what becomes of answers that no real server gives on request."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests import storing
from tests.servers.faulty_s3 import (
    Answer,
    FaultyS3,
    after,
    answer,
    error,
    running,
    stall,
    trickle,
)
from tests.waiting import wait_until

from chunkferry.errors import ConfigError, IntegrityError, StoreRefused, StoreUnavailable
from chunkferry.services import SignedUrlConfig
from chunkferry.storage import from_url, transfer
from chunkferry.storage.s3 import client as client_module
from chunkferry.storage.s3.profiles import PROFILES
from chunkferry.storage.s3.store import S3Store

MODIFIED = "Sun, 22 Nov 2026 17:00:00 GMT"
HOUR = timedelta(hours=1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access-key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-access-key")
    with running() as found:
        yield found


@pytest.fixture
def store(server: FaultyS3) -> S3Store:
    """A store with an object of 12 bytes, if nothing else is said."""
    server.on("HEAD", head(12))
    return store_at(f"endpoint_url={server.endpoint}")


def store_at(options: str, bucket: str = "bucket") -> S3Store:
    found = from_url(f"s3://{bucket}/prefix?{options}")
    assert isinstance(found, S3Store)
    return found


def head(length: int, etag: str = '"v1"', **headers: str) -> Answer:
    return answer(Content_Length=str(length), ETag=etag, Last_Modified=MODIFIED, **headers)


def body(text: str, etag: str = '"v1"', **headers: str) -> Answer:
    return answer(206, text, ETag=etag, Last_Modified=MODIFIED, **headers)


def reads(store: S3Store) -> list[Callable[[io.BytesIO], None]]:
    """Each way to write an object of 12 bytes, or its range, into a writer."""
    return [
        lambda writer: store.download("file", writer),
        lambda writer: store.stream("file", writer),
        lambda writer: store.download_range("file", writer, 0, 12),
    ]


def test_every_range_is_pinned_to_one_version(
    store: S3Store, server: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request names the bytes, and the tag that the first answer had."""
    monkeypatch.setattr(transfer, "RANGE", 5)
    server.on("GET", body("01234"), body("56789"), body("ab"))
    writer = io.BytesIO()
    store.stream("file", writer)
    assert writer.getvalue() == b"0123456789ab"
    asked = [(r.headers["Range"], r.headers["If-Match"]) for r in server.seen("GET")]
    assert asked == [("bytes=0-4", '"v1"'), ("bytes=5-9", '"v1"'), ("bytes=10-11", '"v1"')]


@pytest.mark.parametrize(
    "change",
    [
        error(412, "PreconditionFailed"),
        error(404, "NoSuchKey"),
        error(416, "InvalidRange"),
        body("0123456789ab", etag='"v2"'),
        body("0123456789abc"),
    ],
)
def test_two_versions_are_never_mixed(
    store: S3Store, server: FaultyS3, tmp_path: Path, change: Answer
) -> None:
    """A range of another version is an error, also where the server knows no conditions."""
    for read in reads(store):
        server.on("GET", change)
        with pytest.raises(IntegrityError, match="is not the object any more"):
            read(io.BytesIO())
    with pytest.raises(IntegrityError):
        store.download("file", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_body_is_gone_on_with(store: S3Store, server: FaultyS3) -> None:
    """What arrived before the connection broke is not asked for again."""
    for read in reads(store):
        server.on("GET", body("01234567", Content_Length="12"), body("89ab"))
        writer = io.BytesIO()
        read(writer)
        assert writer.getvalue() == b"0123456789ab"
        assert server.seen("GET")[-1].headers["Range"] == "bytes=8-11"


def test_bodies_that_keep_breaking_are_given_up(store: S3Store, server: FaultyS3) -> None:
    """After the tries of one request it is the caller's turn."""
    server.on("GET", body("0", Content_Length="12"), body("1", Content_Length="11"), stall)
    with pytest.raises(StoreUnavailable, match="reading 'file'"):
        store.download("file", io.BytesIO())
    assert len(server.seen("GET")) == client_module.ATTEMPTS


def test_a_body_that_trickles_for_ever_ends(store: S3Store, server: FaultyS3) -> None:
    """The deadline counts for the whole call; the connection does not stay behind."""
    store.exists("file")  # the first call makes the client, which takes its time
    store.set_timeout(timedelta(seconds=0.5))
    server.on("HEAD", head(12))
    server.on("GET", trickle(ETag='"v1"', Content_Length="12", Last_Modified=MODIFIED))
    for read in reads(store):
        server.gone.clear()
        with pytest.raises(StoreUnavailable, match=r"reading 'file': not done within 0\.5 s"):
            read(io.BytesIO())
        wait_until(server.gone.is_set, what="client has hung up")


def test_a_stream_that_trickles_for_ever_ends(store: S3Store, server: FaultyS3) -> None:
    """Each read of what get returned has the deadline."""
    store.exists("file")
    store.set_timeout(timedelta(seconds=0.5))
    server.on("GET", trickle(ETag='"v1"', Content_Length="999999", Last_Modified=MODIFIED))
    with store.get("file") as stream:
        with pytest.raises(StoreUnavailable, match=r"not done within 0\.5 s"):
            stream.read()
        wait_until(server.gone.is_set, what="client has hung up")


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.exists("file"),
        lambda s: s.head("file"),
        lambda s: s.md5("file"),
        lambda s: s.get("file"),
        lambda s: list(s.objects()),
        lambda s: s.put("file", io.BytesIO(b"data")),
        lambda s: s.upload("file", 4, io.BytesIO(b"data")),
        lambda s: s.download("file", io.BytesIO()),
        lambda s: s.delete("file"),
        lambda s: s.set_mime_type("file", "text/plain"),
    ],
)
def test_a_silent_server_ends_every_call(
    server: FaultyS3, store: S3Store, call: Callable[[S3Store], object]
) -> None:
    """No call lasts longer than the deadline, whatever it waits for."""
    store.set_timeout(timedelta(seconds=0.2))
    for operation in ("HEAD", "GET", "PUT", "DELETE"):
        server.on(operation, stall)
    with pytest.raises(StoreUnavailable, match=r"not done within 0\.2 s"):
        call(store)


@pytest.mark.parametrize(
    ("minutes", "call"),
    [
        (40, lambda s: s.download("file", io.BytesIO())),
        (40, lambda s: s.download_range("file", io.BytesIO(), 0, 12)),
        (25, lambda s: s.set_mime_type("file", "text/plain")),
    ],
)
def test_all_requests_of_a_call_share_its_time(
    server: FaultyS3,
    store: S3Store,
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
    call: Callable[[S3Store], object],
) -> None:
    """What the first of them took is missing to the others."""
    clock, span = storing.stopped_clock(monkeypatch), timedelta(minutes=minutes)
    copied = answer(200, "<CopyObjectResult><ETag>x</ETag></CopyObjectResult>")
    server.on("HEAD", after(clock, span, head(12)))
    server.on("GET", after(clock, span, body("0123456789ab")))
    server.on("PUT", after(clock, span, copied))
    call(store)
    store.set_timeout(HOUR)
    with pytest.raises(StoreUnavailable, match="not done within 3600 s"):
        call(store)


@pytest.mark.parametrize(
    ("requests", "call"),
    [
        (1, lambda s: s.exists("file")),
        (1, lambda s: s.head("file")),
        (1, lambda s: s.md5("file")),
        (1, lambda s: s.delete("file")),
        (1, lambda s: storing.read(s, "file")),
        (1, lambda s: s.put("file", io.BytesIO(b"data"))),
        (1, lambda s: s.upload("file", 4, io.BytesIO(b"data"))),
        (2, lambda s: s.download("file", io.BytesIO())),
        (2, lambda s: s.stream("file", io.BytesIO())),
        (2, lambda s: s.download_range("file", io.BytesIO(), 0, 12)),
        (1, lambda s: s.download_range("file", io.BytesIO(), 3, 3)),
        (3, lambda s: s.set_mime_type("file", "text/plain")),
        (0, lambda s: s.signed_url("file", HOUR)),
        (0, lambda s: s.put_signed_url("file", HOUR)),
    ],
)
def test_calls_cost_what_the_docs_say(
    server: FaultyS3, store: S3Store, requests: int, call: Callable[[S3Store], object]
) -> None:
    """The number of requests is part of what a store promises."""
    server.on("GET", body("0123456789ab"))
    server.on("PUT", answer(200, "<CopyObjectResult><ETag>x</ETag></CopyObjectResult>", ETag='"x"'))
    server.on("DELETE", answer(204))
    call(store)
    assert len(server.requests) == requests


def test_a_listing_leaves_out_what_is_no_path(store: S3Store, server: FaultyS3) -> None:
    """Folders that consoles make, and what is reserved, are nobody's objects."""
    keys = ["folder/", "a//b", ".chunkferry/x", "a%2Bb", "ok"]
    items = "".join(f"<Contents><Key>prefix/{k}</Key><Size>1</Size></Contents>" for k in keys)
    server.on(
        "GET",
        answer(
            200,
            "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
            f"{items}</ListBucketResult>",
        ),
    )
    assert [found.filepath for found in store.objects()] == ["a+b", "ok"]


@pytest.mark.parametrize(
    ("profile", "etag", "headers", "known"),
    [
        ("aws", "0" * 32, {}, True),
        ("r2", "0" * 32, {}, True),
        ("aws", f"{'0' * 32}-2", {}, False),
        ("aws", "0" * 32, {"x_amz_server_side_encryption_aws_kms_key_id": "k"}, False),
        ("aws", "0" * 32, {"x_amz_server_side_encryption_customer_algorithm": "AES256"}, False),
        ("generic", "0" * 32, {}, False),
        ("b2", "0" * 32, {}, False),
    ],
)
def test_only_a_tag_that_is_an_md5_is_taken_for_one(
    server: FaultyS3, profile: str, etag: str, headers: dict[str, str], *, known: bool
) -> None:
    """Tags of parts, of keyed encryption and of unknown servers are not."""
    server.on("HEAD", head(4, f'"{etag}"', **headers))
    store = store_at(f"endpoint_url={server.endpoint}&profile={profile}")
    assert store.md5("file") == (bytes(16) if known else None)


def test_another_type_keeps_all_else(server: FaultyS3) -> None:
    """What S3 would drop in a copy is sent again, of exactly the version that was seen."""
    server.on(
        "HEAD",
        head(
            4,
            Content_Type="text/plain",
            Cache_Control="no-cache",
            Content_Disposition="inline",
            Content_Encoding="gzip",
            x_amz_meta_name="value",
            x_amz_storage_class="STANDARD_IA",
        ),
    )
    server.on("PUT", answer(200, "<CopyObjectResult><ETag>x</ETag></CopyObjectResult>"))
    store = store_at(f"endpoint_url={server.endpoint}&sse=AES256&acl=private")
    store.set_mime_type("file", "image/png")
    (request,) = server.seen("PUT")
    sent = {name.lower(): value for name, value in request.headers.items()}
    wanted = {
        "content-type": "image/png",
        "cache-control": "no-cache",
        "content-disposition": "inline",
        "content-encoding": "gzip",
        "x-amz-meta-name": "value",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-metadata-directive": "REPLACE",
        "x-amz-copy-source-if-match": '"v1"',
        "x-amz-server-side-encryption": "AES256",
        "x-amz-acl": "private",
    }
    assert wanted == {name: sent.get(name) for name in wanted}


def test_a_changed_object_keeps_its_type(store: S3Store, server: FaultyS3) -> None:
    """An older version never takes the place of a newer one; trying again may succeed."""
    server.on("PUT", error(412, "PreconditionFailed"))
    with pytest.raises(StoreUnavailable, match="412"):
        store.set_mime_type("file", "image/png")


@pytest.mark.parametrize("bucket", ["bucket", "dotted.bucket"])
def test_urls_are_signed_for_the_region(server: FaultyS3, bucket: str) -> None:
    """Version 4, of the bucket's own endpoint: a redirect would break the signature."""
    store = store_at("region=eu-central-1", bucket)
    url = urlsplit(store.signed_url("file", HOUR))
    query = parse_qs(url.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["3600"]
    assert "/eu-central-1/s3/" in query["X-Amz-Credential"][0]
    if "." not in bucket:
        assert url.hostname == "bucket.s3.eu-central-1.amazonaws.com"


def test_only_a_named_type_is_signed(server: FaultyS3, store: S3Store) -> None:
    """An uploader has to send what was agreed on, and nothing else."""
    free = parse_qs(urlsplit(store.put_signed_url("file", HOUR)).query)
    config = SignedUrlConfig(content_type="text/plain")
    bound = parse_qs(urlsplit(store.put_signed_url("file", HOUR, config)).query)
    assert free["X-Amz-SignedHeaders"] == ["host"]
    assert bound["X-Amz-SignedHeaders"] == ["content-type;host"]


def test_a_url_needs_credentials(server: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any, nothing can be signed, now or later."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(StoreRefused, match="NoCredentials"):
        store_at(f"endpoint_url={server.endpoint}").signed_url("file", HOUR)


def test_the_sdk_tries_again_on_its_own_terms_only(
    server: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tries are ours to count: no variable of boto3 makes a layer more of them."""
    monkeypatch.setenv("AWS_RETRY_MODE", "legacy")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "9")
    server.on("HEAD", error(503, "SlowDown"))
    with pytest.raises(StoreUnavailable):
        store_at(f"endpoint_url={server.endpoint}").exists("file")
    assert len(server.seen("HEAD")) == client_module.ATTEMPTS


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_profile_gives_the_defaults(profile: str) -> None:
    """What the table says is what the store does, unless the URL says otherwise."""
    wanted = PROFILES[profile]
    options = store_at(f"endpoint_url=http://x&profile={profile}")._bucket.options
    assert options.kind is wanted
    assert (options.checksums, options.conditional_writes, options.addressing_style) == (
        wanted.checksums,
        wanted.conditional_writes,
        wanted.addressing_style,
    )
    changed = store_at(
        f"endpoint_url=http://x&profile={profile}&conditional_writes="
        f"{not wanted.conditional_writes}"
    )
    assert changed._bucket.options.conditional_writes is not wanted.conditional_writes


@pytest.mark.parametrize(
    ("options", "profile"),
    [("", "aws"), ("region=x", "aws"), ("endpoint_url=http://x", "generic")],
)
def test_without_a_profile_the_endpoint_decides(options: str, profile: str) -> None:
    """Whatever is not AWS is expected to know the least."""
    assert store_at(options)._bucket.options.profile == profile


def test_an_unknown_profile_is_refused() -> None:
    """The error lists the known ones, and where boto3's profiles have gone."""
    with pytest.raises(ConfigError, match=r"one of aws, generic, r2, .*boto3's own is aws_profile"):
        store_at("profile=production")
