"""Resumable Uploads for HTTP without a server: each rule that can be told from fields alone.

Sections are those of draft-ietf-httpbis-resumable-upload-12.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkferry.errors import LengthMismatch, OffsetMismatch, UploadClosed
from chunkferry.parts import MAX_LENGTH, Grid
from chunkferry.state import State
from chunkferry.tus import rufh
from chunkferry.tus.headers import BadHeader
from chunkferry.tus.protocol import WrongMediaType
from chunkferry.tus.rufh import NEWEST, VERSIONS, Limits, Request
from chunkferry.upload import ChunkUpload

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LIMITS = Limits(max_size=1000, max_age=60)
PARTIAL = {"Content-Type": "application/partial-upload"}


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers, as a server hands them over."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def creation(**headers: str) -> Request:
    """A POST with these headers, written with underscores."""
    return rufh.read("POST", raw({name.replace("_", "-"): text for name, text in headers.items()}))


def append(offset: int | str, **headers: str) -> Request:
    """A PATCH at ``offset`` with these headers."""
    found = {name.replace("_", "-"): text for name, text in headers.items()}
    return rufh.read("PATCH", raw({"Upload-Offset": str(offset), **PARTIAL, **found}))


def upload(
    received: int = 0, length: int | None = None, state: State = State.RECEIVING
) -> ChunkUpload:
    """One that stands there."""
    return ChunkUpload(
        upload_id="1-x",
        filepath="a",
        service="main",
        state=state,
        length=length,
        received=received,
        grid=Grid(8 << 20, growing=True),
        created_at=NOW,
        expiry=NOW + timedelta(seconds=90.5),
    )


# --- which protocol ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Upload-Complete": "?0"}, True),
        ({"Upload-Complete": "?1"}, True),
        (PARTIAL, True),
        ({"Upload-Draft-Interop-Version": "3", "Upload-Incomplete": "?0"}, True),
        ({"Upload-Draft-Interop-Version": "99"}, True),
        ({"Upload-Complete": "?0", "Tus-Resumable": "1.0.0"}, False),
        ({"Upload-Complete": "yes"}, False),
        ({"Upload-Incomplete": "?0"}, False),
        ({"Upload-Length": "5"}, False),
        ({}, False),
    ],
)
def test_a_request_is_of_one_protocol(headers: dict[str, str], expected: bool) -> None:
    """It is tus 1.0.0 wherever it says so; this one where it has a valid field of it."""
    assert rufh.speaks(raw(headers)) is expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [("3", 3), ("5", 5), ("9", 9), ("10", 9), ("2", 9), ("-3", 9), ("six", 9), (None, 9)],
)
def test_a_client_is_answered_in_its_version(version: str | None, expected: int) -> None:
    """In the newest one where its own is not known, or not told (as by a finished RFC)."""
    headers = {} if version is None else {"Upload-Draft-Interop-Version": version}
    assert rufh.version_of(raw(headers)).number == expected


@pytest.mark.parametrize("version", [version for version in VERSIONS if version > 3])
@pytest.mark.parametrize("completes", [True, False])
def test_completeness_is_a_boolean(version: int, completes: bool) -> None:
    """Section 4.1.2; the same in an answer."""
    text = "?1" if completes else "?0"
    request = creation(Upload_Complete=text, Upload_Draft_Interop_Version=str(version))
    assert request.completes is completes
    answer = rufh.answer_headers(request, offset=0, location=None, most=LIMITS)
    assert answer["Upload-Complete"] == text


@pytest.mark.parametrize("completes", [True, False])
def test_the_first_version_says_incomplete(completes: bool) -> None:
    """-01, as iOS 17 has it: the other way round."""
    text = "?0" if completes else "?1"
    request = creation(Upload_Incomplete=text, Upload_Draft_Interop_Version="3")
    assert request.completes is completes
    answer = rufh.answer_headers(request, offset=0, location=None, most=LIMITS)
    assert answer["Upload-Incomplete"] == text
    assert "Upload-Complete" not in answer


# --- 4.1.3 length ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Upload_Complete": "?1", "Content_Length": "5"}, 5),
        ({"Upload_Complete": "?1", "Content_Length": "5", "Upload_Length": "5"}, 5),
        ({"Upload_Complete": "?1", "Upload_Length": "5"}, 5),
        ({"Upload_Complete": "?1"}, None),
        ({"Upload_Complete": "?0", "Content_Length": "5"}, None),
        ({"Upload_Complete": "?0", "Content_Length": "5", "Upload_Length": "9"}, 9),
        ({"Upload_Complete": "?0", "Upload_Length": "-9"}, None),
        ({"Upload_Complete": "?0", "Upload_Length": "nine"}, None),
    ],
)
def test_a_length_has_two_indicators(headers: dict[str, str], expected: int | None) -> None:
    """Section 4.1.3: a field, or content that ends the file. Other values are ignored."""
    assert creation(**headers).length == expected


def test_the_rest_of_a_file_tells_its_length() -> None:
    """Section 4.1.3: the sum of the offset and the content's length."""
    assert append(10, Upload_Complete="?1", Content_Length="5").length == 15


