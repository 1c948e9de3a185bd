"""``AzureStore``: blocks and conditions, and answers that no emulator gives on request."""

from __future__ import annotations

import io
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core import exceptions as azure_errors
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, UserDelegationKey
from tests import storing
from tests.servers import scripted
from tests.servers.azurite import ACCOUNT, KEY
from tests.servers.scripted import Answer, Handler, ScriptedServer, answer, lose_answer, stall
from tests.storing import PART, content, crc32c, cut, new_upload, no_heartbeat, send

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
from chunkferry.services import Part
from chunkferry.storage import from_url
from chunkferry.storage.azure import blocks, errors, metadata
from chunkferry.storage.azure import client as client_module
from chunkferry.storage.azure.container import Container
from chunkferry.storage.azure.options import AzureOptions
from chunkferry.storage.azure.store import AzureStore
from chunkferry.storage.azure.upload import AzureFileService
from chunkferry.storage.url import parse
from chunkferry.upload import ChunkUpload

DATA = b"data"


def naming(handler: Handler) -> str:
    """The operation of a request: method, and what of the blob it is about."""
    kind = parse_qs(urlsplit(handler.path).query).get("comp", [""])[0]
    return f"{handler.command} {kind}".strip()


@dataclass(frozen=True, kw_only=True)
class Case:
    """An upload of four bytes to a server that does as it is told."""

    server: ScriptedServer
    store: AzureStore
    upload: ChunkUpload
    service: AzureFileService

    @property
    def blocks(self) -> dict[str, int]:
        """What is there after the only part was sent."""
        return {blocks.mark(self.upload.upload_id): 1, self.name(cut(DATA)[0]): len(DATA)}

    def name(self, part: Part) -> str:
        return blocks.of_part(self.upload.upload_id, part)

    def complete(self) -> object:
        parts = send(self.service, cut(DATA))
        return self.service.complete_upload(parts, crc32c(DATA), no_heartbeat)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    monkeypatch.setattr(client_module, "_BACKOFF", 0)
    with scripted.running(naming) as found:
        yield found


def store_at(server: ScriptedServer, options: str = "") -> AzureStore:
    url = f"az://box/prefix?account={ACCOUNT}&endpoint_url={server.endpoint}/{ACCOUNT}{options}"
    store = from_url(url)
    assert isinstance(store, AzureStore)
    return store


def error(status: int, code: str) -> Answer:
    """An error as Azure words it."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
    return answer(status, text, x_ms_error_code=code, Content_Type="application/xml")


ABSENT = error(404, "BlobNotFound")


def head_of(upload: ChunkUpload, *, size: int = 4, etag: str = "0x1", **headers: str) -> Answer:
    return answer(
        ETag=f'"{etag}"',
        Content_Length=str(size),
        Last_Modified="Sun, 22 Nov 2026 17:00:00 GMT",
        x_ms_meta_chunkferry__upload=upload.upload_id,
        x_ms_blob_type="BlockBlob",
        **headers,
    )


def listed(found: Mapping[str, int]) -> Answer:
    text = "".join(
        f"<Block><Name>{b64encode(name.encode()).decode()}</Name><Size>{size}</Size></Block>"
        for name, size in found.items()
    )
    return answer(
        200,
        f"<?xml version='1.0'?><BlockList><CommittedBlocks/>"
        f"<UncommittedBlocks>{text}</UncommittedBlocks></BlockList>",
        Content_Type="application/xml",
    )


def case_at(server: ScriptedServer, options: str = "") -> Case:
    """A case that has begun, and that everything goes well with unless told otherwise."""
    upload = new_upload("file", 4)
    server.on("PUT block", answer(201))
    server.on("PUT blocklist", answer(201, ETag='"0x1"'))
    server.on("PUT", answer(201, ETag='"0x1"'))
    server.on("HEAD", ABSENT, head_of(upload))
    server.on("DELETE", answer(202))
    store = store_at(server, options)
    service = store.chunk_file_service()
    service.initialize_chunk(upload)
    case = Case(server=server, store=store, upload=upload, service=service)
    server.on("GET blocklist", listed(case.blocks))
    return case


@pytest.fixture
def case(server: ScriptedServer) -> Case:
    return case_at(server)


# --- what is sent -----------------------------------------------------------------------------


def test_a_part_is_a_block_with_its_md5(case: Case) -> None:
    """Azure checks the bytes on their way; the name says whose and which they are."""
    data = content(PART)
    (part,) = cut(data)
    case.service.upload_part(part, no_heartbeat)
    sent = case.server.seen("PUT block")[-1]
    assert sent.body == data
    assert sent.headers["Content-MD5"] == b64encode(md5(data).digest()).decode()


def test_names_of_blocks_are_of_one_length() -> None:
    """Azure demands that of one blob; 64 characters in base64 are the most."""
    names = {blocks.mark("a"), blocks.guard("a")}
    for number in (1, 9_999, 10_000):
        part = Part(number=number, offset=0, data=memoryview(b""), crc32c=2**32 - 1)
        names.add(blocks.of_part("a", part))
    assert {len(name) for name in names} == {blocks.LENGTH}
    assert len(names) == 5
    assert len(b64encode(blocks.mark("a").encode())) == 64


def test_names_of_blocks_tell_uploads_and_bytes_apart() -> None:
    """Neither another upload's block nor one with other bytes is taken for a part."""
    one, other = cut(b"one")[0], cut(b"two")[0]
    assert blocks.of_part("a", one) != blocks.of_part("b", one)
    assert blocks.of_part("a", one) != blocks.of_part("a", other)
    assert blocks.of_part("a", one).startswith(blocks.owner("a"))
    assert blocks.guard("a") != blocks.guard("a")


