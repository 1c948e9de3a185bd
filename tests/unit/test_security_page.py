"""``SECURITY.md``: each claim points to a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(\w+/test_\w+\.py)`", PAGE)))


@pytest.mark.parametrize("test", NAMED)
def test_what_it_points_to_is_there(test: str) -> None:
    """A test that was renamed would leave a claim behind."""
    assert (CHECKOUT / "tests" / test).is_file()


def test_every_party_has_a_test_and_a_limit() -> None:
    """What is done against an attacker is shown; what is not is said."""
    parties = PAGE.partition("## Who stands where")[2].split("\n### ")[1:]
    attackers = [part for part in parties if "*chunkferry*" in part]
    assert len(attackers) == 9
    assert [part.partition("\n")[0] for part in attackers if "test_" not in part] == []
    assert [part.partition("\n")[0] for part in attackers if "*Not defended*" not in part] == []
