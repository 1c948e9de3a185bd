"""``docs/errors.md``: every error has a row, with what its class says."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import chunkferry
import chunkferry_worker
from chunkferry.errors import ChunkferryError, InitError

PAGE = (Path(__file__).parents[2] / "docs/errors.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (\d+) \| (\w+) \|", PAGE, re.MULTILINE)


def with_heirs(kind: type[ChunkferryError]) -> Iterator[type[ChunkferryError]]:
    """A class and all that come from it, of these packages."""
    yield kind
    for heir in kind.__subclasses__():
        if heir.__module__.partition(".")[0] in {"chunkferry", "chunkferry_worker"}:
            yield from with_heirs(heir)


def import_all() -> None:
    """Every module, so that every class is there."""
    for package in (chunkferry, chunkferry_worker):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # These two do something when they are imported: run a command, make an application.
            if module.name.rpartition(".")[2] not in {"__main__", "celery"}:
                importlib.import_module(module.name)


import_all()
CLASSES = sorted(set(with_heirs(ChunkferryError)), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", CLASSES)
def test_each_error_has_its_row(kind: type[ChunkferryError]) -> None:
    """Code, class, status, and whether to retry."""
    retryable = "either" if kind is InitError else "yes" if kind.retryable else "no"
    assert (kind.code, kind.__name__, str(kind.http_status), retryable) in ROWS


def test_each_row_is_that_of_a_class() -> None:
    """No row tells of a class that is gone, or twice of one."""
    assert sorted(name for _, name, *_ in ROWS) == [kind.__name__ for kind in CLASSES]
