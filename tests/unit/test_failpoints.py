"""Failpoints: what is armed happens once, at its point, to its upload; and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkferry.services import Abandoning, Portable, Reconciling, SinglePut
from chunkferry.storage import from_url
from chunkferry.testing import MemoryLedger, RecordingWaker
from chunkferry_worker import failpoints
from chunkferry_worker.failpoints import Action, Failpoints, Fault, FaultRaised

RAISE = Fault(point="wake.before", action=Action.RAISE)


@pytest.fixture
def armory(tmp_path: Path) -> Failpoints:
    """A folder without faults."""
    return Failpoints(tmp_path)


def test_a_fault_happens_once(armory: Failpoints) -> None:
    """The next call at the same point goes through."""
    armory.arm("1-a", RAISE)
    with pytest.raises(FaultRaised):
        armory.reach("wake.before", "1-a")
    assert not armory.is_armed("1-a")
    armory.reach("wake.before", "1-a")


def test_other_points_and_uploads_are_spared(armory: Failpoints) -> None:
    """A fault waits for its own point and upload."""
    armory.arm("1-a", RAISE)
    armory.reach("wake.after", "1-a")
    armory.reach("wake.before", "1-b")
    assert armory.is_armed("1-a")


@pytest.mark.parametrize("point", ["wake", "wake.during", "sleep.before"])
def test_an_unknown_point_is_refused(armory: Failpoints, point: str) -> None:
    """A fault that could never happen would prove nothing."""
    with pytest.raises(ValueError, match="no failpoint"):
        armory.arm("1-a", Fault(point=point, action=Action.KILL))


def test_every_call_of_the_ports_is_surrounded(armory: Failpoints) -> None:
    """The fault happens before the waker is called, and the call goes through without one."""
    ledger, waker = MemoryLedger(), RecordingWaker()
    armory.surround(ledger, waker)
    armory.arm("1-a", RAISE)
    with pytest.raises(FaultRaised):
        waker.wake("1-a")
    waker.wake("1-a")
    assert waker.take() == ["1-a"]


def test_a_surrounded_service_can_do_what_it_could(armory: Failpoints) -> None:
    """The drain asks services for their abilities: none may appear or vanish."""
    abilities = (Portable, Reconciling, Abandoning, SinglePut)
    for url in ("memory://m", "file:///nowhere"):
        plain = from_url(url).chunk_file_service()
        armed = armory.stores({"default": url})["default"].chunk_file_service()
        assert [isinstance(plain, ability) for ability in abilities] == [
            isinstance(armed, ability) for ability in abilities
        ]


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_there_are_none(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Off means that nothing is looked for, and nothing is wrapped."""
    monkeypatch.delenv(failpoints.VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(failpoints.VARIABLE, value)
    assert failpoints.from_environment() is None


def test_nobody_has_them_unawares(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A worker that was started with the variable by mistake says so."""
    monkeypatch.setenv(failpoints.VARIABLE, str(tmp_path))
    assert failpoints.from_environment() is not None
    assert f"unset {failpoints.VARIABLE}" in caplog.text
