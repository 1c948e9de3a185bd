"""tus 1.0.0, creation in all its forms: a test for each sentence about servers.

``docs/tus.md`` is made of these docstrings.
"""

from __future__ import annotations

import base64

import httpx
import pytest
from tests.servers.front import (
    BYTES,
    MAX_SIZE,
    TUS,
    Front,
    StartFront,
    answer_of,
    begun,
    head_of,
    offset_of,
    sent,
)
from tests.sites import Site

from chunkferry.parts import MIB


def pair(key: str, value: str) -> str:
    """A pair of Upload-Metadata."""
    return f"{key} {base64.b64encode(value.encode()).decode()}"


def posted(web: httpx.Client, headers: dict[str, str], content: bytes = b"") -> httpx.Response:
    """The answer to a POST of tus."""
    return web.post("/files", headers={**TUS, **headers}, content=content)


def head(web: httpx.Client, url: str) -> httpx.Headers:
    """What HEAD tells of an upload."""
    return web.head(url, headers=TUS).headers


def test_creation_is_announced(shared_web: httpx.Client) -> None:
    """Creation, MUST: Tus-Extension names it; SHOULD: the server has it."""
    assert "creation" in shared_web.options("/files").headers["tus-extension"].split(",")


# --- Upload-Defer-Length ----------------------------------------------------------------------


@pytest.mark.parametrize("value", ["0", "2", "true", "", "1, 1"])
def test_a_deferred_length_is_a_one(shared_web: httpx.Client, value: str) -> None:
    """Upload-Defer-Length, MUST: it is 1; SHOULD: anything else is answered with 400."""
    assert posted(shared_web, {"Upload-Defer-Length": value}).status_code == 400


def test_a_known_length_is_not_deferred(shared_web: httpx.Client) -> None:
    """Upload-Defer-Length, MUST: it is left out where the length is not deferred."""
    assert "upload-defer-length" not in head(shared_web, begun(shared_web, 4))


def test_a_deferred_length_is_told(shared_web: httpx.Client) -> None:
    """Creation POST, MUST: HEAD has Upload-Defer-Length: 1 as long as the length is not known."""
    url = begun(shared_web, None)
    sent(shared_web, url, 0, b"ab")
    answer = head(shared_web, url)
    assert answer["upload-defer-length"] == "1"
    assert "upload-length" not in answer


def test_deferring_is_announced(shared_web: httpx.Client) -> None:
    """Creation POST, MUST: Tus-Extension names creation-defer-length."""
    extensions = shared_web.options("/files").headers["tus-extension"].split(",")
    assert "creation-defer-length" in extensions


def test_a_length_may_come_with_any_patch(shared_web: httpx.Client) -> None:
    """Creation POST, MUST: the client says a deferred length in a PATCH; then HEAD tells it."""
    url = begun(shared_web, None)
    sent(shared_web, url, 0, b"ab")
    assert sent(shared_web, url, 2, b"cd", **{"Upload-Length": "9"}).status_code == 204
    answer = head(shared_web, url)
    assert answer["upload-length"] == "9"
    assert "upload-defer-length" not in answer


def test_no_length_is_taken_with_a_wrong_offset(shared_web: httpx.Client) -> None:
    """PATCH, MUST: at another offset nothing is modified, the deferred length included."""
    url = begun(shared_web, None)
    answer = sent(shared_web, url, 3, b"x", **{"Upload-Length": "10"})
    told = shared_web.head(url, headers=TUS).headers
    assert (answer.status_code, told.get("upload-length"), told["upload-defer-length"]) == (
        409,
        None,
        "1",
    )


@pytest.mark.parametrize("length", [4, None])
def test_a_length_never_changes(shared_web: httpx.Client, length: int | None) -> None:
    """Creation POST, MUST NOT: a length that was said is changed; the same again is fine."""
    url = begun(shared_web, length)
    assert sent(shared_web, url, 0, b"a", **{"Upload-Length": "4"}).status_code == 204
    assert sent(shared_web, url, 1, b"b", **{"Upload-Length": "5"}).status_code == 413
    assert head(shared_web, url)["upload-length"] == "4"


def test_a_length_covers_what_has_come(shared_web: httpx.Client) -> None:
    """Upload-Length, MUST: it is the size of the whole upload, not less than was received."""
    url = begun(shared_web, None)
    sent(shared_web, url, 0, b"abcd")
    assert sent(shared_web, url, 4, b"", **{"Upload-Length": "3"}).status_code == 413