def test_exactly_the_recorded_blocks_are_committed(case: Case) -> None:
    """Neither the mark, nor another upload's."""
    case.server.on("GET blocklist", listed(case.blocks | {"x" * blocks.LENGTH: 4}))
    case.complete()
    (request,) = case.server.seen("PUT blocklist")
    name = b64encode(case.name(cut(DATA)[0]).encode()).decode()
    assert request.body.decode().count("<Latest>") == 1
    assert f"<Latest>{name}</Latest>" in request.body.decode()
    assert request.headers["x-ms-meta-chunkferry_upload"] == case.upload.upload_id
    assert request.headers["x-ms-meta-chunkferry_crc32c"] == f"{crc32c(DATA):08x}"


def test_a_new_blob_is_made_only_where_there_is_none(case: Case) -> None:
    """The condition is on what was there when the mark was seen."""
    case.complete()
    (request,) = case.server.seen("PUT blocklist")
    assert request.headers["If-None-Match"] == "*"


def test_an_old_blob_is_replaced_only_as_it_was(case: Case) -> None:
    """Its tag never comes back."""
    old = head_of(new_upload("file", 4), etag="0xOLD")
    case.server.on("HEAD", old, head_of(case.upload))
    case.complete()
    (request,) = case.server.seen("PUT blocklist")
    assert request.headers["If-Match"] == '"0xOLD"'


def test_the_old_blob_is_looked_at_before_the_mark(case: Case) -> None:
    """The other way round, a commit in between would go unnoticed."""
    case.complete()
    seen = [request.operation for request in case.server.requests]
    assert seen.index("HEAD") < seen.index("GET blocklist") < seen.index("PUT blocklist")


# --- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [error(500, "InternalError"), error(503, "ServerBusy")])
@pytest.mark.parametrize("operation", ["PUT block", "PUT blocklist"])
def test_a_failing_server_is_tried_again(case: Case, operation: str, fault: Answer) -> None:
    """One failure is no matter; the SDK repeats the request."""
    ok = answer(201, ETag='"0x1"')
    case.server.on(operation, fault, ok)
    case.server.on("HEAD", ABSENT, head_of(case.upload))
    assert case.complete() is not None


