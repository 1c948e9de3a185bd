"""``GcsStore``: the protocol of resumable sessions, and answers that no emulator gives."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import google.auth
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from google.api_core import exceptions as api_exceptions
from google.auth import exceptions as auth_exceptions
from google.auth.credentials import AnonymousCredentials
from google.oauth2 import credentials as user_credentials
from tests import storing
from tests.servers import scripted
from tests.servers.gcs import PUBLIC_KEY, GcsServer
from tests.servers.scripted import Answer, Handler, ScriptedServer, answer, lose_answer, stall
from tests.storing import PART, content, crc32c, cut, new_upload, no_heartbeat, read, send

from chunkferry.errors import (
    ChunkferryError,
    ConfigError,
    IntegrityError,
    InvalidPath,
    LeaseLost,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from chunkferry.services import SignedUrlConfig, SignedUrlService, StoredPart
from chunkferry.storage import from_url
from chunkferry.storage.gcs import client as client_module
from chunkferry.storage.gcs import errors, metadata
from chunkferry.storage.gcs.bucket import Bucket
from chunkferry.storage.gcs.store import GcsStore, SigningGcsStore
from chunkferry.storage.gcs.upload import GcsFileService
from chunkferry.storage.url import parse
from chunkferry.upload import ChunkUpload

UNIT = 256 * 1024
#: Their constructors have no types.
google_errors: Any = api_exceptions
auth_errors: Any = auth_exceptions


def naming(handler: Handler) -> str:
    """The operation of a request, as this module calls it."""
    url = urlsplit(handler.path)
    if "/session" in url.path:
        span = handler.headers.get("Content-Range", "")
        kinds = {r"bytes \*/\*": "ask", r"bytes \d+-\d+/\*": "send"}
        kind = next((name for text, name in kinds.items() if re.fullmatch(text, span)), "finish")
        return kind if handler.command == "PUT" else "cancel"
    kind = parse_qs(url.query).get("uploadType", parse_qs(url.query).get("alt", [""]))[0]
    tail = "tail" if "tail" in handler.path or "multipart" in kind else ""
    return " ".join(filter(None, (handler.command, kind, tail)))


@dataclass(frozen=True, kw_only=True)
class Case:
    """An upload to a server that does as it is told."""

    server: ScriptedServer
    store: GcsStore
    upload: ChunkUpload
    service: GcsFileService
    data: bytes

    def restored(self) -> GcsFileService:
        """What another worker makes of it."""
        service = self.store.chunk_file_service()
        service.restore(self.upload, self.service.save())
        return service

    def parts(self) -> list[StoredPart]:
        """A record of all parts, none of which is sent."""
        return [
            StoredPart(number=p.number, size=len(p.data), crc32c=p.crc32c, receipt="")
            for p in cut(self.data)
        ]

    def complete(self) -> object:
        return self.restored().complete_upload(self.parts(), crc32c(self.data), no_heartbeat)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with scripted.running(naming) as found:
        yield found


def store_at(server: ScriptedServer, options: str = "") -> GcsStore:
    store = from_url(f"gs://bucket/prefix?endpoint_url={server.endpoint}&anonymous=true{options}")
    assert isinstance(store, GcsStore)
    return store


def committed(size: int) -> Answer:
    return answer(308, Range=f"bytes=0-{size - 1}") if size else answer(308)


def error(status: int, message: str = "") -> Answer:
    return answer(
        status,
        json.dumps({"error": {"code": status, "message": message}}),
        Content_Type="application/json",
    )


def described(data: bytes, upload: ChunkUpload | None = None, **other: str) -> Answer:
    fields: dict[str, object] = {
        "name": "prefix/file",
        "size": str(len(data)),
        "crc32c": b64encode(crc32c(data).to_bytes(4, "big")).decode(),
        "etag": "etag",
        "generation": "1",
        "updated": "2026-11-22T17:00:00.000Z",
        "metadata": {metadata.UPLOAD_ID: upload.upload_id} if upload else {},
    }
    return answer(200, json.dumps(fields | other), Content_Type="application/json")


def case_at(server: ScriptedServer, size: int, options: str = "") -> Case:
    """A case whose session is open, and that everything goes well with unless told otherwise."""
    data = content(size)
    upload = new_upload("file", size)
    whole = size // UNIT * UNIT
    server.on("POST resumable", answer(200, Location=f"{server.endpoint}/session-1"))
    server.on("ask", committed(0), committed(whole))
    server.on("send", committed(whole))
    server.on("finish", described(data, upload))
    server.on("GET json", described(data, upload))
    server.on("GET", described(data, upload))
    server.on("POST multipart tail", described(data[whole:]))
    server.on("GET media tail", answer(200, data[whole:].decode("latin-1")))
    server.on("DELETE tail", answer(204))
    server.on("cancel", answer(499))
    store = store_at(server, options)
    service = store.chunk_file_service()
    service.initialize_chunk(upload)
    return Case(server=server, store=store, upload=upload, service=service, data=data)


@pytest.fixture
def case(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Two parts of whole units."""
    monkeypatch.setattr(client_module, "RETRY_SECONDS", 1.0)
    return case_at(server, PART + UNIT)


