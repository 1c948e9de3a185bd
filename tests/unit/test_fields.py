"""Header fields of any content: read as RFC 9651 has them, or as if they were not there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkferry.tus.fields import Fields


def fields(*pairs: tuple[str, str]) -> Fields:
    """Of a message with these lines."""
    return Fields([(name.encode(), value.encode("latin-1")) for name, value in pairs])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("999999999999999", 999999999999999),
        (" 7 ", 7),
        ("7;note=1", 7),
        ("-1", None),
        ("1000000000000000", None),
        ("7.0", None),
        ('"7"', None),
        ("7, 7", None),
        ("?1", None),
        ("seven", None),
        ("0x7", None),
        ("", None),
    ],
)
def test_an_integer_is_one_or_nothing(value: str, expected: int | None) -> None:
    """Up to 15 digits and not negative (RFC 9651, section 3.3.1)."""
    assert fields(("Upload-Offset", value)).integer("upload-offset") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("?1", True), ("?0", False), ("?1;a", True), ("1", None), ("true", None), ("?2", None)],
)
def test_a_boolean_is_one_or_nothing(value: str, expected: bool | None) -> None:
    """``1`` is an Integer, ``true`` a Token (RFC 9651, section 3.3.6)."""
    assert fields(("Upload-Complete", value)).boolean("Upload-Complete") is expected


def test_two_lines_of_one_name_are_one_list() -> None:
    """Which is no Item: the field is ignored rather than one of its lines chosen."""
    twice = fields(("Upload-Offset", "1"), ("upload-offset", "2"))
    assert twice.text("Upload-Offset") == "1, 2"
    assert twice.integer("Upload-Offset") is None


def test_members_on_two_lines_are_one_dictionary() -> None:
    """As RFC 9110 (section 5.3) has it."""
    found = fields(("Content-Digest", "a=:AA==:"), ("Content-Digest", "b=:AQ==:"))
    assert found.byte_sequences("content-digest") == {"a": b"\0", "b": b"\1"}


@pytest.mark.parametrize("value", ["a", "a=1", "a=(:AA==:)", "a=:AA==:, b=1", "a=:AA", "="])
def test_other_members_than_bytes_are_none(value: str) -> None:
    """One of another type spoils the field: what is half understood is not relied on."""
    assert fields(("Content-Digest", value)).byte_sequences("Content-Digest") is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([("Content-Length", "5")], 5),
        ([], None),
        ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], None),
        ([("Content-Length", "-5")], None),
        ([("Content-Length", "5, 5")], None),
        ([("Content-Length", "\xb2")], None),
        ([("Content-Length", "9" * 20)], None),
    ],
)
def test_a_content_length_is_believed_only_where_it_counts(
    lines: list[tuple[str, str]], expected: int | None
) -> None:
    """Not beside a transfer coding (RFC 9112, section 6.2)."""
    assert fields(*lines).content_length() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('inline; filename="a b.jpg"', "a b.jpg"),
        ("attachment; filename=plain.txt", "plain.txt"),
        ("inline; filename=\"x.jpg\"; filename*=UTF-8''%C3%BC%20b.jpg", "ü b.jpg"),
        ("inline; filename*=UTF-8''%C3%BC.jpg; filename=x.jpg", "ü.jpg"),
        ("inline; FILENAME=x.jpg", "x.jpg"),
        ("inline; filename*=ISO-8859-1''%FC.jpg", "ü.jpg"),
        ("inline; filename*=UTF-8''%FC.jpg; filename=x.jpg", "x.jpg"),
        ("inline; filename*=no-such-charset''%C3%BC; filename=x.jpg", "x.jpg"),
        ('inline; filename="a \\"quoted\\" \\\\ name"', 'a "quoted" \\ name'),
        ('inline; name="; filename=no"; filename=yes', "yes"),
        ("inline", ""),
        ("", ""),
        ("filename=x", ""),
    ],
)
def test_a_file_has_the_better_of_its_names(value: str, expected: str) -> None:
    """The encoded one, in whatever order they come (RFC 6266, section 4.3)."""
    assert fields(("Content-Disposition", value)).filename() == expected


def test_a_name_in_utf_8_is_read_as_one() -> None:
    """Browsers send it so, although RFC 9110 does not say how."""
    raw = [(b"content-disposition", 'inline; filename="ü.jpg"'.encode())]
    assert Fields(raw).filename() == "ü.jpg"


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=80)), max_size=4))
def test_no_bytes_are_too_much_for_a_field(raw: list[tuple[bytes, bytes]]) -> None:
    """Whatever it is asked for, it has a value or none."""
    found = Fields(raw)
    for name in [name.decode("latin-1") for name, _ in raw]:
        found.text(name)
        found.integer(name)
        found.boolean(name)
        found.byte_sequences(name)


@given(
    st.binary(max_size=120)
    | st.from_regex(rb"(inline|attachment)(; ?filename(\*[0-9]?\*?)?=[ -~\x80-\xff]{0,30}){0,3}")
)
def test_no_bytes_are_too_much_for_a_name(value: bytes) -> None:
    """A file's name is text or empty."""
    assert isinstance(Fields([(b"content-disposition", value)]).filename(), str)