def test_both_indicators_must_match() -> None:
    """Section 4.1.3."""
    with pytest.raises(LengthMismatch, match="the file has 16 bytes, not 15"):
        append(10, Upload_Complete="?1", Content_Length="5", Upload_Length="16")


@pytest.mark.parametrize(
    ("request_", "stands"),
    [
        (append(10, Upload_Complete="?0", Upload_Length="21"), upload(10, 20)),
        (append(10, Upload_Complete="?1", Content_Length="9"), upload(10, 20)),
        (append(10, Upload_Complete="?1", Content_Length="11"), upload(10, 20)),
        (append(10, Upload_Complete="?0", Content_Length="11"), upload(10, 20)),
        (append(10, Upload_Complete="?0", Content_Length="3", Upload_Length="12"), upload(10)),
        (append(10, Upload_Complete="?0", Upload_Length="9"), upload(10)),
        (append(20, Upload_Complete="?1", Content_Length="1"), upload(20, 20)),
    ],
)
def test_a_length_stays_the_same(request_: Request, stands: ChunkUpload) -> None:
    """Section 4.1.3, and 4.4: no content goes beyond it."""
    with pytest.raises(LengthMismatch):
        request_.check(stands, stands.received)


def test_a_creation_is_no_longer_than_it_says() -> None:
    """Section 4.4, of the content of the first request."""
    with pytest.raises(LengthMismatch, match="has 5 bytes, but the content ends at 6"):
        creation(Upload_Complete="?0", Upload_Length="5", Content_Length="6").check(upload(), 0)


@pytest.mark.parametrize(
    ("request_", "end", "expected"),
    [
        (append(3, Upload_Complete="?1"), 7, 7),
        (append(3, Upload_Complete="?1", Upload_Length="7"), 7, 7),
        (append(3, Upload_Complete="?0", Upload_Length="9"), 7, 9),
        (append(3, Upload_Complete="?0"), 7, None),
    ],
)
def test_content_that_ends_the_file_ends_it_where_it_ends(
    request_: Request, end: int, expected: int | None
) -> None:
    """Section 4.1.3: also where nobody knew its length before."""
    assert request_.length_at(end) == expected


def test_a_file_does_not_end_before_its_length() -> None:
    """Section 4.1.3: content of unknown length may turn out to be too short."""
    with pytest.raises(LengthMismatch, match="the file has 9 bytes, not 7"):
        append(3, Upload_Complete="?1", Upload_Length="9").length_at(7)


# --- 4.2 creation ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_any_method_with_content_begins_an_upload(method: str) -> None:
    """Section 4.2."""
    assert rufh.read(method, raw({"Upload-Complete": "?1"})).offset is None