def spans(case: Case, operation: str = "send") -> list[str]:
    return [request.headers["Content-Range"] for request in case.server.seen(operation)]


# --- what is sent -----------------------------------------------------------------------------


def test_a_part_is_a_chunk_that_does_not_end_the_object(case: Case) -> None:
    """Each request names its bytes, and leaves the total open."""
    case.server.on("send", committed(PART), committed(PART + UNIT))
    send(case.service, cut(case.data))
    assert spans(case) == [f"bytes 0-{PART - 1}/*", f"bytes {PART}-{PART + UNIT - 1}/*"]
    assert b"".join(request.body for request in case.server.seen("send")) == case.data
    assert case.server.seen("finish") == []


def test_the_last_request_names_total_and_checksum(case: Case) -> None:
    """Where all bytes are there already, it is empty."""
    case.server.on("ask", committed(PART + UNIT))
    case.complete()
    (request,) = case.server.seen("finish")
    assert request.headers["Content-Range"] == f"bytes */{PART + UNIT}"
    assert request.body == b""
    checksum = b64encode(crc32c(case.data).to_bytes(4, "big")).decode()
    assert request.headers["X-Goog-Hash"] == f"crc32c={checksum}"


def test_the_end_of_the_last_part_waits_elsewhere(server: ScriptedServer) -> None:
    """What no session takes before the last request is durable before the part counts."""
    case = case_at(server, UNIT + 7)
    send(case.service, cut(case.data))
    assert spans(case) == [f"bytes 0-{UNIT - 1}/*"]
    (stored,) = server.seen("POST multipart tail")
    assert f"prefix/.chunkferry/{case.upload.upload_id}.tail".encode() in stored.body
    assert case.data[-7:] in stored.body
    assert server.seen("finish") == []


def test_an_end_that_is_not_there_stops_the_completion(server: ScriptedServer) -> None:
    """Neither a missing end nor a shorter one is completed."""
    case = case_at(server, UNIT + 7)
    server.on("ask", committed(UNIT))
    for found in (error(404, "No such object: bucket/x"), answer(200, "short")):
        server.on("GET media tail", found)
        with pytest.raises(IntegrityError, match="expected 7"):
            case.complete()
    assert server.seen("finish") == []


def test_sessions_get_no_credentials(case: Case) -> None:
    """The URI is one already, and the object's notes were given when it was opened."""
    case.server.on("send", committed(PART), committed(PART + UNIT))
    send(case.service, cut(case.data))
    assert all("Authorization" not in request.headers for request in case.server.seen("send"))
    (opened,) = case.server.seen("POST resumable")
    assert json.loads(opened.body)["metadata"] == {metadata.UPLOAD_ID: case.upload.upload_id}


# --- going on ---------------------------------------------------------------------------------


