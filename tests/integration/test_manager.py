"""``ChunkManager``: the whole vocabulary, and what comes of bad input."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import cast

import pytest
from tests.ledgers import outcome_of
from tests.producing import PART, Site, Trickle, small_parts

from chunkferry import ChunkManager, ChunkUpload, State, UploadStatusCode
from chunkferry.errors import (
    Backpressure,
    ChecksumMismatch,
    ChunkferryError,
    ContentConflict,
    InvalidArgument,
    InvalidPath,
    LengthMismatch,
    NotDurable,
    OffsetMismatch,
    TooManyUploads,
    UnknownService,
    UploadClosed,
    UploadInProgress,
    UploadNotFound,
)
from chunkferry.ledger import RedisLedger
from chunkferry.moves import Ending, Rousing
from chunkferry.parts import MIB, TIB
from chunkferry.testing import ManualClock, MemoryLedger

CONTENT = bytes(range(256)) * 100
#: More than a part.
LONG = CONTENT * 205
UNKNOWN = f"1-{'0' * 32}"


# --- the vocabulary ---------------------------------------------------------------------------


def test_put_stores_what_the_reader_holds(site: Site) -> None:
    """From the reader through the stream into the store."""
    notifier = site.manager.put_with_status(
        "a/b", len(CONTENT), io.BytesIO(CONTENT), content_type="text/plain", metadata={"k": "v"}
    )
    site.work()
    found = site.store.contents["a/b"]
    assert (found.data, found.content_type, found.metadata) == (CONTENT, "text/plain", {"k": "v"})
    assert notifier.wait(timeout=5).message == "Upload Complete"


def test_large_data_takes_one_wake_up_per_turn(site: Site) -> None:
    """Never one per part."""
    content = bytes(3 * PART + 1)
    site.manager.put_with_status("a", len(content), io.BytesIO(content))
    assert len(site.waker.asked) == 1
    site.work()
    assert site.stored("a") == content


def test_a_size_may_be_said_later(site: Site) -> None:
    """The upload cannot complete before."""
    notifier = site.manager.put_with_status("a", None, io.BytesIO(CONTENT))
    site.work()
    assert not site.manager.get(notifier.upload_id).has_ended
    site.manager.set_length(notifier.upload_id, len(CONTENT))
    site.work()
    assert site.stored("a") == CONTENT


def test_an_incomplete_upload_is_found_by_its_path(site: Site) -> None:
    """Until it has ended."""
    assert site.manager.get_incomplete_upload("a") is None
    site.manager.put_with_status("a", 3, io.BytesIO(b"ab"))
    upload = site.manager.get_incomplete_upload("a")
    assert upload is not None
    assert (upload.received, upload.length, site.manager.upload_exists("a")) == (2, 3, True)
    site.manager.resume_put_with_status("a", io.BytesIO(b"c"))
    site.work()
    assert not site.manager.upload_exists("a")


def test_a_service_can_be_chosen(site: Site) -> None:
    """For one call, or for the whole manager."""
    assert site.manager.create("a", service="other").service == "other"
    assert site.another_manager(service="other").upload_exists("a")
    assert not site.manager.upload_exists("a")


def test_the_chunk_size_can_be_chosen(site: Site) -> None:
    """Instead of the setting."""
    manager = site.another_manager(chunk_size_limit=6 * MIB)
    assert (manager.chunk_size, manager.create("a", 1).grid.part_size) == (6 * MIB, 6 * MIB)


def test_the_listing_can_be_narrowed(site: Site) -> None:
    """By state and by service."""
    site.manager.put_with_status("ended", 0, io.BytesIO())
    site.work()
    site.manager.create("living")
    site.manager.create("living", service="other")
    manager = site.manager
    by_state = [found.filepath for found in manager.list_uploads(state=State.COMPLETE)]
    by_service = [found.filepath for found in manager.list_uploads(service="other")]
    assert (by_state, by_service) == (["ended"], ["living"])
    assert len(list(manager.list_uploads())) == 3


def test_append_returns_where_to_go_on(site: Site) -> None:
    """Any bytes-like object will do, of any size."""
    upload_id = site.manager.create("a", PART * 2).upload_id
    offsets = [
        site.manager.append(upload_id, 0, b""),
        site.manager.append(upload_id, 0, bytearray(b"x" * 10)),
        site.manager.append(upload_id, 10, memoryview(bytes(PART))),
        site.manager.append(upload_id, 10, bytes(PART)),
        site.manager.append(upload_id, 10 + PART, bytes(PART - 10)),
    ]
    assert offsets == [0, 10, 10 + PART, 10 + PART, 2 * PART]


def test_a_checksum_is_checked_before_anything_is_accepted(site: Site) -> None:
    """Damaged data leaves no trace."""
    upload_id = site.manager.create("a", len(CONTENT)).upload_id
    good = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    with pytest.raises(ChecksumMismatch):
        site.manager.append(upload_id, 0, CONTENT[:-1] + b"?", checksum=good)
    assert site.manager.get(upload_id).received == 0
    assert site.manager.append(upload_id, 0, CONTENT, checksum=good) == len(CONTENT)


def test_cancel_removes_the_upload(site: Site) -> None:
    """Asking twice is fine; the path is free afterwards."""
    notifier = site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT[:9]))
    site.manager.cancel(notifier.upload_id)
    site.manager.cancel(notifier.upload_id)
    site.work()
    status = notifier.wait(timeout=5)
    assert (status.code, status.state) == (UploadStatusCode.ERROR, State.CANCELLED)
    assert site.manager.create("a").state == State.RECEIVING


def test_an_idempotent_put_sends_what_is_missing(site: Site) -> None:
    """The repeat's reader holds the whole file again: no byte is shifted or doubled."""
    first = site.manager.put_with_status(
        "a", len(CONTENT), io.BytesIO(CONTENT[:777]), idempotency_key="key"
    )
    again = site.manager.put_with_status(
        "a", len(CONTENT), io.BytesIO(CONTENT), idempotency_key="key"
    )
    site.work()
    assert (again.upload_id, site.stored("a")) == (first.upload_id, CONTENT)


