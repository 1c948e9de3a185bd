"""Where an upload is found."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from chunkferry.tus import place


def request(host: str | None, root_path: str = "/files") -> Request:
    """A request to the front door."""
    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    return Request(
        {
            "type": "http", "method": "POST", "path": f"{root_path}/", "root_path": root_path,
            "scheme": "https", "query_string": b"", "headers": headers, "server": ("inner", 80),
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("example.org", "https://example.org/files/id"),
        ("example.org:8443", "https://example.org:8443/files/id"),
        ("[::1]:80", "https://[::1]:80/files/id"),
        (None, "/files/id"),
        ("", "/files/id"),
        ("evil.org/x", "/files/id"),
        ("user@evil.org", "/files/id"),
        ("a b", "/files/id"),
    ],
)
def test_an_absolute_url_needs_a_host(host: str | None, url: str) -> None:
    """One that is none makes it relative: never is it taken into a URL."""
    assert place.url_of(request(host), "id", "absolute") == url


def test_a_relative_url_asks_for_no_host() -> None:
    """It is a path from the root, below where the application is mounted."""
    assert place.url_of(request("example.org", "/a/b"), "id", "relative") == "/a/b/id"


@pytest.mark.parametrize("form", ["relative", "absolute"])
def test_a_url_is_encoded(form: Literal["relative", "absolute"]) -> None:
    """A mount with parameters, as ``/{tenant}/files``, holds what the client chose."""
    mounted = request("example.org", "/a\r\nb c/€?#%41/files")
    found = place.url_of(mounted, "id", form)
    assert (
        found.removeprefix("https://example.org") == "/a%0D%0Ab%20c/%E2%82%AC%3F%23%2541/files/id"
    )


@pytest.mark.parametrize(
    "url",
    ["id", "/files/id", "/files/id/", "https://example.org/files/id", "//e/id", "/files/id?a#b"],
)
def test_an_upload_is_the_last_segment(url: str) -> None:
    """Of a path or a URL, of whatever host: clients resolve URLs as they see them."""
    assert place.upload_id_in(url) == "id"


@given(url=st.text())
def test_any_text_is_some_upload_or_none(url: str) -> None:
    """Without an error."""
    assert "/" not in place.upload_id_in(url)


def test_a_broken_address_is_no_upload() -> None:
    """Urllib refuses brackets that are none."""
    assert place.upload_id_in("http://[x/id") == ""