def test_another_worker_asks_where_to_go_on(case: Case) -> None:
    """Bytes that the session has are not sent again."""
    case.server.on("ask", committed(UNIT))
    case.server.on("send", committed(PART))
    send(case.restored(), cut(case.data)[:1])
    assert spans(case) == [f"bytes {UNIT}-{PART - 1}/*"]


def test_a_part_that_is_there_is_not_sent(case: Case) -> None:
    """The session counts; its worker died before it could."""
    case.server.on("ask", committed(PART + UNIT))
    send(case.restored(), cut(case.data))
    assert spans(case) == []


def test_a_session_that_took_less_gets_the_rest(case: Case) -> None:
    """A 308 says how much came; the rest follows at once."""
    case.server.on("send", committed(2 * UNIT), committed(PART))
    send(case.service, cut(case.data)[:1])
    assert spans(case) == [f"bytes 0-{PART - 1}/*", f"bytes {2 * UNIT}-{PART - 1}/*"]


@pytest.mark.parametrize("fault", [lose_answer, error(500), error(503), error(429), error(408)])
def test_an_interrupted_part_goes_on_where_it_came_to(case: Case, fault: Answer) -> None:
    """After any fault the session is asked; its bytes are never doubled."""
    case.server.on("ask", committed(3 * UNIT))
    case.server.on("send", fault, committed(PART))
    send(case.service, cut(case.data)[:1])
    assert spans(case)[-1] == f"bytes {3 * UNIT}-{PART - 1}/*"


def test_a_reset_connection_is_no_end(case: Case) -> None:
    """A request that broke off in the middle is followed by the rest."""
    case.server.on("ask", committed(UNIT))
    case.server.on("send", scripted.reset_after(UNIT + 5), committed(PART))
    send(case.service, cut(case.data)[:1])
    assert spans(case) == [f"bytes {UNIT}-{PART - 1}/*"]


def test_a_session_that_takes_nothing_is_given_up(case: Case) -> None:
    """The worker backs off instead of trying for ever."""
    case.server.on("ask", committed(0))
    case.server.on("send", committed(0))
    with pytest.raises(StoreUnavailable, match="took nothing at 0"):
        send(case.service, cut(case.data)[:1])


def test_a_session_with_a_gap_stops_the_upload(case: Case) -> None:
    """Bytes that were confirmed and are gone cannot be had again."""
    case.server.on("ask", committed(UNIT))
    with pytest.raises(IntegrityError, match=f"has {UNIT} bytes, expected {PART}"):
        send(case.restored(), cut(case.data)[1:])


@pytest.mark.parametrize("status", [404, 410, 499])
def test_a_session_that_is_gone_is_told(case: Case, status: int) -> None:
    """Expired, cancelled or never there: the drain decides what that means."""
    case.server.on("send", error(status))
    with pytest.raises(SessionLost, match=str(status)):
        send(case.service, cut(case.data)[:1])
    case.server.on("ask", error(status))
    with pytest.raises(SessionLost):
        send(case.restored(), cut(case.data)[:1])


def test_a_session_that_made_its_object_takes_no_part(case: Case) -> None:
    """Google answers 200 to whatever is sent to it then."""
    case.server.on("ask", described(case.data, case.upload))
    with pytest.raises(SessionLost, match="has made its object"):
        send(case.restored(), cut(case.data)[:1])
    case.server.on("send", described(case.data, case.upload))
    with pytest.raises(SessionLost, match="has made its object"):
        send(case.service, cut(case.data)[:1])