def test_an_idempotent_put_of_other_bytes_is_refused(site: Site) -> None:
    """The same key has to mean the same file."""
    site.manager.put_with_status("a", 100, io.BytesIO(CONTENT[:50]), idempotency_key="key")
    with pytest.raises(ContentConflict):
        site.manager.put_with_status("a", 100, io.BytesIO(b"?" * 100), idempotency_key="key")


def test_an_idempotent_put_of_a_complete_file_is_done(site: Site) -> None:
    """A repeat that comes late hears the end of the first."""
    site.manager.put_with_status("a", 100, io.BytesIO(CONTENT[:100]), idempotency_key="key")
    site.work()
    again = site.manager.put_with_status("a", 100, io.BytesIO(CONTENT[:100]), idempotency_key="key")
    assert again.wait(timeout=5).code == UploadStatusCode.OK


def fail_in_the_middle(site: Site) -> str:
    """An upload with a key, of which a part is in when its store refuses; return its id."""
    upload_id = site.manager.put_with_status(
        "a", len(LONG), io.BytesIO(LONG[:PART]), idempotency_key="key"
    ).upload_id
    site.ledger.leases.acquire(upload_id, "n", "w")
    site.ledger.leases.fail(upload_id, "n", "store_refused", "no such bucket")
    return upload_id


def test_an_idempotent_put_revives_a_failed_upload(site: Site) -> None:
    """As resuming does: whoever sends again wants it stored."""
    failed = fail_in_the_middle(site)
    again = site.manager.put_with_status("a", len(LONG), io.BytesIO(LONG), idempotency_key="key")
    site.work()
    assert (again.upload_id, site.stored("a") == LONG) == (failed, True)


def test_an_idempotent_create_leaves_a_failed_upload_as_it_is(site: Site) -> None:
    """It sends nothing: who drives requests decides with ``requeue``."""
    failed = fail_in_the_middle(site)
    found = site.manager.create("a", len(LONG), idempotency_key="key")
    assert (found.upload_id, found.state) == (failed, State.FAILED)


