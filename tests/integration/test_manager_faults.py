"""The faults of the library that the API comes from: each has a test that keeps it away."""

from __future__ import annotations

import io
import threading
from datetime import timedelta

import pytest
from tests.producing import PART, Reader, Site, Trickle

from chunkferry import State, UploadStatusCode
from chunkferry.errors import (
    ContentConflict,
    OffsetMismatch,
    UploadClosed,
    UploadInProgress,
    UploadNotFound,
)
from chunkferry.moves import Rousing
from chunkferry.testing import ManualClock

CONTENT = bytes(range(256)) * 100


def test_inverted_expiry_test(in_time: Site, clock: ManualClock) -> None:
    """An upload is given up after the silence that was set: not before, and not never."""
    manager = in_time.another_manager(incomplete_upload_expiry=timedelta(minutes=5))
    manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT[:100]))
    clock.advance(timedelta(minutes=4, seconds=59))
    assert in_time.ledger.agenda.due() == []
    assert manager.upload_exists("a")
    clock.advance(timedelta(seconds=1))
    (upload_id,) = in_time.ledger.agenda.due()
    assert in_time.ledger.agenda.rouse(upload_id) == Rousing.EXPIRED


def test_a_short_read_counted_as_a_whole_chunk(site: Site) -> None:
    """Only bytes that were read count: the end of the file is not lost."""
    site.manager.put_with_status("a", len(CONTENT), Trickle(CONTENT, most=777))
    site.work()
    assert site.stored("a") == CONTENT


def test_last_bytes_dropped_when_eof_arrives_with_data(site: Site) -> None:
    """The last read may be as short as it likes."""
    content = b"x" * PART + b"y"
    site.manager.put_with_status("a", len(content), io.BytesIO(content))
    site.work()
    assert site.stored("a") == content


def test_a_part_counted_before_it_is_stored(site: Site) -> None:
    """``uploaded`` is what the store has confirmed; accepted bytes are ``received``."""
    notifier = site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT))
    upload = site.manager.get_incomplete_upload("a")
    assert upload is not None
    assert (upload.uploaded, upload.received) == (0, len(CONTENT))
    site.work()
    assert [status.uploaded for status in notifier][-1] == len(CONTENT)


def test_no_offset_check_on_resume(site: Site) -> None:
    """Data that does not begin where the received bytes end is refused."""
    upload = site.manager.create("a", len(CONTENT))
    site.manager.append(upload.upload_id, 0, CONTENT[:100])
    with pytest.raises(OffsetMismatch) as refused:
        site.manager.append(upload.upload_id, 50, CONTENT[50:200])
    assert refused.value.expected == 100
    with pytest.raises(OffsetMismatch):
        site.manager.append(upload.upload_id, 200, CONTENT[200:])


def test_two_senders_interleaving(site: Site) -> None:
    """Each append is in the file whole, or not at all; senders learn where to go on."""
    block, senders, each = 100, 4, 25
    total = block * senders * each
    upload_id = site.manager.create("a", total).upload_id

    def send(letter: bytes) -> None:
        offset, sent = 0, 0
        while sent < each:
            try:
                # A block of the same letter that is there already would be acknowledged.
                offset = site.manager.append(upload_id, offset, letter * block)
                sent += 1
            except OffsetMismatch as exc:
                offset = exc.expected
            except ContentConflict:
                offset = site.manager.get(upload_id).received

    threads = [threading.Thread(target=send, args=[letter]) for letter in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    site.work()
    content = site.stored("a")
    blocks = [content[start : start + block] for start in range(0, total, block)]
    assert [len(set(found)) for found in blocks] == [1] * (senders * each)
    assert {letter: content.count(letter) for letter in set(content)} == dict.fromkeys(
        b"abcd", block * each
    )


def test_one_path_key_overwriting_anothers_entry(site: Site) -> None:
    """Paths that would meet as a joined key stay apart, and a busy path stays taken."""
    paths = ["a/b", "a/b:", "a-b", "A/b", "a b", "b/a"]
    for path in paths:
        site.manager.put_with_status(path, 10, io.BytesIO(path.encode()))
    for path in paths:
        upload = site.manager.get_incomplete_upload(path)
        assert upload is not None
        assert (upload.filepath, upload.received) == (path, len(path))
    with pytest.raises(UploadInProgress):
        site.manager.create("a/b", 10)
    assert site.manager.create("a/b", 10, service="other").service == "other"


def test_a_notifier_that_blocks_the_uploader(site: Site) -> None:
    """Nobody reads this one; the upload goes through all the same."""
    notifier = site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT))
    site.work()
    assert site.stored("a") == CONTENT
    assert notifier.wait(timeout=5).code == UploadStatusCode.OK


def test_a_notifier_that_is_never_closed(site: Site) -> None:
    """It ends by itself after the last status."""
    reader = Reader(site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT)))
    site.work()
    statuses = reader.all()
    assert [status.is_last for status in statuses] == [False] * (len(statuses) - 1) + [True]


@pytest.mark.parametrize("length", [0, None])
def test_zero_byte_uploads_that_never_complete(site: Site, length: int | None) -> None:
    """Nothing to send is a whole file, once its length is known."""
    notifier = site.manager.put_with_status("a", length, io.BytesIO())
    if length is None:
        site.manager.set_length(notifier.upload_id, 0)
    site.work()
    assert (notifier.wait(timeout=5).message, site.stored("a")) == ("Upload Complete", b"")


def test_resume_right_after_put_not_found(site: Site) -> None:
    """The upload is known as soon as ``put`` has returned, to every process."""
    site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT[:100]))
    other = site.another_manager()
    other.resume_put_with_status("a", io.BytesIO(CONTENT[100:200]))
    site.manager.resume_put_with_status("a", io.BytesIO(CONTENT[200:]))
    site.work()
    assert site.stored("a") == CONTENT


def test_send_on_a_closed_channel(site: Site) -> None:
    """Data for an ended upload is an error of the caller, not a crash."""
    upload_id = site.manager.put_with_status("a", 3, io.BytesIO(b"abc")).upload_id
    site.work()
    with pytest.raises(UploadClosed) as refused:
        site.manager.append(upload_id, 3, b"d")
    assert refused.value.state == State.COMPLETE
    with pytest.raises(UploadNotFound):
        site.manager.resume_put_with_status("a", io.BytesIO(b"d"))


def test_an_error_reported_twice(site: Site) -> None:
    """One error, one status, and it is the last."""
    reader = Trickle(CONTENT[:100], error=OSError("disk gone"))
    notifier = site.manager.put_with_status("a", len(CONTENT), reader, background=True)
    statuses = Reader(notifier).all()
    errors = [status.error for status in statuses if status.error]
    assert [str(error) for error in errors] == ["disk gone"]
    assert statuses[-1].code == UploadStatusCode.ERROR


def test_a_failed_upload_that_cannot_be_resumed(site: Site) -> None:
    """Resuming requeues it, and what was accepted before is still there."""
    content = bytes(PART) + CONTENT
    begun = site.manager.put_with_status("a", len(content), io.BytesIO(content[:PART]))
    site.ledger.leases.acquire(begun.upload_id, "n", "w")
    site.ledger.leases.fail(begun.upload_id, "n", "store_refused", "no such bucket")
    assert begun.wait(timeout=5).code == UploadStatusCode.ERROR
    notifier = site.manager.resume_put_with_status("a", io.BytesIO(content[PART:]))
    site.work()
    assert notifier.wait(timeout=5).code == UploadStatusCode.OK
    assert site.stored("a") == content
