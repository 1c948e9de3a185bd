"""What lies in Redis, held to the page that documents it: versions share it during an upgrade."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest
from tests.layout import written_fields

from chunkferry import lua
from chunkferry.ledger import records

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
SCRIPTS = Path(str(resources.files(lua)))


def documented_fields() -> dict[str, set[str]]:
    """The table of fields: record -> names."""
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|$", PAGE, re.MULTILINE)
    return {record: set(re.findall(r"`(\w+)`", names)) for record, names in rows}


def test_every_field_is_documented() -> None:
    """A new one is a decision about versions, not a detail: it goes into the table."""
    assert documented_fields() == written_fields(SCRIPTS)


def test_the_layout_has_the_documented_version() -> None:
    """Workers of another version refuse to start over it."""
    assert f"layout version {records._LAYOUT_VERSION}\n" in PAGE.lower()


def test_fields_are_read_from_calls(tmp_path: Path) -> None:
    """Also over several lines, with expressions and calls between the names."""
    (tmp_path / "move.lua").write_text(
        "put(key.work, 'owner', '', -- 'not', 'these'\n"
        "  'epoch', num(work.epoch, 'x') + more, 'scheduled', wake and 1 or 0)\n"
        "redis.call('HSET', key.intake, 'told', int(t))\n"
        "redis.call('XADD', events, '*', 'state', intake.state)\n"
    )
    assert written_fields(tmp_path) == {
        "work": {"owner", "epoch", "scheduled"},
        "intake": {"told"},
        "events": {"state"},
    }


@pytest.mark.parametrize("record", ["intake", "work", "events"])
def test_there_are_fields_to_document(record: str) -> None:
    """An empty table would agree with a reader that finds nothing."""
    assert len(documented_fields()[record]) > 5