def test_a_silent_server_is_given_up(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is never answered ends by itself."""
    monkeypatch.setattr(client_module, "READ_SECONDS", 0.1)
    monkeypatch.setattr(client_module, "RETRY_SECONDS", 0.01)
    case.server.on("send", stall)
    with pytest.raises(StoreUnavailable, match="ReadTimeout"):
        send(case.service, cut(case.data)[:1])


def test_a_lost_lease_is_not_retried(case: Case) -> None:
    """What the heartbeat raises in the middle of a part comes out at once and unwrapped."""
    lost = LeaseLost("gone")
    beats: list[None] = []

    def heartbeat() -> None:
        beats.append(None)
        if len(beats) > 5:
            raise lost

    with pytest.raises(LeaseLost) as caught:
        case.service.upload_part(cut(case.data)[0], heartbeat)
    assert caught.value is lost
    assert len(beats) == 6
    # The next try asks how far the broken one came.
    case.server.on("ask", committed(0))
    case.server.on("send", committed(PART))
    send(case.service, cut(case.data)[:1])


# --- the end ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [lose_answer, error(500), error(503)])
def test_a_lost_answer_to_a_completion_is_no_failure(case: Case, fault: Answer) -> None:
    """The session says that it has made its object."""
    case.server.on("ask", committed(PART + UNIT), committed(PART + UNIT), described(case.data))
    case.server.on("finish", fault)
    assert case.complete() == case.service.find_object()


def test_a_completion_after_the_session_is_gone_finds_the_object(case: Case) -> None:
    """A week later only the object itself can tell."""
    case.server.on("ask", error(410))
    assert case.complete() == case.service.find_object()
    case.server.on("GET", described(case.data, new_upload("file", len(case.data))))
    with pytest.raises(SessionLost, match="not ours"):
        case.complete()


def test_a_wrong_sum_is_refused_before_there_is_an_object(case: Case) -> None:
    """Google compares the checksum of all bytes with the one of the last request."""
    case.server.on("ask", committed(PART + UNIT))
    case.server.on("finish", error(400, "Provided CRC32C does not match"))
    with pytest.raises(IntegrityError, match="not those that were received"):
        case.complete()


def test_missing_bytes_stop_the_completion(case: Case) -> None:
    """A session with fewer bytes than recorded is never finished."""
    case.server.on("ask", committed(PART))
    with pytest.raises(IntegrityError, match=f"has {PART} bytes, expected {PART + UNIT}"):
        case.complete()
    assert case.server.seen("finish") == []


@pytest.mark.parametrize(
    ("fields", "what"), [({"size": "5"}, "size 5"), ({"crc32c": "AAAAAA=="}, "CRC32C 00000000")]
)
def test_an_object_that_differs_is_found_out(case: Case, fields: dict[str, str], what: str) -> None:
    """A completion is believed only if the object is as it should be."""
    case.server.on("ask", committed(PART + UNIT))
    case.server.on("GET", described(case.data, case.upload, **fields))
    with pytest.raises(IntegrityError, match=what):
        case.complete()


def test_an_object_of_the_next_upload_is_not_ours(case: Case) -> None:
    """Google answers 200 for a session that ended long ago, with the object of that time."""
    case.server.on("ask", described(case.data, case.upload))
    case.server.on("GET", described(case.data, new_upload("file", len(case.data))))
    with pytest.raises(SessionLost, match="another object"):
        case.complete()


@pytest.mark.parametrize("status", [204, 404, 410, 499])
def test_cleaning_up_twice_is_no_error(case: Case, status: int) -> None:
    """A session that is gone is what was wanted."""
    case.server.on("cancel", error(status))
    case.restored().cleanup(no_heartbeat)
    assert len(case.server.seen("cancel")) == 1


def test_a_cancel_that_fails_is_tried_again(case: Case) -> None:
    """Whoever cleans up comes back."""
    case.server.on("cancel", error(503))
    with pytest.raises(StoreUnavailable):
        case.restored().cleanup(no_heartbeat)


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, StoreRefused),
        (401, StoreRefused),
        (403, StoreRefused),
        (413, StoreRefused),
        (408, StoreUnavailable),
        (412, StoreUnavailable),
        (429, StoreUnavailable),
        (500, StoreUnavailable),
        (503, StoreUnavailable),
        (404, SessionLost),
        (410, SessionLost),
        (499, SessionLost),
    ],
)
def test_answers_are_told_apart(
    case: Case, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[ChunkferryError]
) -> None:
    """What may pass is retried; what stays is given up; a lost session is neither."""
    monkeypatch.setattr(client_module, "RETRY_SECONDS", 0.01)
    case.server.on("send", error(status))
    with pytest.raises(kind, match=str(status)):
        send(case.service, cut(case.data)[:1])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (google_errors.Forbidden("x"), StoreRefused),
        (google_errors.NotFound("x"), StoreRefused),
        (google_errors.TooManyRequests("x"), StoreUnavailable),
        (google_errors.ServiceUnavailable("x"), StoreUnavailable),
        (google_errors.RetryError("x", google_errors.BadGateway("x")), StoreUnavailable),
        (google_errors.RetryError("x", StoreUnavailable("x")), StoreUnavailable),
        (auth_errors.TransportError("x"), StoreUnavailable),
        (auth_errors.RefreshError("x"), StoreRefused),
        (auth_errors.RefreshError("x", retryable=True), StoreUnavailable),
        (auth_errors.DefaultCredentialsError("x"), StoreRefused),
    ],
)
def test_errors_of_the_sdk_are_told_apart(error: Exception, kind: type[ChunkferryError]) -> None:
    """Each class of Google's becomes one of ours."""
    with pytest.raises(kind), errors.translated("testing"):
        raise error


def test_errors_hold_no_secrets(case: Case) -> None:
    """The session's URI lets anybody write the object: no text has it."""
    case.server.on("send", error(403))
    case.server.on("ask", error(410))
    case.server.on("cancel", error(403))
    for call in (
        lambda: send(case.service, cut(case.data)[:1]),
        case.complete,
        lambda: case.restored().cleanup(no_heartbeat),
    ):
        with pytest.raises(ChunkferryError) as caught:
            call()
        assert "session-1" not in str(caught.value)
        assert str(case.server.port) not in str(caught.value)
        case.server.on("GET", error(404, "No such object"))


def test_an_absent_bucket_is_no_absent_object(server: ScriptedServer) -> None:
    """Google answers 404 for both."""
    server.on("GET", error(404, "No such object: bucket/prefix/file"))
    assert not store_at(server).exists("file")
    server.on("GET", error(404, "The specified bucket does not exist."))
    with pytest.raises(StoreRefused):
        store_at(server).exists("file")


def test_an_object_that_ends_early_is_an_error(server: ScriptedServer) -> None:
    """A short answer is never taken for the whole object."""
    server.on("GET media", answer(200, "half", Content_Length="8"))
    with pytest.raises(StoreUnavailable, match="reading 'prefix/file'"):
        read(store_at(server), "file")


def test_bodies_that_trickle_for_ever_end(server: ScriptedServer) -> None:
    """The deadline holds for a whole read, not for each silence."""
    store = store_at(server)
    server.on("GET", described(bytes(12)))
    server.on("GET media", scripted.trickle(Content_Length="12"))
    store.set_timeout(timedelta(seconds=0.5))
    with pytest.raises(StoreUnavailable, match=r"not done within 0\.5 s"):
        store.download("file", io.BytesIO())
    assert server.gone.wait(10)
    with store.get("file") as stream, pytest.raises(StoreUnavailable, match="not done within"):
        stream.read(12)


def test_all_requests_of_a_call_share_its_time(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first of them took is missing to the others."""
    clock, span = storing.stopped_clock(monkeypatch), timedelta(minutes=40)
    store = store_at(server)
    server.on("GET", scripted.after(clock, span, described(bytes(4))))
    server.on("GET media", scripted.after(clock, span, answer(206, "data")))
    store.download("file", io.BytesIO())
    store.set_timeout(timedelta(hours=1))
    with pytest.raises(StoreUnavailable, match="not done within 3600 s"):
        store.download("file", io.BytesIO())


def test_a_type_is_changed_in_one_request(server: ScriptedServer) -> None:
    """The object need not be looked at first: its generation stays, and with it all else."""
    server.on("PATCH", described(bytes(4)))
    store_at(server).set_mime_type("file", "text/plain")
    assert [request.operation for request in server.requests] == ["PATCH"]


def test_an_object_replaced_while_it_is_read_is_told(server: ScriptedServer) -> None:
    """Every range is asked for in the generation that was there at first."""
    server.on("GET", described(bytes(12)))
    server.on("GET media", error(404, "No such object"))
    with pytest.raises(IntegrityError, match="not the object any more"):
        store_at(server).download("file", io.BytesIO())


def test_a_put_that_fails_cancels_its_session(case: Case) -> None:
    """Nothing waits at the store for bytes that never come."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 12 * 1024 * 1024:
                raise OSError("the disk is gone")
            return super().read(size)

    case.server.on("send", committed(8 * 1024 * 1024))
    with pytest.raises(OSError, match="the disk is gone"):
        case.store.put("file", Failing(bytes(20 * 1024 * 1024)))
    assert len(case.server.seen("cancel")) == 1


# --- options ----------------------------------------------------------------------------------


def test_options_reach_the_object(server: ScriptedServer) -> None:
    """Class, key and ACL are asked for when the session is opened."""
    case_at(server, UNIT, "&storage_class=NEARLINE&kms_key_name=k&predefined_acl=private")
    (request,) = server.seen("POST resumable")
    sent = json.loads(request.body)
    assert sent["storageClass"] == "NEARLINE"
    assert request.headers["x-upload-content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "url",
    [
        "gs://",
        "gs:///prefix",
        "gs://user:password@bucket",
        "gs://bucket?unknown=1",
        "gs://bucket?endpoint_url=ftp://host",
        "gs://bucket?endpoint_url=http://user:password@host",
        "gs://bucket?connections=0",
    ],
)
def test_a_wrong_url_is_refused(url: str) -> None:
    """Each mistake is told, without what may be a password."""
    with pytest.raises(ConfigError) as caught:
        from_url(url)
    assert "password" not in str(caught.value)


def test_a_key_too_long_with_its_prefix_is_refused() -> None:
    """GCS takes names of 1 024 bytes, prefix included."""
    bucket = Bucket(parse("gs://bucket/prefix"))
    assert len(bucket.key("/".join(["x" * 202] * 5))) == 1021
    with pytest.raises(InvalidPath, match="with its prefix"):
        bucket.key("/".join(["x" * 202] * 5) + "yyyy")


def test_notes_have_their_limits() -> None:
    """Google takes any text, 8 KiB of it; our own name is reserved."""
    assert metadata.encode("id", {"name": "ü"}) == {"chunkferry-upload": "id", "name": "ü"}
    for refused in ({"": "x"}, {metadata.UPLOAD_ID: "x"}, {"x": "y" * 8192}):
        with pytest.raises(StoreRefused):
            metadata.encode("id", refused)


def test_missing_credentials_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials nothing is even sent."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(StoreRefused, match="DefaultCredentialsError"):
        from_url("gs://bucket").chunk_file_service().initialize_chunk(new_upload("file", 1))


def test_a_fork_gets_a_client_of_its_own(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sockets cannot be shared among processes."""
    clients = Bucket(parse(f"gs://b?anonymous=true&endpoint_url={server.endpoint}"))._clients
    assert clients() is clients()
    before = clients()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert clients() is not before


def test_the_checksum_of_a_description_is_a_number(case: Case) -> None:
    """Google writes four bytes in base64, the highest first."""
    assert int.from_bytes(b64decode("AAAAAQ=="), "big") == 1
    found = Bucket(
        parse(f"gs://bucket/prefix?anonymous=true&endpoint_url={case.server.endpoint}")
    ).head("prefix/file")
    assert found is not None
    assert found.crc32c == crc32c(case.data)


# --- signed URLs ------------------------------------------------------------------------------


@pytest.fixture
def signing(gcs_account: GcsServer) -> SigningGcsStore:
    """A store with the key of a service account."""
    store = from_url("gs://bucket/prefix")
    assert isinstance(store, SigningGcsStore)
    return store


def verify(url: str, method: str, headers: str = "host:storage.googleapis.com\n") -> dict[str, str]:
    """The parameters of a signed URL, once its signature is found to be right.

    As Google's documentation of version 4 has it: a canonical request, its digest, RSA.
    """
    parts = urlsplit(url)
    query, _, signature = parts.query.rpartition("&X-Goog-Signature=")
    found = dict(parse_qsl(query, keep_blank_values=True))
    names = ";".join(line.partition(":")[0] for line in headers.split())
    assert found["X-Goog-SignedHeaders"] == names
    canonical = "\n".join([method, parts.path, query, headers, names, "UNSIGNED-PAYLOAD"])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    scope = found["X-Goog-Credential"].partition("/")[2]
    text = "\n".join(["GOOG4-RSA-SHA256", found["X-Goog-Date"], scope, digest])
    PUBLIC_KEY.verify(bytes.fromhex(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return found


def test_a_url_for_reading_is_signed(signing: SigningGcsStore) -> None:
    """Object, lifetime, name and type are all under the signature of the account's key."""
    config = SignedUrlConfig(download=True, filename="ü.txt", content_type="text/plain")
    url = signing.signed_url("a b/ü?#%.txt", timedelta(minutes=5), config)
    assert url.startswith("https://storage.googleapis.com/bucket/prefix/a%20b/%C3%BC%3F%23%25.txt?")
    found = verify(url, "GET")
    assert found["X-Goog-Expires"] == "300"
    assert found["response-content-type"] == "text/plain"
    assert found["response-content-disposition"].startswith("attachment; ")
    with pytest.raises(InvalidSignature):
        verify(url.replace("prefix", "other"), "GET")


def test_a_url_for_writing_binds_the_type(signing: SigningGcsStore) -> None:
    """The uploader has to send the type that was agreed on; the method is signed, too."""
    config = SignedUrlConfig(content_type="text/plain")
    url = signing.put_signed_url("file", timedelta(minutes=5), config)
    verify(url, "PUT", "content-type:text/plain\nhost:storage.googleapis.com\n")
    with pytest.raises(InvalidSignature):
        verify(url, "GET", "content-type:text/plain\nhost:storage.googleapis.com\n")


def test_without_credentials_there_are_no_signed_urls(server: ScriptedServer) -> None:
    """A store that is used anonymously has nothing to sign with."""
    assert not isinstance(store_at(server), SignedUrlService)


def test_credentials_that_cannot_sign_are_told(
    signing: SigningGcsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's own login has neither a key nor a service account."""
    person: Any = user_credentials
    found = person.Credentials(token="t"), None
    monkeypatch.setattr(google.auth, "default", lambda **_: found)
    with pytest.raises(StoreRefused, match="cannot sign; a service account can"):
        signing.signed_url("file", timedelta(minutes=5))


def test_iam_signs_for_those_without_a_key(
    signing: SigningGcsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Google's own machines the account has no key; its token lets IAM sign."""
    asked: list[tuple[str, str]] = []

    class Machine(AnonymousCredentials):
        service_account_email = "default"
        valid = False

        def refresh(self, request: object) -> None:
            self.service_account_email = "machine@tests.example"
            self.token = "machine's token"

    def sign(message: str, token: str, email: str, universe: str) -> str:
        asked.append((token, email))
        return b64encode(b"signature").decode()

    def default(scopes: list[str]) -> tuple[Any, None]:
        machine: Any = Machine
        return machine(), None

    monkeypatch.setattr(google.auth, "default", default)
    monkeypatch.setattr("google.cloud.storage._signing._sign_message", sign)
    url = signing.signed_url("file", timedelta(minutes=5))
    assert asked == [("machine's token", "machine@tests.example")]
    assert url.endswith("X-Goog-Signature=" + b"signature".hex())
