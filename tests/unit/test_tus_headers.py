"""The headers of tus, read and written: whatever comes, it ends in a value or in ``BadHeader``."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chunkferry.checksums import ALGORITHMS
from chunkferry.parts import MAX_LENGTH
from chunkferry.tus import headers
from chunkferry.tus.headers import BadHeader, Checksum, ChecksumUnsupported, Concat

#: What a server makes of the bytes of a header: any of 256 characters.
values = st.binary(max_size=60).map(lambda data: data.decode("latin-1"))
keys = st.from_regex(r"[!-+\--~]+", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(number=st.integers(0, MAX_LENGTH))
def test_numbers_come_back(number: int) -> None:
    """All that an upload may have."""
    assert headers.number("Upload-Length", str(number)) == number


@given(value=values)
@example("\uff19")
@example("1\n")
@example(str(MAX_LENGTH + 1))
@example("9" * 5000)
def test_what_is_no_number_is_refused(value: str) -> None:
    """Only digits are one, and only up to what any upload may have."""
    if value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= MAX_LENGTH:
        return
    with pytest.raises(BadHeader):
        headers.number("Upload-Length", value)


@given(pairs=st.dictionaries(keys, texts, max_size=8))
def test_metadata_come_back(pairs: dict[str, str]) -> None:
    """Whatever text, in its order, also where values are empty."""
    found = headers.metadata(headers.format_metadata(pairs))
    assert list(found.items()) == list(pairs.items())


@given(pairs=st.dictionaries(st.text(max_size=10), texts, max_size=8))
def test_metadata_of_others_make_a_header(pairs: dict[str, str]) -> None:
    """Names that tus cannot say are left out; nothing breaks out of the header."""
    text = headers.format_metadata(pairs)
    assert text.isascii()
    assert not {"\r", "\n"} & {*text}
    assert headers.metadata(text).items() <= pairs.items()


@given(value=st.lists(st.one_of(keys, values, st.sampled_from([" ", ",", "YQ=="]))).map("".join))
def test_any_metadata_end_in_pairs_or_a_refusal(value: str) -> None:
    """And the pairs make a header again that says the same."""
    try:
        found = headers.metadata(value)
    except BadHeader:
        return
    assert headers.metadata(headers.format_metadata(found)) == found


def test_metadata_are_bounded() -> None:
    """Far beyond what stores keep."""
    with pytest.raises(BadHeader, match="8192 characters"):
        headers.metadata("key " + "A" * 9000)


@given(algorithm=st.sampled_from(ALGORITHMS), digest=st.binary(max_size=64))
def test_checksums_come_back(algorithm: str, digest: bytes) -> None:
    """Their digest in hexadecimal digits."""
    found = headers.checksum(f"{algorithm} {base64.b64encode(digest).decode()}")
    assert found == Checksum(algorithm=algorithm, digest=digest.hex())


@given(value=values)
def test_unknown_checksums_are_refused(value: str) -> None:
    """Whatever else comes names no algorithm."""
    if value.strip().partition(" ")[0] in ALGORITHMS:
        return
    with pytest.raises(ChecksumUnsupported):
        headers.checksum(value)


@pytest.mark.parametrize("value", ["sha1 !", "sha1 A", "sha1 é", "md5 AA==AA"])
def test_checksums_are_base64(value: str) -> None:
    """Of ASCII."""
    with pytest.raises(BadHeader):
        headers.checksum(value)


@given(urls=st.lists(st.from_regex(r"[!-~]{1,20}", fullmatch=True), min_size=1, max_size=9))
def test_partials_come_back(urls: list[str]) -> None:
    """In their order."""
    assert headers.concat(f"final;{' '.join(urls)}") == Concat(partials=tuple(urls))


@pytest.mark.parametrize(("value", "found"), [(None, None), ("partial", Concat())])
def test_uploads_may_be_partial(value: str | None, found: Concat | None) -> None:
    """Or whole."""
    assert headers.concat(value) == found


@pytest.mark.parametrize(
    "value", ["", "final", "final;", "final; ", "Partial", "final;" + "a " * 1001]
)
def test_other_concatenations_are_refused(value: str) -> None:
    """Without partials, with too many, or of another kind."""
    with pytest.raises(BadHeader):
        headers.concat(value)


@given(value=values)
@pytest.mark.parametrize("read", [headers.metadata, headers.concat, headers.checksum])
def test_nothing_else_is_raised(read: Callable[[str], object], value: str) -> None:
    """An error of another kind would be a 500."""
    with suppress(BadHeader):
        read(value)


@given(value=values)
def test_refusals_quote_little(value: str) -> None:
    """And nothing that is not printable: they go into answers."""
    assert len(str(BadHeader("Upload-Offset", "a number", value * 9))) < 500
    assert str(BadHeader("Upload-Offset", "a number", value)).isprintable()


@given(seconds=st.floats(0, 2**37))
def test_dates_are_those_of_http(seconds: float) -> None:
    """To the second."""
    moment = datetime.fromtimestamp(seconds, UTC)
    text = headers.http_date(moment)
    assert text.endswith(" GMT")
    assert parsedate_to_datetime(text) == moment.replace(microsecond=0)
