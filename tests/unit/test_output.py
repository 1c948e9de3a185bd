"""What the command line prints of text that is not its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkferry_worker.cli.output import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("film.mkv", "film.mkv"),
        ("Ünïcode \u200d 日本", "Ünïcode \u200d 日本"),
        ("\x1b]0;title\x07", "�]0;title�"),
        ("\x9b31m", "�31m"),
        ("a\rb\tc", "a�b�c"),
        ("invoice-\u202efdp.exe", "invoice-�fdp.exe"),
        ("a\u2066b\u2069", "a�b�"),
        ("a\u2028b", "a�b"),
        ("\ud800", "�"),
    ],
)
def test_text_cannot_steer_a_terminal(text: str, shown: str) -> None:
    """Escapes, returns and reordering marks are shown as what they are: nothing to read."""
    assert shown == printable(text)


@given(st.text(st.characters()))
def test_what_is_shown_can_be_written(text: str) -> None:
    """Also lone surrogates, which no encoding takes."""
    assert printable(text).encode().decode() == printable(text)
