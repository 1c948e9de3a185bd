"""``.ci/audit.py``: what it makes of the answers of pip-audit."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "audit.py"
FINE = {"name": "fine", "version": "1", "vulns": []}
SKIPPED = {"name": "unknown", "skip_reason": "not found"}
BAD = {
    "name": "bad",
    "version": "1",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"], "aliases": [], "description": ""}],
}

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="a source distribution has no .ci")


def audit(
    monkeypatch: pytest.MonkeyPatch,
    packages: list[dict[str, Any]] | None,
    *,
    ignored: dict[str, str] | None = None,
    said: str = "",
) -> int:
    """Run it over what pip-audit is to have answered."""
    answer = "" if packages is None else json.dumps({"dependencies": packages})
    ended = subprocess.CompletedProcess([], 1, stdout=answer, stderr=said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    script = runpy.run_path(str(SCRIPT))
    script["IGNORED"].update(ignored or {})
    code: int = script["main"]("requirements.lock")
    return code


def test_nothing_known_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says how many were looked up."""
    assert audit(monkeypatch, [FINE, FINE]) == 0
    assert capsys.readouterr().out == "audit: 2 of 2 packages looked up\n"


def test_an_advisory_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where other packages could not be looked up."""
    assert audit(monkeypatch, [FINE, SKIPPED, BAD]) == 1
    assert "audit: PYSEC-1 in bad 1: fixed in 2\n" in capsys.readouterr().out


def test_an_advisory_can_be_ignored_for_a_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is repeated each time."""
    assert audit(monkeypatch, [BAD], ignored={"PYSEC-1": "we never call it"}) == 0
    assert "PYSEC-1 in bad 1: ignored: we never call it\n" in capsys.readouterr().out


def test_a_reason_that_is_needed_no_more_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exceptions do not pile up."""
    assert audit(monkeypatch, [FINE], ignored={"PYSEC-1": "we never call it"}) == 1


def test_a_package_that_cannot_be_looked_up_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It passes, but nobody can take it for audited."""
    assert audit(monkeypatch, [FINE, SKIPPED]) == 0
    said = capsys.readouterr().out
    assert "1 of 2 packages looked up" in said
    assert "WARNING: 1 packages could NOT be audited" in said


@pytest.mark.parametrize(("said", "code"), [("requests.ConnectionError: x", 0), ("bad lock", 1)])
def test_no_answer_passes_only_for_want_of_a_connection(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str, code: int
) -> None:
    """A lock that cannot be read is a fault."""
    assert audit(monkeypatch, None, said=said) == code
    assert "NOTHING was audited" in capsys.readouterr().out


def test_no_advisory_is_ignored_without_a_reason() -> None:
    """Words, not a blank."""
    assert [i for i, why in runpy.run_path(str(SCRIPT))["IGNORED"].items() if not why.strip()] == []
