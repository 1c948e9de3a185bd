"""``check_filepath``: what a path may look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkferry.errors import InvalidPath
from chunkferry.filepath import MAX_BYTES, MAX_COMPONENT_BYTES, check_filepath

GOOD = [
    "a",
    "a/b/c.txt",
    ".hidden",
    "...",
    "a b",
    "übung/日本語/🦆",
    "#?%+&='\"<>|*~",
    "folder/.chunkferry",
    ".chunkferry-notes",
    "x" * MAX_COMPONENT_BYTES,
    "ü" * (MAX_COMPONENT_BYTES // 2),
    "/".join(["abc"] * (MAX_BYTES // 4)),
]
BAD = {
    "": "is empty",
    "/a": "must be relative",
    "//a": "must be relative",
    "C:/a": "must be relative",
    "c:a": "must be relative",
    "a\\b": "backslash",
    "\\\\server\\share": "backslash",
    "..": "component '..'",
    "a/../b": "component '..'",
    "a/.": "component '.'",
    "a//b": "component ''",
    "a/": "component ''",
    "a\0b": "control characters",
    "a\nb": "control characters",
    "a\x7fb": "control characters",
    "a\x85b": "control characters",
    "a\ud800b": "not Unicode",
    "a\uffffb": "not Unicode",
    ".chunkferry": "reserved",
    ".chunkferry/a": "reserved",
    ".ChunkFerry/a": "reserved",
    "x" * (MAX_COMPONENT_BYTES + 1): "component longer than 255 bytes",
    "ü" * 128: "component longer than 255 bytes",
    "/".join(["abc"] * 257): "longer than 1024 bytes",
}


@pytest.mark.parametrize("filepath", GOOD)
def test_good_paths_come_back_unchanged(filepath: str) -> None:
    """Nothing is normalised: what is accepted is what is used."""
    assert filepath == check_filepath(filepath)


@pytest.mark.parametrize(("filepath", "reason"), BAD.items())
def test_bad_paths_are_refused_with_the_reason(filepath: str, reason: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(InvalidPath, match=reason.replace(".", r"\.")) as caught:
        check_filepath(filepath)
    assert filepath == caught.value.filepath


@given(st.text())
def test_what_is_accepted_stays_beneath_the_root(text: str) -> None:
    """No accepted path is absolute, climbs, or holds a NUL."""
    try:
        filepath = check_filepath(text)
    except InvalidPath:
        return
    components = filepath.split("/")
    assert not set(components) & {"", ".", ".."}
    assert "\0" not in filepath
    assert components[0] != ".chunkferry"
