"""Every answer of every script is had by some test of the ledger: this module comes after them."""

from __future__ import annotations

from typing import Final

import pytest
from tests.ledgers import answers

from chunkferry import lua

#: Of the modules that ask for them.
_ROLES: Final = (
    *("agenda", "deletion", "history", "intake", "joins", "leases", "principals", "records"),
    *("scripts", "totals"),
)


def is_whole(items: list[pytest.Item]) -> bool:
    """True if the tests to run include all of every ledger module."""
    tests = [item for item in items if isinstance(item, pytest.Function)]
    modules = {item.module.__name__.rpartition(".")[2]: item.module for item in tests}
    chosen = {(item.module, item.originalname) for item in tests}
    return all(
        f"test_ledger_{role}" in modules
        and all(
            (modules[f"test_ledger_{role}"], name) in chosen
            for name in vars(modules[f"test_ledger_{role}"])
            if name.startswith("test_")
        )
        for role in _ROLES
    )


def test_the_suite_has_had_every_answer(request: pytest.FixtureRequest) -> None:
    """Every answer that a script's header declares was given, and no other."""
    if not is_whole(request.session.items):
        pytest.skip("only the whole suite can have had every answer")
    declared = {(name, answer) for name in lua.names() for answer in lua.load(name).returns}
    assert answers == declared
