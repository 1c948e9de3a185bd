"""``Notifier``: the news of an upload, for anybody, at any time, at nobody's expense."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from tests.producing import PART, Reader, Site, Trickle
from tests.waiting import wait_until

from chunkferry import Notifier, UploadStatusCode
from chunkferry.errors import (
    InitError,
    RedisUnavailable,
    UploadClosed,
    UploadError,
    UploadInProgress,
    UploadNotFound,
)
from chunkferry.services import Records

CONTENT = bytes(range(256)) * 100


def fail(site: Site, upload_id: str, code: str = "store_refused") -> None:
    """Have a worker give the upload up."""
    site.ledger.leases.acquire(upload_id, "n", "w")
    site.ledger.leases.fail(upload_id, "n", code, "no such bucket")


def test_the_news_begin_with_the_upload_and_end_with_its_end(site: Site) -> None:
    """Progress in bytes, then "Upload Complete"."""
    content = bytes(2 * PART)
    notifier = site.manager.put_with_status("a", len(content), io.BytesIO(content))
    site.work()
    statuses = Reader(notifier).all()
    assert [(status.code, status.uploaded) for status in statuses] == [
        ("Progress", 0),
        *[("Progress", 0)] * (len(statuses) - 4),
        ("Progress", PART),
        ("Progress", 2 * PART),
        ("Ok", 2 * PART),
    ]
    assert {status.total for status in statuses} == {len(content)}
    assert statuses[-1].message == "Upload Complete"


def test_the_news_can_be_read_while_chunks_are_sent(site: Site) -> None:
    """By a second thread, long before ``put`` returns."""
    notifier = site.manager.put_with_status("a", None, io.BytesIO(b"x"))
    reader = Reader(site.manager.watch(notifier.upload_id))
    wait_until(lambda: reader.statuses, what="the first status")
    site.manager.resume_put_with_status("a", io.BytesIO(b"y"))
    site.manager.set_length(notifier.upload_id, 2)
    site.work()
    assert reader.all()[-1].code == UploadStatusCode.OK


def test_a_watcher_begins_with_how_things_stand(site: Site) -> None:
    """Without the history, unless it asks for it."""
    notifier = site.manager.put_with_status("a", 10, io.BytesIO(b"0123"))
    first = next(site.manager.watch(notifier.upload_id))
    assert (first.received, first.uploaded, first.total, first.state) == (4, 0, 10, "receiving")
    assert next(site.manager.watch(notifier.upload_id, after="0")).received == 0


def test_news_are_replayed_from_any_id(site: Site) -> None:
    """What follows a status is the same for everybody."""
    notifier = site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT))
    site.work()
    statuses = list(notifier)
    for index, status in enumerate(statuses[:-1]):
        assert (
            list(site.manager.watch(notifier.upload_id, after=status.event_id))
            == (statuses[index + 1 :])
        )


def test_who_knows_the_end_is_told_once_more(site: Site) -> None:
    """Instead of waiting for what will never come."""
    notifier = site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT))
    site.work()
    last = notifier.wait(timeout=5)
    (again,) = Reader(site.manager.watch(notifier.upload_id, after=last.event_id)).all()
    assert (again.code, again.event_id) == (UploadStatusCode.OK, last.event_id)


def test_an_ended_upload_can_still_be_watched(site: Site) -> None:
    """A late question gets its answer."""
    notifier = site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT))
    site.work()
    assert site.manager.watch(notifier.upload_id).wait(timeout=5).code == UploadStatusCode.OK


def test_another_process_can_watch(on_redis: Site) -> None:
    """It needs the id, and nothing of this process."""
    notifier = on_redis.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT))
    script = (
        "import sys; from chunkferry import ChunkManager\n"
        "for status in ChunkManager().watch(sys.argv[1], after='0'):\n"
        "    print(status.code, status.received, flush=True)\n"
    )
    environment = {**os.environ, "CHUNKFERRY_REDIS_URL": on_redis.settings.redis_url}
    with subprocess.Popen(
        [sys.executable, "-c", script, notifier.upload_id],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "Progress 0\n"
        on_redis.work()
        assert watcher.stdout.read().splitlines()[-1] == f"Ok {len(CONTENT)}"
    assert watcher.returncode == 0


def test_any_number_may_watch(site: Site) -> None:
    """Each hears everything."""
    notifier = site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT[:9]))
    readers = [Reader(site.manager.watch(notifier.upload_id, after="0")) for _ in range(5)]
    site.manager.resume_put_with_status("a", io.BytesIO(CONTENT[9:]))
    site.work()
    heard = [reader.all() for reader in readers]
    assert heard == [heard[0]] * 5


@pytest.mark.parametrize(
    ("code", "kind"), [("store_refused", UploadError), ("init_failed", InitError)]
)
def test_a_failure_is_an_error_with_its_cause(site: Site, code: str, kind: type[Exception]) -> None:
    """And the last status."""
    notifier = site.manager.put_with_status("a", 4, io.BytesIO(b"0123"))
    fail(site, notifier.upload_id, code)
    status = notifier.wait(timeout=5)
    assert (type(status.error), status.message) == (kind, "no such bucket")


def test_a_failure_that_was_mended_is_history(site: Site) -> None:
    """Who replays it after a requeue hears of it as progress, and then of the end."""
    notifier = site.manager.put_with_status("a", 4, io.BytesIO(b"0123"))
    fail(site, notifier.upload_id)
    site.manager.requeue(notifier.upload_id)
    site.work()
    statuses = list(notifier)
    assert [status.error for status in statuses] == [None] * len(statuses)
    assert statuses[-1].code == UploadStatusCode.OK


def test_cancelling_is_told_once_it_is_done(site: Site) -> None:
    """As the error of an upload that will never be."""
    notifier = site.manager.put_with_status("a", 4, io.BytesIO(b"012"))
    site.manager.cancel(notifier.upload_id)
    site.work()
    error = notifier.wait(timeout=5).error
    assert isinstance(error, UploadClosed)
    assert error.state == "cancelled"


def test_a_forgotten_upload_ends_its_watchers(site: Site) -> None:
    """Whoever reads too late is told that there is nothing to read."""
    notifier = Notifier(site.ledger.records, f"1-{'0' * 32}")
    assert isinstance(notifier.wait(timeout=5).error, UploadNotFound)


def test_waiting_has_a_limit(site: Site) -> None:
    """Even where nothing happens at all."""
    notifier = site.manager.put_with_status("a", 4, io.BytesIO(b"012"))
    with pytest.raises(TimeoutError, match=r"did not end within 0\.1 s"):
        notifier.wait(timeout=0.1)


def test_a_closed_notifier_ends(site: Site) -> None:
    """Though its upload goes on."""
    with site.manager.put_with_status("a", 4, io.BytesIO(b"012")) as notifier:
        reader = Reader(notifier)
        wait_until(lambda: len(reader.statuses) > 1, what="the first news")
    assert [status.is_last for status in reader.all()] == [False] * len(reader.statuses)
    with pytest.raises(RuntimeError):
        notifier.wait()


def test_in_the_background_put_returns_at_once(site: Site) -> None:
    """The sending goes on in a thread; the notifier tells how."""
    content = bytes(2 * PART)
    reader = Trickle(content, most=1 << 20)
    notifier = site.manager.put_with_status("a", len(content), reader, background=True)
    wait_until(
        lambda: site.manager.get(notifier.upload_id).received == len(content), what="all is in"
    )
    wait_until(lambda: site.waker.asked, what="a wake-up was sent")
    site.work()
    assert notifier.wait(timeout=5).code == UploadStatusCode.OK


def test_a_failure_to_send_in_the_background_is_told(site: Site) -> None:
    """What was sent before is kept for a resumption."""
    reader = Trickle(CONTENT[:5000], error=OSError("disk gone"))
    notifier = site.manager.put_with_status("a", len(CONTENT), reader, background=True)
    status = notifier.wait(timeout=5)
    assert (str(status.error), status.code) == ("disk gone", UploadStatusCode.ERROR)
    site.manager.resume_put_with_status("a", io.BytesIO(CONTENT[5000:]), background=True)
    wait_until(lambda: site.waker.asked, what="all is in")
    site.work()
    assert site.stored("a") == CONTENT


def test_what_cannot_begin_raises_even_in_the_background(site: Site) -> None:
    """There is no notifier that could tell."""
    site.manager.create("a", 4)
    with pytest.raises(UploadInProgress):
        site.manager.put_with_status("a", 4, io.BytesIO(b"0123"), background=True)


@pytest.mark.parametrize("after", [None, "0"])
@pytest.mark.parametrize("question", ["last_event_id", "get", "events"])
def test_no_news_are_lost_when_redis_goes_away(
    site: Site, monkeypatch: pytest.MonkeyPatch, after: str | None, question: str
) -> None:
    """The iteration goes on where it stopped, at whichever question that was."""
    put = site.manager.put_with_status("a", 4, io.BytesIO(b"0123"))
    fail(site, put.upload_id)
    records: Records = site.ledger.records
    asked, outages = getattr(records, question), [RedisUnavailable("gone")]

    def unreliable(*args: object) -> object:
        if outages:
            raise outages.pop()
        return asked(*args)

    notifier = Notifier(records, put.upload_id, after)
    monkeypatch.setattr(records, question, unreliable)

    def last_error() -> Exception | None:
        try:
            return notifier.wait(timeout=5).error
        except RedisUnavailable:
            return None

    assert str(last_error() or last_error()) == "no such bucket"
