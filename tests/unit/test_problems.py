"""Errors as RFC 9457 has them: types, statuses, members and fields that clients rely on."""

from __future__ import annotations

import json

import pytest

from chunkferry.errors import (
    Backpressure,
    ChecksumMismatch,
    ChunkferryError,
    LengthMismatch,
    NotDurable,
    OffsetMismatch,
    RedisUnavailable,
    UploadError,
    UploadNotFound,
)
from chunkferry.tus import answers, rufh
from chunkferry.tus.body import TooLarge
from chunkferry.tus.digests import DigestInvalid, DigestUnsupported
from chunkferry.tus.hooks import Refused
from chunkferry.tus.problems import Problem, problem
from chunkferry.tus.protocol import WrongMediaType
from chunkferry.tus.rufh import NEWEST, VERSIONS, Limits

REGISTRY = "https://iana.org/assignments/http-problem-types#"
DIGEST = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
REQUEST = rufh.read("POST", [(b"upload-complete", b"?1"), (b"content-digest", DIGEST.encode())])


def test_a_mismatching_offset_tells_both() -> None:
    """Section 7.1 of the draft, and 4.4: the right one is a header field, too."""
    assert problem(OffsetMismatch(12, 25), NEWEST) == Problem(
        status=409,
        headers={"Upload-Complete": "?0", "Upload-Offset": "12"},
        members={
            "type": f"{REGISTRY}mismatching-upload-offset",
            "title": "Mismatching Upload Offset",
            "expected-offset": 12,
            "provided-offset": 25,
        },
    )


def test_an_inconsistent_length_is_a_bad_request() -> None:
    """Section 7.2 of the draft: 400 here, and 413 in tus."""
    found = problem(LengthMismatch("the file has 5 bytes, not 6"), NEWEST)
    assert (found.status, found.members["type"]) == (400, f"{REGISTRY}inconsistent-upload-length")


def test_a_digest_that_does_not_hold_is_named() -> None:
    """With what came, and without what was calculated (digest problem types, section 2.3)."""
    came = REQUEST.digests[0].value.hex()
    found = problem(ChecksumMismatch("sha256", came, "calculated"), NEWEST, request=REQUEST)
    assert (found.status, found.members["type"]) == (400, f"{REGISTRY}digest-mismatching-values")
    assert found.members["mismatching-digests"] == [
        {
            "algorithm": "sha-256",
            "provided-digest": DIGEST.partition("=")[2],
            "header": "Content-Digest",
        }
    ]
    error = ChecksumMismatch("sha256", came, "calculated")
    answer = answers.problem(error, found.headers, status=found.status, members=found.members)
    assert b"calculated" not in answer.body


def test_a_digest_that_cannot_hold_is_named() -> None:
    """Digest problem types, section 2.2."""
    found = problem(DigestInvalid("Repr-Digest", "sha-256", 32, 5), NEWEST)
    assert (found.status, found.members["type"]) == (400, f"{REGISTRY}digest-invalid-values")
    assert found.members["invalid-digests"] == [
        {
            "algorithm": "sha-256",
            "header": "Repr-Digest",
            "reason": "digest value is not 32 bytes long",
        }
    ]


def test_unknown_digests_are_named_beside_those_that_are_known() -> None:
    """Digest problem types, section 2.1; RFC 9530, section 4."""
    error = DigestUnsupported("Content-Digest", ["unixsum"])
    found = problem(error, NEWEST)
    kind = f"{REGISTRY}digest-unsupported-algorithms"
    assert (found.status, found.members["type"]) == (400, kind)
    assert found.members["unsupported-algorithms"] == [
        {"algorithm": "unixsum", "header": "Content-Digest"}
    ]
    wanted = answers.problem(error).headers["want-content-digest"]
    assert wanted == "sha-256=10, sha-512=9, crc32c=1"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UploadNotFound("x"), 404),
        (WrongMediaType(rufh.PARTIAL, "a/b"), 415),
        (RedisUnavailable("away"), 503),
        (Refused("no", http_status=402), 402),
    ],
)
def test_any_other_error_has_no_type(error: ChunkferryError, status: int) -> None:
    """RFC 9457, section 4.2.1: its status says all."""
    found = problem(error, NEWEST)
    assert (found.status, found.members) == (status, {})


def test_a_wrong_media_type_is_answered_with_the_right_one() -> None:
    """RFC 5789, section 2.2."""
    found = problem(WrongMediaType(rufh.PARTIAL, "a/b"), NEWEST)
    assert found.headers["Accept-Patch"] == "application/partial-upload"


@pytest.mark.parametrize("error", [Backpressure(77, 1.2), NotDurable("x", 77, "no replica")])
def test_what_is_accepted_is_told(error: ChunkferryError) -> None:
    """Even if there is no room for more, or it is not safe yet: the client goes on from there."""
    found = problem(error, NEWEST)
    assert (found.status, found.headers["Upload-Offset"]) == (503, "77")


def test_a_limit_that_was_broken_is_told() -> None:
    """Section 4.1.4 of the draft."""
    most = Limits(max_size=5)
    assert problem(TooLarge("it", 5), NEWEST, most=most).headers["Upload-Limit"] == "max-size=5"
    assert "Upload-Limit" not in problem(UploadNotFound("x"), NEWEST, most=most).headers


def test_no_problem_completes_an_upload() -> None:
    """Section 4.1.2: it is the upload that speaks, not what becomes of it; in any version."""
    for number, version in VERSIONS.items():
        headers = problem(UploadNotFound("x"), version).headers
        expected = {"Upload-Incomplete": "?1"} if number == 3 else {"Upload-Complete": "?0"}
        assert headers == expected


def test_a_problem_is_part_of_the_answer_that_every_error_gets() -> None:
    """Status and members take the place of the error's own, the rest stays."""
    error = LengthMismatch("the file has 5 bytes, not 6")
    found = problem(error, NEWEST)
    answer = answers.problem(error, found.headers, status=found.status, members=found.members)
    assert (answer.status_code, answer.headers["upload-complete"]) == (400, "?0")
    assert json.loads(bytes(answer.body)) == {
        "type": f"{REGISTRY}inconsistent-upload-length",
        "title": "Inconsistent Upload Length Values",
        "status": 400,
        "detail": "the file has 5 bytes, not 6",
        "code": "length_mismatch",
    }


def test_a_failed_upload_is_not_worth_more_content() -> None:
    """Section 4.4: an error with Upload-Complete: ?1 is of what became of the file."""
    assert problem(UploadError("it failed"), NEWEST).headers == {"Upload-Complete": "?1"}
