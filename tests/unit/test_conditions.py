"""RFC 9110's conditions and ranges, rule by rule, and what no header may do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from chunkferry.tus import conditions
from chunkferry.tus.conditions import NotSatisfiable, Verdict, judge, span

CHANGED = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)
FOUND = conditions.validators("abc", CHANGED)
UNDATED = conditions.validators("abc", None)
UNTAGGED = conditions.validators("", CHANGED)
SAME, BEFORE, AFTER = (
    format_datetime((CHANGED + timedelta(seconds=seconds)).replace(microsecond=0), usegmt=True)
    for seconds in (0, -1, 1)
)
#: What may stand in any header, as servers hand it on.
VALUES = st.text(st.characters(max_codepoint=255))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Verdict.SEND),
        # Section 13.1.1: If-Match compares strongly.
        ({"If-Match": '"abc"'}, Verdict.SEND),
        ({"If-Match": '"x", "abc"'}, Verdict.SEND),
        ({"If-Match": "*"}, Verdict.SEND),
        ({"If-Match": 'W/"abc"'}, Verdict.FAILED),
        ({"If-Match": '"x"'}, Verdict.FAILED),
        ({"If-Match": "abc"}, Verdict.FAILED),
        ({"If-Match": ""}, Verdict.FAILED),
        # Section 13.1.2: If-None-Match compares weakly.
        ({"If-None-Match": '"abc"'}, Verdict.NOT_MODIFIED),
        ({"If-None-Match": 'W/"abc"'}, Verdict.NOT_MODIFIED),
        ({"If-None-Match": '"x", W/"abc"'}, Verdict.NOT_MODIFIED),
        ({"If-None-Match": "*"}, Verdict.NOT_MODIFIED),
        ({"If-None-Match": '"x"'}, Verdict.SEND),
        # Section 13.1.3: If-Modified-Since counts only without If-None-Match.
        ({"If-Modified-Since": SAME}, Verdict.NOT_MODIFIED),
        ({"If-Modified-Since": AFTER}, Verdict.NOT_MODIFIED),
        ({"If-Modified-Since": BEFORE}, Verdict.SEND),
        ({"If-Modified-Since": "yesterday"}, Verdict.SEND),
        ({"If-Modified-Since": SAME, "If-None-Match": '"x"'}, Verdict.SEND),
        # Section 13.1.4: If-Unmodified-Since counts only without If-Match.
        ({"If-Unmodified-Since": SAME}, Verdict.SEND),
        ({"If-Unmodified-Since": BEFORE}, Verdict.FAILED),
        ({"If-Unmodified-Since": "yesterday"}, Verdict.SEND),
        ({"If-Unmodified-Since": BEFORE, "If-Match": '"abc"'}, Verdict.SEND),
        # Section 13.2.2: 412 comes before 304.
        ({"If-Match": '"x"', "If-None-Match": '"abc"'}, Verdict.FAILED),
        ({"If-Match": '"abc"', "If-None-Match": '"abc"'}, Verdict.NOT_MODIFIED),
    ],
)
def test_conditions_are_judged_as_the_rfc_says(headers: dict[str, str], expected: Verdict) -> None:
    """Each rule, and which comes first."""
    assert judge(Headers(headers), FOUND) is expected


def test_what_is_not_known_is_no_condition() -> None:
    """Without a date nothing is newer; without a tag none matches."""
    assert judge(Headers({"If-Unmodified-Since": BEFORE}), UNDATED) is Verdict.SEND
    assert judge(Headers({"If-Modified-Since": AFTER}), UNDATED) is Verdict.SEND
    assert judge(Headers({"If-Match": '""'}), UNTAGGED) is Verdict.FAILED
    assert judge(Headers({"If-None-Match": '""'}), UNTAGGED) is Verdict.SEND


def test_a_tag_may_come_in_several_headers() -> None:
    """They count as one list (section 5.3)."""
    raw = [(b"if-match", b'"x"'), (b"if-match", b'"abc"')]
    assert judge(Headers(raw=raw), FOUND) is Verdict.SEND


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 10)),
        ("bytes=3-6", (3, 7)),
        ("bytes=9-9", (9, 10)),
        ("bytes=5-99", (5, 10)),
        ("bytes=5-" + "9" * 40, (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-10", (0, 10)),
        ("bytes=-11", (0, 10)),
        ("BYTES=0-0", (0, 1)),
        ("bytes=, 1-2 ,", (1, 3)),
        # Invalid, hence ignored (section 14.2).
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-3", None),
        ("bytes=a-b", None),
        ("bytes=+1-2", None),
        ("bytes=0x1-2", None),
        ("bytes=1-2-3", None),
        ("bytes=\u0661-2", None),
        ("bytes=0-" + "9" * 5000, None),
        ("lines=0-1", None),
        # Several: the whole, as section 14.2 allows.
        ("bytes=0-1,3-4", None),
    ],
)
def test_ranges_are_read_as_the_rfc_says(asked: str, expected: tuple[int, int] | None) -> None:
    """Of ten bytes."""
    raw = [(b"range", asked.encode("utf-8"))] if asked else []
    assert span(Headers(raw=raw), FOUND, 10) == expected


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-10", "bytes=-0", "bytes=99-100"])
def test_a_range_without_a_byte_is_not_satisfiable(asked: str) -> None:
    """Section 15.5.17."""
    with pytest.raises(NotSatisfiable):
        span(Headers({"Range": asked}), FOUND, 10)


@pytest.mark.parametrize("asked", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=5-"])
def test_any_range_of_nothing_is_all_of_it(asked: str) -> None:
    """There is no way to tell of a range without bytes."""
    assert span(Headers({"Range": asked}), FOUND, 0) is None


@pytest.mark.parametrize(
    ("validator", "applies"),
    [
        ('"abc"', True),
        ('W/"abc"', False),
        ('"x"', False),
        ('"abc", "x"', False),
        (SAME, True),
        (BEFORE, False),
        (AFTER, False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_a_range_of_another_version_is_all_of_it(validator: str, applies: bool) -> None:
    """Section 13.1.5: If-Range compares strongly, dates exactly."""
    headers = Headers({"Range": "bytes=1-", "If-Range": validator})
    assert span(headers, FOUND, 10) == ((1, 10) if applies else None)


def test_a_range_of_an_unknown_version_is_all_of_it() -> None:
    """Nothing equals what is not known."""
    for validator in ('""', SAME):
        headers = Headers({"Range": "bytes=1-", "If-Range": validator})
        assert span(headers, conditions.validators("", None), 10) is None


@given(st.text())
def test_any_tag_of_a_store_is_one_of_http(etag: str) -> None:
    """Strong, in quotes, and different for different ones."""
    found = conditions.validators(etag, None).etag
    assert re.fullmatch(r'"[!#-~]+"', found) or (etag, found) == ("", "")
    assert judge(Headers({"If-None-Match": found}), conditions.validators(etag, None)) is (
        Verdict.NOT_MODIFIED if etag else Verdict.SEND
    )


@given(VALUES, VALUES, VALUES, VALUES, VALUES)
def test_no_header_is_an_error(
    match: str, none: str, since: str, asked: str, if_range: str
) -> None:
    """Whatever a client sends, it is answered."""
    headers = Headers(
        {
            "If-Match": match,
            "If-None-Match": none,
            "If-Modified-Since": since,
            "If-Unmodified-Since": since,
        }
    )
    assert judge(headers, FOUND) in Verdict
    assert judge(Headers({"If-Modified-Since": since}), FOUND) in Verdict
    for text in (asked, f"bytes={asked}"):
        try:
            part = span(Headers({"Range": text, "If-Range": if_range}), FOUND, 10)
        except NotSatisfiable:
            continue
        assert part is None or 0 <= part[0] < part[1] <= 10


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20))
def test_a_range_has_the_bytes_it_names(first: int, last: int, size: int) -> None:
    """Those of the file that are there, both ends included."""
    data = bytes(range(size))
    try:
        part = span(Headers({"Range": f"bytes={first}-{last}"}), FOUND, size)
    except NotSatisfiable:
        assert first >= size
        assert first <= last
        return
    assert (part is None) == (first > last)
    if part is not None:
        assert data[slice(*part)] == data[first : last + 1]


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_date_is_told_and_read_alike(moment: datetime) -> None:
    """What a client was told, it may send back."""
    found = conditions.validators("abc", moment)
    headers = Headers({"If-Modified-Since": found.last_modified_header})
    if moment.year >= 1900:
        assert judge(headers, found) is Verdict.NOT_MODIFIED