@pytest.mark.parametrize("text", ["1", "?2", "true", "", "?0, ?1"])
def test_another_completeness_is_ignored(text: str) -> None:
    """Section 4.1.2: and without one it is no request of this protocol."""
    with pytest.raises(BadHeader, match=r"Upload-Complete must be \?1 or \?0"):
        creation(Upload_Complete=text)


def test_a_creation_tells_of_its_file() -> None:
    """Section 4.2: type and name; those of a PATCH are about the patch."""
    about = {"Content_Disposition": 'inline; filename="a.jpg"', "Content_Type": "image/jpeg"}
    request = creation(Upload_Complete="?1", **about)
    assert (request.content_type, request.filename) == ("image/jpeg", "a.jpg")
    request = append(0, Upload_Complete="?1", Content_Disposition='inline; filename="a.jpg"')
    assert (request.content_type, request.filename) == ("", "")


def test_the_answer_to_a_creation_tells_the_way_back() -> None:
    """Section 4.2: Location and Upload-Limit must be there."""
    request = creation(Upload_Complete="?0")
    assert rufh.answer_headers(request, offset=7, location="/files/x", most=LIMITS) == {
        "Location": "/files/x",
        "Upload-Offset": "7",
        "Upload-Limit": "max-size=1000, max-age=60",
        "Upload-Complete": "?0",
    }


# --- 4.1.4 limits ------------------------------------------------------------------------------


def test_a_server_tells_its_limits_before_an_upload() -> None:
    """Section 4.1.4: OPTIONS; ``Accept-Patch`` was asked for until version 8."""
    assert rufh.about_server(LIMITS) == {
        "Accept-Patch": "application/partial-upload",
        "Upload-Limit": "max-size=1000, max-age=60",
    }


def test_there_is_always_a_limit_to_tell() -> None:
    """Section 4.1.4: the field is never empty, because no store takes more than so many bytes."""
    assert Limits().field() == f"max-size={MAX_LENGTH}"


def test_an_unfinished_upload_has_an_age() -> None:
    """Section 4.1.4: in whole seconds, rather one too few than one too many."""
    assert rufh.limits(upload(), 1000, NOW) == Limits(max_size=1000, max_age=90)
    later = NOW + timedelta(seconds=100)
    assert rufh.limits(upload(), None, later) == Limits(max_size=MAX_LENGTH, max_age=0)


def test_a_received_upload_has_no_age() -> None:
    """What is received is stored, whether its client comes again or not."""
    assert rufh.limits(upload(5, 5), 1000, NOW) == Limits(max_size=1000, max_age=None)


# --- 4.3 offset --------------------------------------------------------------------------------


def test_a_head_request_is_told_how_an_upload_stands() -> None:
    """Section 4.3: offset, completeness, length and limits; and nobody keeps the answer."""
    assert rufh.about_upload(NEWEST, upload(25, 100), 25, LIMITS) == {
        "Cache-Control": "no-store",
        "Upload-Offset": "25",
        "Upload-Limit": "max-size=1000, max-age=60",
        "Upload-Length": "100",
        "Upload-Complete": "?0",
    }


def test_an_unknown_length_is_not_told() -> None:
    """Section 4.3."""
    assert "Upload-Length" not in rufh.about_upload(NEWEST, upload(25), 25, LIMITS)


@pytest.mark.parametrize(("offset", "expected"), [(100, "?1"), (99, "?0")])
def test_an_upload_is_complete_once_its_last_byte_counts(offset: int, expected: str) -> None:
    """Not before: where ``stored`` is what counts, the last one is held back until then."""
    told = rufh.about_upload(NEWEST, upload(100, 100), offset, LIMITS)
    assert told["Upload-Complete"] == expected


# --- 4.4 append --------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [9, 11, 0])
def test_content_begins_where_the_upload_stands(offset: int) -> None:
    """Section 4.4: neither before nor behind, whatever it holds."""
    with pytest.raises(OffsetMismatch) as caught:
        append(offset, Upload_Complete="?0", Content_Length="1").check(upload(10), 10)
    assert (caught.value.expected, caught.value.actual) == (10, offset)