def test_a_failing_server_is_given_up(case: Case) -> None:
    """After the second failure the worker backs off, and the lease is free."""
    before = len(case.server.seen("PUT block"))
    case.server.on("PUT block", error(500, "InternalError"))
    with pytest.raises(StoreUnavailable, match="InternalError"):
        send(case.service, cut(DATA))
    assert len(case.server.seen("PUT block")) - before == client_module.RETRIES + 1


def test_a_retry_sends_the_whole_block(case: Case) -> None:
    """The SDK rewinds the part between its tries."""
    data = content(PART)
    case.server.on("PUT block", scripted.reset_after(PART // 2), answer(201))
    case.service.upload_part(cut(data)[0], no_heartbeat)
    assert case.server.seen("PUT block")[-1].body == data


def test_a_silent_server_is_given_up(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is never answered ends by itself."""
    monkeypatch.setattr(client_module, "READ_SECONDS", 0.1)
    monkeypatch.setattr(client_module, "RETRIES", 0)
    server.on("PUT block", stall)
    with pytest.raises(StoreUnavailable, match="ServiceResponse"):
        store_at(server).chunk_file_service().initialize_chunk(new_upload("file", 4))


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.download("file", io.BytesIO()),
        lambda s: s.download_range("file", io.BytesIO(), 0, 4),
        lambda s: s.set_mime_type("file", "text/plain"),
    ],
)
def test_all_requests_of_a_call_share_its_time(
    case: Case, monkeypatch: pytest.MonkeyPatch, call: Callable[[AzureStore], object]
) -> None:
    """What the first of them took is missing to the others."""
    clock, span = storing.stopped_clock(monkeypatch), timedelta(minutes=40)
    content_range = {"Content_Range": "bytes 0-3/4", "x_ms_blob_type": "BlockBlob"}
    case.server.on("HEAD", scripted.after(clock, span, head_of(case.upload)))
    case.server.on("GET", scripted.after(clock, span, answer(206, "data", **content_range)))
    case.server.on("PUT properties", scripted.after(clock, span, answer(200, ETag='"0x2"')))
    call(case.store)
    case.store.set_timeout(timedelta(hours=1))
    with pytest.raises(StoreUnavailable, match="not done within 3600 s"):
        call(case.store)


def test_a_lost_lease_is_not_retried(case: Case) -> None:
    """What the heartbeat raises in the middle of a part comes out at once and unwrapped."""
    lost = LeaseLost("gone")
    beats: list[None] = []
    # The MD5 is taken first, which reads the part once.
    before_sending = PART // (256 * 1024) + 1

    def heartbeat() -> None:
        beats.append(None)
        if len(beats) > before_sending + 2:
            raise lost

    with pytest.raises(LeaseLost) as caught:
        case.service.upload_part(cut(content(PART))[0], heartbeat)
    assert caught.value is lost
    assert len(beats) == before_sending + 3
    case.service.upload_part(cut(DATA)[0], no_heartbeat)


def test_a_lost_answer_to_a_completion_is_no_failure(case: Case) -> None:
    """The repeat is refused, as the blob is there: ours."""
    case.server.on("PUT blocklist", lose_answer, error(409, "BlobAlreadyExists"))
    case.server.on("GET blocklist", listed(case.blocks), listed({}))
    assert case.complete() == case.service.find_object()


def test_a_blob_changed_meanwhile_is_looked_at_again(case: Case) -> None:
    """Somebody who changed the old blob's type does not end the upload."""
    older = head_of(new_upload("file", 4), etag="0x1")
    newer = head_of(new_upload("file", 4), etag="0x2")
    case.server.on("HEAD", older, newer, head_of(case.upload))
    case.server.on("PUT blocklist", error(412, "ConditionNotMet"), answer(201, ETag='"0x3"'))
    case.complete()
    conditions = [r.headers["If-Match"] for r in case.server.seen("PUT blocklist")]
    assert conditions == ['"0x1"', '"0x2"']


def test_a_blob_that_never_rests_is_given_up(case: Case) -> None:
    """The worker backs off instead of trying for ever."""
    case.server.on("HEAD", head_of(new_upload("file", 4)))
    case.server.on("PUT blocklist", error(412, "ConditionNotMet"))
    with pytest.raises(StoreUnavailable, match="changed by others"):
        case.complete()


def test_blocks_that_others_discarded_are_lost(case: Case) -> None:
    """Whoever replaces the blob discards all uncommitted blocks."""
    case.server.on("PUT blocklist", error(400, "InvalidBlockList"))
    case.server.on("GET blocklist", listed(case.blocks), listed({}))
    case.server.on("HEAD", ABSENT, head_of(new_upload("file", 4)))
    with pytest.raises(SessionLost, match="are gone"):
        case.complete()


@pytest.mark.parametrize("size", [None, 3])
def test_a_block_that_is_not_as_recorded_stops_the_upload(case: Case, size: int | None) -> None:
    """Neither a missing block nor one of another size is committed."""
    found = {blocks.mark(case.upload.upload_id): 1}
    if size is not None:
        found[case.name(cut(DATA)[0])] = size
    case.server.on("GET blocklist", listed(found))
    with pytest.raises(IntegrityError, match="part 1"):
        case.complete()
    assert case.server.seen("PUT blocklist") == []


def test_an_object_that_differs_is_found_out(case: Case) -> None:
    """A completion is believed only if the blob is as it should be."""
    case.server.on("HEAD", ABSENT, head_of(case.upload, size=5))
    with pytest.raises(IntegrityError, match="size 5, expected 4"):
        case.complete()


def test_an_object_of_the_next_upload_is_not_ours(case: Case) -> None:
    """It may have been replaced since."""
    case.server.on("HEAD", ABSENT, head_of(new_upload("file", 4)))
    with pytest.raises(SessionLost, match="another object"):
        case.complete()


# --- cleaning up ------------------------------------------------------------------------------


def test_cleanup_commits_a_guard_and_removes_it(case: Case) -> None:
    """What is made for a moment is marked, and only that is deleted."""
    case.server.on("HEAD", ABSENT, head_of(case.upload, x_ms_meta_chunkferry__discarded="1"))
    case.service.cleanup(no_heartbeat)
    guard = case.server.seen("PUT block")[-1]
    (request,) = case.server.seen("PUT blocklist")
    assert request.headers["If-None-Match"] == "*"
    assert request.headers["x-ms-meta-chunkferry_discarded"] == "1"
    assert request.body.decode().count("<Latest>") == 1
    assert guard.body == b"\0"
    (deletion,) = case.server.seen("DELETE")
    assert deletion.headers["If-Match"] == '"0x1"'


def test_a_late_cleanup_never_discards_the_next_uploads_blocks(case: Case) -> None:
    """Its guard went with the blocks that another worker discarded: Azure refuses the list."""
    case.server.on("HEAD", ABSENT)
    case.server.on("PUT blocklist", error(400, "InvalidBlockList"))
    case.service.cleanup(no_heartbeat)
    assert case.server.seen("DELETE") == []


def test_the_guard_is_sent_before_the_lease_is_confirmed(case: Case) -> None:
    """Else it could be younger than the next upload's blocks."""
    sent: list[int] = []

    def confirm() -> None:
        sent.append(len(case.server.seen("PUT block")))
        raise LeaseLost("gone")

    before = len(case.server.seen("PUT block"))
    with pytest.raises(LeaseLost):
        case.service.cleanup(confirm)
    assert sent == [before + 1]
    assert case.server.seen("PUT blocklist") == []


def test_cleanup_never_touches_an_object(case: Case) -> None:
    """Where there is one, the blocks wait for the next commit."""
    case.server.on("HEAD", head_of(new_upload("file", 4)))
    case.service.cleanup(no_heartbeat)
    assert case.server.seen("PUT blocklist") == []
    assert case.server.seen("DELETE") == []


def test_a_cleanup_that_was_interrupted_is_taken_up(case: Case) -> None:
    """What its guard made is removed by the next worker, and is no object meanwhile."""
    left = head_of(case.upload, size=1, x_ms_meta_chunkferry__discarded="1")
    case.server.on("HEAD", left)
    assert not case.store.exists("file")
    assert case.service.find_object() is None
    case.service.cleanup(no_heartbeat)
    assert len(case.server.seen("DELETE")) == 1


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AuthenticationFailed", StoreRefused),
        (403, "AuthorizationPermissionMismatch", StoreRefused),
        (403, "AccountIsDisabled", StoreRefused),
        (404, "ContainerNotFound", StoreRefused),
        (400, "InvalidBlobOrBlock", StoreRefused),
        (400, "BlockCountExceedsLimit", StoreRefused),
        (413, "RequestBodyTooLarge", StoreRefused),
        (400, "Md5Mismatch", StoreUnavailable),
        (409, "ContainerBeingDeleted", StoreUnavailable),
        (412, "LeaseIdMissing", StoreUnavailable),
        (429, "TooManyRequests", StoreUnavailable),
        (500, "OperationTimedOut", StoreUnavailable),
        (503, "ServerBusy", StoreUnavailable),
    ],
)
def test_errors_are_told_apart(
    case: Case, status: int, code: str, kind: type[ChunkferryError]
) -> None:
    """What may pass is retried; what stays is given up."""
    case.server.on("PUT block", error(status, code))
    with pytest.raises(kind, match=f"{code} .HTTP {status}"):
        send(case.service, cut(DATA))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (azure_errors.ServiceRequestError("x"), StoreUnavailable),
        (azure_errors.ServiceResponseError("x"), StoreUnavailable),
        (azure_errors.IncompleteReadError("x"), StoreUnavailable),
        (azure_errors.ClientAuthenticationError("x"), StoreRefused),
        (azure_errors.AzureError("x"), StoreRefused),
    ],
)
def test_errors_of_the_sdk_are_told_apart(error: Exception, kind: type[ChunkferryError]) -> None:
    """Each class of Azure's becomes one of ours."""
    with pytest.raises(kind), errors.translated("testing"):
        raise error