# --- Upload-Metadata --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "filename d29ybGQucGRm,is_confidential",
        "filename d29ybGQucGRm",
        "is_confidential",
        f"{pair('name', 'grüße.txt')},{pair('type', 'text/plain')}",
    ],
)
def test_metadata_come_back(shared_web: httpx.Client, value: str) -> None:
    """Creation POST, MUST: HEAD has Upload-Metadata as the client gave it."""
    url = begun(shared_web, 4, **{"Upload-Metadata": value})
    assert head(shared_web, url)["upload-metadata"] == value


def test_no_metadata_are_not_told(shared_web: httpx.Client) -> None:
    """Creation POST, MUST: HEAD has Upload-Metadata if there are any; tuspy sends it empty."""
    url = begun(shared_web, 4, **{"Upload-Metadata": ""})
    assert "upload-metadata" not in head(shared_web, url)


@pytest.mark.parametrize("value", ["key ,other YQ==", "key,other YQ=="])
def test_a_value_may_be_empty(shared_web: httpx.Client, value: str) -> None:
    """Upload-Metadata, MAY: a value is empty, and the space before it left out."""
    url = begun(shared_web, 4, **{"Upload-Metadata": value})
    assert head(shared_web, url)["upload-metadata"] == "key,other YQ=="


@pytest.mark.parametrize(
    "value",
    [
        ",",
        "key dmFsdWU=,",
        "a YQ==, dmFsdWU=,",
        "key  dmFsdWU=",
        "key\tdmFsdWU=",
        "key dmFsdWU=;other dmFsdWU=",
        "two words dmFsdWU=",
    ],
)
def test_metadata_are_pairs(shared_web: httpx.Client, value: str) -> None:
    """Upload-Metadata, MUST: pairs with commas between them, keys that are not empty, a space."""
    assert posted(shared_web, {"Upload-Length": "4", "Upload-Metadata": value}).status_code == 400


@pytest.mark.parametrize("value", ["value!", "dmFsdWU", "=", "dm Fs", "ZG_-", "////"])
def test_values_are_base64(shared_web: httpx.Client, value: str) -> None:
    """Upload-Metadata, MUST: values are Base64; here of UTF-8 as well, as a server may ask."""
    said = {"Upload-Length": "4", "Upload-Metadata": f"key {value}"}
    assert posted(shared_web, said).status_code == 400


def test_keys_are_unique(shared_web: httpx.Client) -> None:
    """Upload-Metadata, MUST: all keys differ."""
    said = {"Upload-Length": "4", "Upload-Metadata": f"{pair('a', 'b')},{pair('a', 'c')}"}
    assert posted(shared_web, said).status_code == 400