def test_a_wrong_offset_is_told_before_a_wrong_length() -> None:
    """Section 4.4: a client that missed an answer is to learn where it stands."""
    with pytest.raises(OffsetMismatch):
        append(10, Upload_Complete="?1", Content_Length="10").check(upload(20, 20), 20)


@pytest.mark.parametrize(
    ("request_", "stands"),
    [
        (append(10, Upload_Complete="?0", Content_Length="5"), upload(10)),
        (append(10, Upload_Complete="?0"), upload(10, 20)),
        (append(10, Upload_Complete="?1", Content_Length="10"), upload(10, 20)),
        (append(20, Upload_Complete="?1", Content_Length="0"), upload(20)),
        (append(20, Upload_Complete="?1", Content_Length="0"), upload(20, 20, State.COMPLETE)),
        (creation(Upload_Complete="?1", Content_Length="5"), upload(0, 5)),
    ],
)
def test_what_fits_is_taken(request_: Request, stands: ChunkUpload) -> None:
    """Section 4.4; also nothing at all, where a client wants the last answer once more."""
    request_.check(stands, stands.received)


@pytest.mark.parametrize("state", [State.ABORTING, State.CANCELLED, State.EXPIRED])
def test_a_deactivated_upload_takes_nothing(state: State) -> None:
    """Section 4.5: whatever the offset."""
    with pytest.raises(UploadClosed):
        append(3, Upload_Complete="?0").check(upload(10, state=state), 10)


@pytest.mark.parametrize("offset", ["", "-1", "ten", "1, 2", "1.0"])
def test_an_append_tells_its_offset(offset: str) -> None:
    """Section 4.4, and 4.1.1: other values are ignored."""
    with pytest.raises(BadHeader, match="Upload-Offset must be a number of bytes"):
        append(offset, Upload_Complete="?0")


@pytest.mark.parametrize("version", [*VERSIONS, None])
@pytest.mark.parametrize("media_type", ["application/octet-stream", "application/json", ""])
def test_an_append_is_of_its_media_type(version: int | None, media_type: str) -> None:
    """Section 4.4; -04 brought it, hence clients of -01 to -03 have none."""
    headers = {"Content_Type": media_type, "Upload_Complete": "?0", "Upload_Incomplete": "?1"}
    if version is not None:
        headers["Upload_Draft_Interop_Version"] = str(version)
    if version in {3, 4, 5}:
        assert append(0, **headers).offset == 0
    else:
        with pytest.raises(WrongMediaType, match="must be application/partial-upload"):
            append(0, **headers)


def test_a_media_type_may_have_parameters() -> None:
    """And be written in whatever case (RFC 9110, section 8.3.1)."""
    about = {"Content_Type": "Application/Partial-Upload; q=1", "Upload_Complete": "?0"}
    assert append(4, **about).offset == 4


def test_an_append_without_completeness_completes_nothing() -> None:
    """tus-js-client leaves it out of the empty PATCH that ends a stream."""
    assert append(4, Upload_Length="4").completes is False


# --- digests -----------------------------------------------------------------------------------

DIGEST = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (creation(Upload_Complete="?1", Content_Digest=DIGEST), ["Content-Digest"]),
        (creation(Upload_Complete="?0", Content_Digest=DIGEST), ["Content-Digest"]),
        (append(0, Upload_Complete="?1", Content_Digest=DIGEST), ["Content-Digest"]),
        (creation(Upload_Complete="?1", Repr_Digest=DIGEST), ["Repr-Digest"]),
        (
            creation(Upload_Complete="?1", Repr_Digest=DIGEST, Content_Digest=DIGEST),
            ["Content-Digest", "Repr-Digest"],
        ),
        (creation(Upload_Complete="?0", Repr_Digest=DIGEST), []),
        (append(0, Upload_Complete="?1", Repr_Digest=DIGEST), []),
    ],
)
def test_a_digest_of_the_file_counts_where_the_content_is_the_file(
    request_: Request, expected: list[str]
) -> None:
    """That of the content always (RFC 9530, sections 2 and 3)."""
    assert [digest.field for digest in request_.digests] == expected


