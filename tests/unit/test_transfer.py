"""Transfers, deadlines and dispositions: what every store builds on."""

from __future__ import annotations

import io
import itertools
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from tests.storing import content
from tests.waiting import wait_until

from chunkferry.errors import InvalidArgument, LengthMismatch, StoreUnavailable
from chunkferry.parts import MIB
from chunkferry.services import DownloadParams, SignedUrlConfig
from chunkferry.storage import disposition, lifetime, transfer
from chunkferry.storage.deadline import Deadline, check_timeout

NEVER = Deadline("reading")


class Raw(io.RawIOBase):
    """A raw writer that would have to wait."""

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> None:
        return None


def test_ranges_are_written_in_order_whatever_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A later range that is there early waits for the earlier ones."""
    monkeypatch.setattr(transfer, "RANGE", 10)
    data, second = content(35), threading.Event()

    def fetch(start: int, finish: int) -> bytes:
        if start == 0:
            second.wait(10)
        else:
            second.set()
        return data[start:finish]

    writer = io.BytesIO()
    transfer.download(35, fetch, writer, NEVER, concurrency=2)
    assert data == writer.getvalue()


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_ranges_are_fetched_than_asked_for(
    monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    """What is in memory is bounded, however large the object is."""
    monkeypatch.setattr(transfer, "RANGE", 10)
    lock, held, most = threading.Lock(), 0, 0

    def fetch(start: int, finish: int) -> bytes:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return bytes(finish - start)

    def progress(moved: int) -> None:
        nonlocal held
        with lock:
            held -= 1

    transfer.download(1000, fetch, io.BytesIO(), NEVER, concurrency=concurrency, progress=progress)
    # One more is begun when its place is free: after the oldest was taken, before it is written.
    assert most <= concurrency + 1


def test_an_error_of_a_range_ends_the_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a fetch raises comes out, and no file stays behind."""
    monkeypatch.setattr(transfer, "RANGE", 10)

    def fetch(start: int, finish: int) -> bytes:
        if start:
            raise StoreUnavailable("broken")
        return bytes(finish - start)

    with pytest.raises(StoreUnavailable, match="broken"):
        transfer.download(100, fetch, tmp_path / "file", NEVER)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 40 * MIB - 1])
@pytest.mark.parametrize("start", [0, 7])
def test_spans_follow_one_another_and_grow_within_bounds(start: int, size: int) -> None:
    """Few requests for a large object, a small one for its beginning."""
    found = list(transfer.spans(start, start + size))
    edges = [start, *(until for _, until in found)]
    assert found == list(itertools.pairwise(edges))
    assert edges[-1] == start + size
    sizes = [until - at for at, until in found]
    grown = [MIB, 2 * MIB, 4 * MIB, *itertools.repeat(8 * MIB, 10)]
    assert sizes[:-1] == grown[: len(sizes) - 1 if sizes else 0]


def test_a_writer_that_takes_nothing_loses_nothing() -> None:
    """A non-blocking writer's "not now" does not pass for "taken"."""
    with pytest.raises(BlockingIOError):
        transfer.write(Raw(), b"data")  # type: ignore[arg-type]  # raw files are writers, too


def test_a_writer_of_ones_own_may_say_nothing() -> None:
    """Whoever implements only ``write`` takes all that is given."""

    class Sink:
        taken = b""

        def write(self, data: memoryview) -> None:
            self.taken += bytes(data)

    sink = Sink()
    transfer.write(sink, b"data")  # type: ignore[arg-type]  # has what is needed
    assert sink.taken == b"data"


def test_a_download_into_an_absent_folder_is_the_callers_error(tmp_path: Path) -> None:
    """The error names the path on this machine."""
    with pytest.raises(FileNotFoundError, match="absent"):
        transfer.copy([b"data"], tmp_path / "absent" / "file")


def test_a_deadline_ends_what_it_waits_for() -> None:
    """Whoever is at work is told to stop, and nobody waits for it."""
    stop = threading.Event()
    deadline = Deadline("reading", timedelta(seconds=0.05))

    def call() -> None:
        with deadline.cutting(stop.set):
            assert stop.wait(10)

    with pytest.raises(StoreUnavailable, match=r"reading: not done within 0\.05 s"):
        deadline.run(call)
    wait_until(stop.is_set, what="the call was told")