def test_a_failed_upload_that_somebody_else_revives_is_sent_to(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two resume at once: one requeues, and both go on."""
    fail_in_the_middle(site)
    requeue = site.manager.requeue

    def second(upload_id: str) -> None:
        requeue(upload_id)
        requeue(upload_id)

    monkeypatch.setattr(site.manager, "requeue", second)
    site.manager.resume_put_with_status("a", io.BytesIO(LONG[PART:]))
    site.work()
    assert site.stored("a") == LONG


def test_what_was_read_before_the_reader_raised_is_kept(site: Site) -> None:
    """Resuming goes on after it."""
    with pytest.raises(OSError, match="disk gone"):
        site.manager.put_with_status(
            "a", len(CONTENT), Trickle(CONTENT[:2500], error=OSError("disk gone"))
        )
    upload = site.manager.get_incomplete_upload("a")
    assert upload is not None
    assert upload.received == 2500
    site.manager.resume_put_with_status("a", io.BytesIO(CONTENT[2500:]))
    site.work()
    assert site.stored("a") == CONTENT


# --- bad input --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """One kind of bad input, and its outcome."""

    call: Callable[[Site], object]
    error: type[ChunkferryError]
    code: str
    http_status: int
    retryable: bool = False


def begun(site: Site) -> str:
    """An upload of 10 bytes that has 4."""
    upload_id = site.manager.create("a", 10).upload_id
    site.manager.append(upload_id, 0, b"0123")
    return upload_id


def complete(site: Site) -> str:
    """An upload that has ended well."""
    upload_id = site.manager.put_with_status("a", 3, io.BytesIO(b"abc")).upload_id
    site.work()
    return upload_id


def cancelled(site: Site) -> str:
    """An upload that was cancelled and removed."""
    upload_id = begun(site)
    site.manager.cancel(upload_id)
    site.work()
    return upload_id


def full(site: Site) -> str:
    """An upload whose window is full."""
    upload_id = site.manager.create("a").upload_id
    for offset in range(0, 64 * MIB, 8 * MIB):
        site.manager.append(upload_id, offset, bytes(8 * MIB))
    return upload_id


def crowded(site: Site) -> ChunkManager:
    """A manager for which one open upload is enough."""
    settings = site.settings.changed(max_open_uploads=1)
    if isinstance(site.ledger, MemoryLedger):
        site.ledger.intake._book.settings = settings
    else:
        cast("RedisLedger", site.ledger).intake._settings = settings
    return site.manager


def aborted(site: Site) -> str:
    """An upload that a worker is removing."""
    upload_id = begun(site)
    site.manager.cancel(upload_id)
    return upload_id


BAD = {
    "negative offset": Bad(
        lambda site: site.manager.append(begun(site), -1, b"x"),
        InvalidArgument,
        "invalid_argument",
        400,
    ),
    "gap": Bad(
        lambda site: site.manager.append(begun(site), 5, b"x"),
        OffsetMismatch,
        "offset_mismatch",
        409,
    ),
    "overlap": Bad(
        lambda site: site.manager.append(begun(site), 2, b"234"),
        OffsetMismatch,
        "offset_mismatch",
        409,
    ),
    "other bytes again": Bad(
        lambda site: site.manager.append(begun(site), 0, b"9876"),
        ContentConflict,
        "content_conflict",
        409,
    ),
    "longer than announced": Bad(
        lambda site: site.manager.append(begun(site), 4, b"4567890"),
        LengthMismatch,
        "length_mismatch",
        413,
    ),
    "unknown upload": Bad(
        lambda site: site.manager.append(UNKNOWN, 0, b"x"),
        UploadNotFound,
        "upload_not_found",
        404,
    ),
    "no upload id": Bad(
        lambda site: site.manager.get("../etc/passwd"), UploadNotFound, "upload_not_found", 404
    ),
    "append to a cancelled upload": Bad(
        lambda site: site.manager.append(cancelled(site), 4, b"x"),
        UploadClosed,
        "upload_closed",
        410,
    ),
    "append to an upload being removed": Bad(
        lambda site: site.manager.append(aborted(site), 4, b"x"),
        UploadClosed,
        "upload_closed",
        410,
    ),
    "append to a complete upload": Bad(
        lambda site: site.manager.append(complete(site), 3, b"x"),
        UploadClosed,
        "upload_closed",
        410,
    ),
    "cancel of a complete upload": Bad(
        lambda site: site.manager.cancel(complete(site)), UploadClosed, "upload_closed", 410
    ),
    "requeue of an upload that has not failed": Bad(
        lambda site: site.manager.requeue(begun(site)), UploadClosed, "upload_closed", 410
    ),
    "resume of nothing": Bad(
        lambda site: site.manager.resume_put_with_status("a", io.BytesIO(b"x")),
        UploadNotFound,
        "upload_not_found",
        404,
    ),
    "resume of an upload being removed": Bad(
        lambda site: (aborted(site), site.manager.resume_put_with_status("a", io.BytesIO())),
        UploadNotFound,
        "upload_not_found",
        404,
    ),
    "second upload to a path": Bad(
        lambda site: (begun(site), site.manager.create("a", 10)),
        UploadInProgress,
        "upload_in_progress",
        409,
    ),
    "bad path": Bad(lambda site: site.manager.create("../a", 10), InvalidPath, "invalid_path", 400),
    "unknown service": Bad(
        lambda site: site.manager.create("a", 10, service="nowhere"),
        UnknownService,
        "unknown_service",
        400,
    ),
    "negative length": Bad(
        lambda site: site.manager.create("a", -1), InvalidArgument, "invalid_argument", 400
    ),
    "longer than any store takes": Bad(
        lambda site: site.manager.create("a", 5 * TIB + 1), LengthMismatch, "length_mismatch", 413
    ),
    "another length": Bad(
        lambda site: site.manager.set_length(begun(site), 11),
        LengthMismatch,
        "length_mismatch",
        413,
    ),
    "negative length later": Bad(
        lambda site: site.manager.set_length(begun(site), -1),
        InvalidArgument,
        "invalid_argument",
        400,
    ),
    "too much metadata": Bad(
        lambda site: site.manager.create("a", metadata={"k": "v" * 2048}),
        InvalidArgument,
        "invalid_argument",
        400,
    ),
    "metadata that grows beyond what S3 takes": Bad(
        lambda site: site.manager.create("a", metadata={"k": "ü" * 800}),
        InvalidArgument,
        "invalid_argument",
        400,
    ),
    "a metadata name twice": Bad(
        lambda site: site.manager.create("a", metadata={"Name": "a", "name": "b"}),
        InvalidArgument,
        "invalid_argument",
        400,
    ),
    "a content type that is no header": Bad(
        lambda site: site.manager.create("a", content_type="text/plain\r\nX-Evil: 1"),
        InvalidArgument,
        "invalid_argument",
        400,
    ),
    "an endless idempotency key": Bad(
        lambda site: site.manager.create("a", idempotency_key="k" * 256),
        InvalidArgument,
        "invalid_argument",
        400,
    ),
    "a reader of text": Bad(
        lambda site: site.manager.put_with_status("a", 3, io.StringIO("abc")),  # type: ignore[arg-type]  # bad on purpose
        InvalidArgument,
        "invalid_argument",
        400,
    ),
    "a wrong checksum": Bad(
        lambda site: site.manager.append(begun(site), 4, b"x", checksum="crc32:00000000"),
        ChecksumMismatch,
        "checksum_mismatch",
        460,
    ),
    "an unknown checksum": Bad(
        lambda site: site.manager.append(begun(site), 4, b"x", checksum="rot13:00"),
        InvalidArgument,
        "invalid_argument",
        400,
    ),
    "a full window": Bad(
        lambda site: site.manager.append(full(site), 64 * MIB, b"x"),
        Backpressure,
        "backpressure",
        503,
        retryable=True,
    ),
    "too many uploads": Bad(
        lambda site: (begun(site), crowded(site).create("b", 10)),
        TooManyUploads,
        "too_many_uploads",
        429,
        retryable=True,
    ),
    "watch of nothing": Bad(
        lambda site: site.manager.watch(UNKNOWN), UploadNotFound, "upload_not_found", 404
    ),
    "watch from no event": Bad(
        lambda site: site.manager.watch(begun(site), after="yesterday"),
        InvalidArgument,
        "invalid_argument",
        400,
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_has_a_defined_outcome(site: Site, kind: str) -> None:
    """An error class with a stable code, an HTTP status, and whether to try again."""
    bad = BAD[kind]
    with pytest.raises(ChunkferryError) as raised:
        bad.call(site)
    error = raised.value
    assert (type(error), error.code, error.http_status, error.retryable) == (
        bad.error,
        bad.code,
        bad.http_status,
        bad.retryable,
    )


@pytest.mark.parametrize("kind", ["gap", "overlap", "other bytes again", "longer than announced"])
def test_bad_appends_cost_nothing_that_was_accepted(site: Site, kind: str) -> None:
    """The upload goes on with the right bytes."""
    with pytest.raises(ChunkferryError):
        BAD[kind].call(site)
    site.manager.resume_put_with_status("a", io.BytesIO(b"456789"))
    site.work()
    assert site.stored("a") == b"0123456789"


def test_an_empty_append_tells_the_offset(site: Site) -> None:
    """It is no error."""
    assert site.manager.append(begun(site), 4, b"") == 4


def test_what_does_not_fit_is_taken_as_far_as_it_does(site: Site) -> None:
    """The error tells where to go on, and storing makes room."""
    upload_id = full(site)
    with pytest.raises(Backpressure) as refused:
        site.manager.append(upload_id, 64 * MIB, bytes(MIB), wait=0)
    assert refused.value.received == 64 * MIB
    site.work()
    assert site.manager.append(upload_id, 64 * MIB, bytes(MIB)) == 65 * MIB


def test_waiting_for_room_ends_when_there_is_some(site: Site) -> None:
    """``append`` is patient for as long as it is told."""
    upload_id = full(site)
    worker = site.in_background(site.work)
    assert site.manager.append(upload_id, 64 * MIB, b"x", wait=30) == 64 * MIB + 1
    worker.join(timeout=30)


def test_under_memory_pressure_a_begun_part_is_filled(in_memory: Site) -> None:
    """Wherever the data lies across parts: else no upload could be stored, and nothing freed."""
    assert isinstance(in_memory.ledger, MemoryLedger)
    upload_id = in_memory.manager.create("a", 3 * PART).upload_id
    in_memory.manager.append(upload_id, 0, bytes(PART - MIB))
    in_memory.ledger.is_pressed = True
    with pytest.raises(Backpressure) as refused:
        in_memory.manager.append(upload_id, PART - MIB, bytes(2 * MIB))
    assert refused.value.received == PART
    assert in_memory.waker.asked == [upload_id]


def test_an_expired_upload_takes_nothing(in_time: Site, clock: ManualClock) -> None:
    """Its outcome is defined as well: 410."""
    upload_id = begun(in_time)
    clock.advance(timedelta(days=2))
    assert in_time.ledger.agenda.rouse(upload_id) == Rousing.EXPIRED
    with pytest.raises(UploadClosed):
        in_time.manager.append(upload_id, 4, b"x")
    in_time.ledger.leases.acquire(upload_id, "n", "w")
    upload = in_time.manager.get(upload_id)
    assert in_time.ledger.leases.finish(upload, "n", Ending.ABORTED) == State.EXPIRED
    with pytest.raises(UploadClosed) as refused:
        in_time.manager.append(upload_id, 4, b"x")
    assert (refused.value.state, refused.value.http_status) == ("expired", 410)


# --- durability -------------------------------------------------------------------------------


@pytest.fixture
def unsafe() -> Site:
    """A site that is to have a replica, which does not answer."""
    settings = small_parts(replicas=1)
    site = Site(MemoryLedger(settings), settings)
    assert isinstance(site.ledger, MemoryLedger)
    upload_id = site.manager.create("a", len(LONG)).upload_id
    site.manager.append(upload_id, 0, LONG[:10])
    site.ledger.is_unsafe = True
    return site


def safe(site: Site) -> None:
    """Let the replica answer."""
    assert isinstance(site.ledger, MemoryLedger)
    site.ledger.is_unsafe = False


@pytest.mark.parametrize(
    ("start", "finish", "received"), [(0, 0, 10), (3, 10, 10), (10, 20, 20), (10, PART, PART)]
)
def test_an_append_waits_for_durability_each_time(
    unsafe: Site, start: int, finish: int, received: int
) -> None:
    """A repeat too, and a mere question: else it would acknowledge what is not safe."""
    upload = unsafe.manager.find_upload("a")
    assert upload is not None
    for _ in range(2):
        with pytest.raises(NotDurable) as raised:
            unsafe.manager.append(upload.upload_id, start, LONG[start:finish])
        assert raised.value.received == received
    safe(unsafe)
    assert unsafe.manager.append(upload.upload_id, start, LONG[start:finish]) == received


@pytest.mark.parametrize("key", ["", "key"])
def test_only_a_create_that_has_a_key_can_be_repeated(unsafe: Site, key: str) -> None:
    """Else the path is taken: the error leads to the upload, and does not ask for a repeat."""
    create = partial(unsafe.manager.create, "b", idempotency_key=key)
    with pytest.raises(NotDurable) as begun:
        create()
    assert begun.value.retryable == bool(key)
    safe(unsafe)
    repeated = outcome_of(create)
    assert isinstance(repeated, ChunkUpload if key else UploadInProgress)
    assert repeated.upload_id == begun.value.upload_id


def test_whatever_is_acknowledged_waits_for_durability(unsafe: Site) -> None:
    """Beginning, telling the length, putting and resuming; all of it is kept and goes on later."""
    manager = unsafe.manager
    with pytest.raises(NotDurable) as begun:
        manager.create("b")
    with pytest.raises(NotDurable):
        manager.set_length(begun.value.upload_id, 10)
    with pytest.raises(NotDurable):
        manager.put_with_status("c", 10, io.BytesIO(LONG[:10]), idempotency_key="key")
    with pytest.raises(NotDurable):
        manager.resume_put_with_status("a", io.BytesIO(LONG[10:]))
    safe(unsafe)
    manager.append(begun.value.upload_id, 0, LONG[:10])
    manager.put_with_status("c", 10, io.BytesIO(LONG[:10]), idempotency_key="key")
    unsafe.work()
    found = {path: unsafe.stored(path) for path in "abc"}
    assert found == {"a": LONG, "b": LONG[:10], "c": LONG[:10]}