# --- 104 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_an_interim_answer_is_of_the_clients_version(version: int) -> None:
    """Sections 4.2 and 5, and the appendix."""
    about = {"Upload_Complete": "?1", "Upload_Incomplete": "?0"}
    request = creation(**about, Upload_Draft_Interop_Version=str(version))
    assert rufh.interim_headers(request, location="/files/x", most=LIMITS) == {
        "Upload-Draft-Interop-Version": str(version),
        "Location": "/files/x",
        "Upload-Limit": "max-size=1000, max-age=60",
    }


@pytest.mark.parametrize("headers", [{}, {"Upload_Draft_Interop_Version": "10"}])
def test_no_other_client_gets_an_interim_answer(headers: dict[str, str]) -> None:
    """The appendix: it must not be sent where the version is missing or another one."""
    request = creation(Upload_Complete="?1", **headers)
    assert rufh.interim_headers(request, location="/files/x", most=LIMITS) is None


@pytest.mark.parametrize(("version", "expected"), [("4", False), ("5", True), ("9", True)])
def test_progress_is_for_versions_that_know_it(version: str, expected: bool) -> None:
    """Section 5, from -03 on: the offset, and no Location (section 4.4)."""
    found = rufh.progress_headers(
        append(0, Upload_Complete="?0", Upload_Draft_Interop_Version=version), 7
    )
    told = {"Upload-Draft-Interop-Version": version, "Upload-Offset": "7"}
    assert found == (told if expected else None)


# --- any text ----------------------------------------------------------------------------------

NAMES = (
    "Upload-Complete",
    "Upload-Incomplete",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Draft-Interop-Version",
    "Content-Length",
    "Content-Type",
    "Content-Disposition",
    "Content-Digest",
    "Repr-Digest",
    "Transfer-Encoding",
)
VALUES = (
    st.sampled_from(["?0", "?1", "0", "7", "5;a", "999999999999999", "application/partial-upload"])
    | st.sampled_from(["3", "5", "9", DIGEST, "sha-256=:AA==:", 'inline; filename="x"'])
    | st.text(st.characters(max_codepoint=255), max_size=40)
)


@given(
    st.sampled_from(["POST", "PUT", "PATCH"]),
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8),
    st.integers(0, 20),
    st.none() | st.integers(0, 20),
)
def test_no_text_in_any_header_raises_anything_but_our_errors(
    method: str, lines: list[tuple[str, str]], received: int, length: int | None
) -> None:
    """What is read can be checked and answered; what is not is refused by name."""
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in lines]
    rufh.speaks(headers)
    stands = upload(min(received, length) if length is not None else received, length)
    try:
        request = rufh.read(method, headers)
        request.check(stands, stands.received)
        request.length_at(stands.received)
    except (LengthMismatch, OffsetMismatch, BadHeader, WrongMediaType):
        pass
    else:
        answer = rufh.answer_headers(request, offset=received, location="/x", most=LIMITS)
        interim = rufh.interim_headers(request, location="/x", most=LIMITS) or {}
        assert all(text.isascii() and text.isprintable() for text in [*answer.values(), *interim])


@given(st.integers(0, MAX_LENGTH), st.none() | st.integers(0, 10**9))
def test_every_limit_can_be_told(max_size: int, max_age: int | None) -> None:
    """Structured fields hold integers of up to 15 digits; all of ours are shorter."""
    assert Limits(max_size=max_size, max_age=max_age).field().startswith(f"max-size={max_size}")


def test_a_request_is_a_value() -> None:
    """Read twice, it is the same."""
    request = append(10, Upload_Complete="?1", Content_Length="5")
    assert request == append(10, Upload_Complete="?1", Content_Length="5")
    assert request != replace(request, offset=11)