def test_an_error_before_the_deadline_comes_out() -> None:
    """A call's own TimeoutError is not the deadline's."""

    def call() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        Deadline("reading", timedelta(hours=1)).run(call)


def test_without_a_timeout_the_caller_does_it_itself() -> None:
    """No thread is started for nothing."""
    assert NEVER.run(threading.get_ident) == threading.get_ident()


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_timeout_is_above_zero(seconds: int) -> None:
    """A call without any time is refused at once."""
    with pytest.raises(InvalidArgument, match="above zero"):
        check_timeout(timedelta(seconds=seconds))


def test_a_download_says_itself_how_many_connections() -> None:
    """Its own choice wins over that of the store."""
    assert transfer.chosen(None, 7) == 7
    assert transfer.chosen(DownloadParams(), 7) == 7
    assert transfer.chosen(DownloadParams(concurrency=2), 7) == 2


@pytest.mark.parametrize("step", [1, 3, 4, 100, -1, None])
@pytest.mark.parametrize("size", [None, 10])
def test_a_reader_gives_what_is_asked_for(step: int | None, size: int | None) -> None:
    """Only the last read returns less, and the sum is all there is."""
    moved = list[int]()
    reader = transfer.Reader(io.BytesIO(b"0123456789"), size=size, progress=moved.append)
    pieces = list(iter(lambda: reader.read(step), b""))
    assert b"".join(pieces) == b"0123456789"
    if step and step > 0:
        assert {len(piece) for piece in pieces[:-1]} <= {step}
    assert sum(moved) == reader.count == 10


@pytest.mark.parametrize(("size", "held"), [(9, "more"), (11, "only 10"), (0, "more")])
def test_a_reader_of_another_size_is_found_out_before_its_end(size: int, held: str) -> None:
    """An SDK that waits for the end does not get there."""
    reader = transfer.Reader(io.BytesIO(b"0123456789"), size=size)
    with pytest.raises(LengthMismatch, match=f"expected {size} bytes, but the reader holds {held}"):
        list(iter(lambda: reader.read(size or 1), b""))


@pytest.mark.parametrize("size", [0, 4, 9])
def test_a_longer_reader_is_found_out_by_whoever_counts(size: int) -> None:
    """An SDK that asks for exactly what was announced never asks for the end."""
    with pytest.raises(LengthMismatch):
        transfer.Reader(io.BytesIO(b"0123456789"), size=size).read(size)


@pytest.mark.parametrize(
    ("config", "header"),
    [
        (SignedUrlConfig(), ""),
        (SignedUrlConfig(download=True), "attachment"),
        (SignedUrlConfig(filename="a.txt"), "inline; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
        (
            SignedUrlConfig(download=True, filename='Übung "1";\r\n50%\\日.txt'),
            (
                'attachment; filename="_bung _1____50___.txt"; '
                "filename*=UTF-8''%C3%9Cbung%20%221%22%3B%0D%0A50%25%5C%E6%97%A5.txt"
            ),
        ),
        (
            SignedUrlConfig(filename="a!#$&+-.^_`|~*'()"),
            "inline; filename=\"a!#$&+-.^_`|~*'()\"; filename*=UTF-8''a!#$&+-.^_`|~%2A%27%28%29",
        ),
    ],
)
def test_a_disposition_holds_any_name(config: SignedUrlConfig, header: str) -> None:
    """As RFC 8187 says, beside a plain name; no name breaks out of the header."""
    assert disposition.header(config) == header


@pytest.mark.parametrize(
    "wrong", [timedelta(0), timedelta(seconds=0.9), timedelta(days=7, seconds=1)]
)
def test_a_lifetime_is_between_a_second_and_a_week(wrong: timedelta) -> None:
    """The bounds of S3 hold for all."""
    for right in (timedelta(seconds=1), timedelta(days=7)):
        assert lifetime.check(right) == right
    with pytest.raises(InvalidArgument, match="1 second to 7 days"):
        lifetime.check(wrong)
