"""Metrics without the package they need."""

from __future__ import annotations

import importlib
import sys

import pytest

from chunkferry.errors import MissingExtra


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, instead of the name of a module."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "chunkferry.metrics", raising=False)
    with pytest.raises(MissingExtra, match=r"chunkferry\[metrics\]"):
        importlib.import_module("chunkferry.metrics")
