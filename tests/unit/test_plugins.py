"""The plugins of the test suite: none hides what another one offers."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter

from tests.conftest import pytest_plugins

FIXTURE = re.compile(r"^@pytest\.fixture\b.*?^def (\w+)", re.MULTILINE | re.DOTALL)


def test_no_fixture_hides_another() -> None:
    """Else tests would get the last one, and not as many of them would run."""
    sources = [inspect.getsource(importlib.import_module(name)) for name in pytest_plugins]
    names = Counter(name for source in sources for name in FIXTURE.findall(source))
    assert {name for name, count in names.items() if count > 1} == set()
    assert names["site"] == 1
