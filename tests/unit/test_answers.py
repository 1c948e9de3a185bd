"""Errors as HTTP answers."""

from __future__ import annotations

import json

import pytest

from chunkferry.tus import answers

SECRET = "".join(["sword", "fish"])


def test_what_nobody_foresaw_is_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    """500; type and place are logged, and the text, which may hold bytes, nowhere."""
    try:
        raise KeyError(SECRET)
    except KeyError as exc:
        answer = answers.problem(exc)
    assert (answer.status_code, json.loads(bytes(answer.body))["code"]) == (500, "unforeseen")
    assert "A request failed: KeyError" in caplog.text
    assert "test_what_nobody_foresaw" in caplog.text
    assert SECRET not in caplog.text + bytes(answer.body).decode()