def test_keys_are_ascii(shared_web: httpx.Client) -> None:
    """Upload-Metadata, SHOULD: keys are ASCII; others are refused."""
    headers = [(b"tus-resumable", b"1.0.0"), (b"upload-length", b"4")]
    headers += [(b"upload-metadata", "schlüssel YQ==".encode())]
    assert shared_web.post("/files", headers=headers).status_code == 400


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\0b", "\x1b[2J", "\u2028", "\x7f"])
def test_metadata_smuggle_no_header(shared_web: httpx.Client, value: str) -> None:
    """Upload-Metadata, SHOULD: values are validated before anything is made of them."""
    answer = posted(
        shared_web,
        {
            "Upload-Length": "4",
            "Upload-Metadata": f"{pair('filename', value)},{pair('filetype', value)}",
        },
    )
    assert "set-cookie" not in answer.headers
    if answer.is_success:
        assert "set-cookie" not in head(shared_web, answer.headers["location"])


# --- POST -------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [{}, {"Upload-Length": "4", "Upload-Defer-Length": "1"}])
def test_a_length_is_said_or_deferred(shared_web: httpx.Client, said: dict[str, str]) -> None:
    """Creation POST, MUST: the request has one of Upload-Length, Upload-Defer-Length; else 400."""
    assert posted(shared_web, said).status_code == 400


def test_too_long_is_refused(shared_web: httpx.Client) -> None:
    """Creation POST, MUST: a length above Tus-Max-Size is answered with 413."""
    assert posted(shared_web, {"Upload-Length": str(MAX_SIZE + 1)}).status_code == 413
    assert posted(shared_web, {"Upload-Length": str(MAX_SIZE)}).status_code == 201


def test_too_long_is_refused_later(shared_web: httpx.Client) -> None:
    """Creation POST, MUST: a length above Tus-Max-Size is answered with 413, deferred as well."""
    url = begun(shared_web, None)
    assert sent(shared_web, url, 0, b"a", **{"Upload-Length": str(MAX_SIZE + 1)}).status_code == 413


def test_a_new_upload_is_acknowledged(shared_web: httpx.Client) -> None:
    """Creation POST, MUST: success is 201 with the Location of the upload."""
    answer = posted(shared_web, {"Upload-Length": "4"})
    assert answer.status_code == 201
    assert offset_of(shared_web, answer.headers["location"]) == 0


def test_a_location_may_be_relative(shared_web: httpx.Client) -> None:
    """Creation POST, MAY: Location is relative."""
    assert begun(shared_web, 4).startswith("/files/")


def test_a_location_may_be_absolute(real_site: Site, start_front: StartFront) -> None:
    """Creation POST, MAY: Location is absolute, if that is set."""
    front = start_front({**real_site.env, "CHUNKFERRY_HTTP_LOCATION": "absolute"})
    with front.client() as web:
        url = begun(web, 4)
        assert url.startswith(f"{front.files}/")
        assert offset_of(web, url) == 0


@pytest.mark.parametrize("collection", ["/files", "/files/"])
def test_uploads_begin_with_and_without_a_slash(shared_web: httpx.Client, collection: str) -> None:
    """Creation POST, MUST: a known URL takes it, without a redirect that would lose the body."""
    answer = shared_web.post(collection, headers={**TUS, "Upload-Length": "4"})
    assert answer.status_code == 201
    assert offset_of(shared_web, answer.headers["location"]) == 0


# --- creation with upload ---------------------------------------------------------------------


def test_creation_with_upload_is_announced(shared_web: httpx.Client) -> None:
    """Creation With Upload, MUST: Tus-Extension names it, and creation, on which it depends."""
    extensions = shared_web.options("/files").headers["tus-extension"].split(",")
    assert {"creation", "creation-with-upload"} <= {*extensions}


@pytest.mark.parametrize("data", [b"", b"ab", b"abcd"])
def test_first_bytes_may_come_along(shared_web: httpx.Client, data: bytes) -> None:
    """Creation With Upload, MUST: the answer has the Upload-Offset after the accepted bytes."""
    answer = posted(shared_web, {**BYTES, "Upload-Length": "4"}, data)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(data)))
    assert offset_of(shared_web, answer.headers["location"]) == len(data)


def test_many_first_bytes_are_accepted(shared_web: httpx.Client) -> None:
    """Creation With Upload, SHOULD: as many bytes as possible are accepted."""
    answer = posted(shared_web, {**BYTES, "Upload-Length": str(9 * MIB)}, bytes(9 * MIB))
    assert answer.headers["upload-offset"] == str(9 * MIB)


def test_first_bytes_have_their_type(shared_web: httpx.Client) -> None:
    """Creation With Upload, MUST: a body has the Content-Type of a PATCH; else 415."""
    said = {"Upload-Length": "4", "Content-Type": "text/plain"}
    assert posted(shared_web, said, b"abcd").status_code == 415


def test_first_bytes_are_no_more_than_announced(shared_web: httpx.Client) -> None:
    """Creation With Upload, MUST: the rules of PATCH hold, for too many bytes as well."""
    assert posted(shared_web, {**BYTES, "Upload-Length": "3"}, b"abcd").status_code == 413


def test_feedback_comes_before_the_body(shared_front: Front) -> None:
    """Creation With Upload, SHOULD: who expects 100-continue hears a refusal before it sends."""
    headers = {**BYTES, "Upload-Length": "x", "Content-Length": "4", "Expect": "100-continue"}
    with shared_front.connection() as client:
        client.sendall(head_of("POST", "/files", **headers))
        assert answer_of(client)[0] == 400


def test_a_go_ahead_comes_before_the_body(shared_front: Front) -> None:
    """Creation With Upload, SHOULD: who expects 100-continue gets it where nothing is wrong."""
    headers = {**BYTES, "Upload-Length": "4", "Content-Length": "4", "Expect": "100-continue"}
    with shared_front.connection() as client:
        client.sendall(head_of("POST", "/files", **headers))
        assert answer_of(client)[0] == 100
        client.sendall(b"abcd")
        assert answer_of(client)[0] == 201
