"""``docs/reliability.md``: each fault points to a test that is there; each number is the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.integration.test_failpoints import POINTS
from tests.model.mutations import ABSORBED, CAUGHT

from chunkferry_worker.failpoints import Action

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"
PAGE = (DOCS / "reliability.md").read_text()
FILES = sorted(set(re.findall(r"`(\w+/test_\w+\.py)`", PAGE)))
FUNCTIONS = sorted(set(re.findall(r"`(test_\w+)`", PAGE)))
FAULTS = [line for line in PAGE.splitlines() if line.startswith("| ") and "| fault |" not in line]


@pytest.fixture(scope="module")
def defined() -> set[str]:
    """The names of all tests."""
    found = set[str]()
    for file in TESTS.glob("*/test_*.py"):
        found |= set(re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE))
    return found


@pytest.mark.parametrize("file", FILES)
def test_a_named_file_is_there(file: str) -> None:
    """A file that was renamed would leave a claim behind."""
    assert (TESTS / file).is_file()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_named_test_is_there(defined: set[str], name: str) -> None:
    """So would a test."""
    assert name in defined


@pytest.mark.parametrize("line", FAULTS, ids=[line.split("|")[1].strip() for line in FAULTS])
def test_every_fault_is_shown_by_a_test(line: str) -> None:
    """No fault is only talked about."""
    _, _, happens, shown, _, _ = line.split("|")
    assert happens.strip()
    assert re.search(r"`(\w+/)?test_\w+", shown)


def test_every_name_of_a_test_is_held_to_the_code() -> None:
    """No other spelling slips past the tests above."""
    assert len(re.findall(r"test_\w+", PAGE)) == len(
        re.findall(r"`(?:\w+/test_\w+\.py|test_\w+)`", PAGE)
    )


def test_the_numbers_are_those_of_the_code() -> None:
    """Points, actions, worlds, states and guards are counted where they are."""
    calls = {point.partition(".")[0] for point in POINTS}
    protocol = (DOCS / "protocol.md").read_text()
    table = protocol.partition("| world | states |")[2].partition("\n\n")[0]
    states = [int(count.replace(",", "")) for count in re.findall(r"\| ([\d,]+) \|", table)]
    text = " ".join(PAGE.split())
    assert len(Action) == 4
    assert f"at each of {len(POINTS)} points (before and after each of {len(calls)} calls" in text
    assert f"visits {sum(states):,} states in {len(states)} worlds" in text
    assert f"{len(CAUGHT)} times something goes wrong" in text
    assert f"and {len(ABSORBED)} times another guard stands in" in text