def test_errors_hold_no_secrets(case: Case) -> None:
    """Neither the key nor a signature gets into an error's text."""
    case.server.on("PUT block", error(403, "AuthenticationFailed"))
    with pytest.raises(StoreRefused) as caught:
        send(case.service, cut(DATA))
    assert KEY not in str(caught.value)
    assert "SharedKey" not in str(caught.value)


# --- options and credentials ------------------------------------------------------------------


def test_options_reach_the_blob(server: ScriptedServer) -> None:
    """Tier, encryption scope and type are asked for where the blob is made."""
    case = case_at(server, "&tier=Cool&encryption_scope=scope&content_type=text/x-test")
    case.complete()
    (request,) = server.seen("PUT blocklist")
    assert request.headers["x-ms-access-tier"] == "Cool"
    assert request.headers["x-ms-encryption-scope"] == "scope"
    assert request.headers["x-ms-blob-content-type"] == "text/x-test"


def test_notes_become_what_azure_takes() -> None:
    """Names are identifiers, values ASCII; no two names become the same."""
    notes = {"File-Name": "ü", "a_x": "  b ", "1st": "plain text", "_x": "=?"}
    assert metadata.encode("id", notes) == {
        "chunkferry_upload": "id",
        "file_x002d_name": "=?UTF-8?B?w7w=?=",
        "a_x005f_x": "=?UTF-8?B?ICBiIA==?=",
        "_x0031_st": "plain text",
        "_x005f_x": "=?UTF-8?B?PT8=?=",
    }
    for refused in ({"": "x"}, {"a": "x", "A": "y"}, {metadata.CRC32C: "x"}, {"x": "y" * 8192}):
        with pytest.raises(StoreRefused):
            metadata.encode("id", refused)


@pytest.mark.parametrize(
    ("env", "endpoint"),
    [
        (
            {
                "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;"
                f"AccountName=one;AccountKey={KEY};EndpointSuffix=core.windows.net"
            },
            "https://one.blob.core.windows.net/",
        ),
        (
            {"AZURE_STORAGE_ACCOUNT": "two", "AZURE_STORAGE_KEY": KEY},
            "https://two.blob.core.windows.net/",
        ),
        (
            {"AZURE_STORAGE_ACCOUNT": "three", "AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=x"},
            "https://three.blob.core.windows.net/",
        ),
        ({"AZURE_STORAGE_ACCOUNT": "four"}, "https://four.blob.core.windows.net/"),
    ],
)
def test_credentials_come_from_the_environment(env: dict[str, str], endpoint: str) -> None:
    """In the variables of Azure's own tools; without any, the machine's identity counts."""
    found = client_module.connect(AzureOptions.model_validate({}), env)
    assert found.primary_endpoint.partition("?")[0] == endpoint
    if env.keys() == {"AZURE_STORAGE_ACCOUNT"}:
        assert isinstance(found.credential, DefaultAzureCredential)


def test_no_account_is_refused() -> None:
    """Azure has no default."""
    with pytest.raises(ConfigError, match="AZURE_STORAGE_ACCOUNT"):
        client_module.connect(AzureOptions.model_validate({}), {})


def test_a_broken_connection_string_is_not_repeated() -> None:
    """It holds a key."""
    broken = {"AZURE_STORAGE_CONNECTION_STRING": f"AccountKey={KEY}"}
    with pytest.raises(ConfigError) as caught:
        client_module.connect(AzureOptions.model_validate({}), broken)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "az://",
        "az:///prefix",
        "az://user:password@box",
        "az://box?unknown=1",
        "az://box?tier=Lukewarm",
        "az://box?endpoint_url=ftp://host",
        "az://box?endpoint_url=https://user:password@host",
        "az://box?endpoint_url=https://host/?sig%3Dpassword",
    ],
)
def test_a_wrong_url_is_refused(url: str) -> None:
    """Each mistake is told, without what may be a password."""
    with pytest.raises(ConfigError) as caught:
        from_url(url)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("filepath", ["file.", "folder./file", "a/...b..."])
def test_names_that_azure_changes_are_refused(filepath: str) -> None:
    """It drops dots at the ends of components: two paths would be one blob."""
    with pytest.raises(InvalidPath, match="dot"):
        Container(parse("az://box")).key(filepath)


def test_a_fork_gets_a_client_of_its_own(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sockets cannot be shared among processes."""
    container = Container(parse(f"az://box?endpoint_url={server.endpoint}/{ACCOUNT}"))
    before = container.service()
    assert container.service() is before
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert container.service() is not before


def test_the_key_of_the_tests_is_one() -> None:
    """Azurite takes base64 only."""
    assert b64decode(KEY)


def test_an_identity_signs_with_a_key_that_azure_lends(server: ScriptedServer) -> None:
    """Without the account's key, Azure gives one for as long as the URL lives."""
    asked: list[tuple[datetime, datetime]] = []
    made: Any = UserDelegationKey
    lent = made()
    lent.signed_oid = lent.signed_tid = "id"
    lent.signed_start = lent.signed_expiry = "2026-11-22T00:00:00Z"
    lent.signed_service, lent.signed_version, lent.value = "b", "2020-02-10", KEY

    class Lending(BlobServiceClient):
        def get_user_delegation_key(
            self, key_start_time: datetime, key_expiry_time: datetime, **_: Any
        ) -> Any:
            asked.append((key_start_time, key_expiry_time))
            return lent

    store = store_at(server)
    identity = DefaultAzureCredential()
    lending = Lending(f"https://{ACCOUNT}.blob.core.windows.net", identity)
    store._container.service._made[os.getpid()] = lending
    url = store.signed_url("file", timedelta(hours=1))
    ((start, end),) = asked
    assert start < datetime.now(UTC) < end <= datetime.now(UTC) + timedelta(hours=1)
    assert url.startswith(f"https://{ACCOUNT}.blob.core.windows.net/box/prefix/file?")
    assert parse_qs(urlsplit(url).query)["skoid"] == ["id"]


def test_a_sas_cannot_sign(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is signed itself; another cannot be made of it."""
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2020-02-10&sig=secret")
    with pytest.raises(StoreRefused, match="cannot sign") as caught:
        store_at(server).signed_url("file", timedelta(hours=1))
    assert "secret" not in str(caught.value)
