"""What trusted proxies say of a request, and what nobody else can say."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Scope

from chunkferry.tus import place, proxies

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
NAMES = [
    "forwarded",
    *(f"x-forwarded-{name}" for name in ("for", "host", "port", "prefix", "proto")),
]


def scope_of(headers: dict[str, str], client: tuple[str, int] | None = ("10.0.0.1", 1)) -> Scope:
    """A request that a proxy passes on."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {
        "type": "http", "method": "POST", "path": "/files", "root_path": "", "scheme": "http",
        "query_string": b"", "server": ("127.0.0.1", 80), "client": client,
        "headers": [(b"host", b"inner:8080"), *raw],
    }  # fmt: skip


def seen(headers: dict[str, str]) -> str:
    """The absolute URL that a new upload gets behind a trusted proxy."""
    return place.url_of(Request(proxies.forwarded(scope_of(headers), TRUSTED)), "id", "absolute")


@pytest.mark.parametrize(
    ("client", "trusted"),
    [
        (("10.1.2.3", 5), True),
        (("fd00::1", 5), True),
        (("11.0.0.1", 5), False),
        (("::ffff:10.0.0.1", 5), False),
        (("testclient", 5), False),
        (None, False),
        ("10.0.0.1", False),
    ],
)
def test_trust_is_a_matter_of_networks(client: object, trusted: bool) -> None:
    """Of the address that the connection comes from."""
    assert proxies.is_trusted(client, TRUSTED) == trusted


def test_nobody_is_trusted_by_default() -> None:
    """Not even this machine."""
    assert not proxies.is_trusted(("127.0.0.1", 5), [])


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({}, "http://inner:8080/id"),
        ({"forwarded": "proto=https;host=example.org"}, "https://example.org/id"),
        ({"forwarded": 'host="example.org:8443";proto=https'}, "https://example.org:8443/id"),
        ({"forwarded": 'for=1;host="[2001:db8::1]:8443"'}, "http://[2001:db8::1]:8443/id"),
        ({"forwarded": "host=evil, host=example.org"}, "http://example.org/id"),
        (
            {"x-forwarded-proto": "https", "x-forwarded-host": "example.org"},
            "https://example.org/id",
        ),
        ({"x-forwarded-host": "evil, example.org"}, "http://example.org/id"),
        ({"x-forwarded-host": "e.org", "x-forwarded-port": "81"}, "http://e.org:81/id"),
        ({"x-forwarded-host": "e.org:82", "x-forwarded-port": "81"}, "http://e.org:82/id"),
        ({"forwarded": "host=a.org", "x-forwarded-host": "b.org"}, "http://a.org/id"),
    ],
)
def test_the_nearest_proxy_tells_the_address(headers: dict[str, str], url: str) -> None:
    """RFC 7239, or the customary headers; further hops could be made up."""
    assert seen(headers) == url


def test_the_nearest_proxy_may_add_a_line_of_its_own() -> None:
    """Behind those that came from the client, as HAProxy does; all lines are one list."""
    scope = scope_of({})
    scope["headers"] += [
        (b"forwarded", b"host=evil;proto=https"),
        (b"x-forwarded-for", b"6.6.6.6"),
        (b"forwarded", b"host=example.org"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"x-forwarded-prefix", b"/evil"),
        (b"x-forwarded-prefix", b"/app"),
    ]
    found = proxies.forwarded(scope, TRUSTED)
    assert place.url_of(Request(found), "id", "absolute") == "http://example.org/app/id"
    assert found["client"][0] == "1.2.3.4"


@pytest.mark.parametrize(
    ("name", "lines", "url"),
    [
        ("host", ["evil", "example.org"], "http://example.org/id"),
        ("proto", ["ftp", "https"], "https://inner:8080/id"),
    ],
)
def test_the_customary_headers_may_have_several_lines(
    name: str, lines: list[str], url: str
) -> None:
    """Of which the last one is the nearest proxy's."""
    scope = scope_of({})
    scope["headers"] += [(f"x-forwarded-{name}".encode(), line.encode()) for line in lines]
    found = proxies.forwarded(scope, TRUSTED)
    assert place.url_of(Request(found), "id", "absolute") == url


@pytest.mark.parametrize(
    "headers",
    [
        {"forwarded": "host=a/b"},
        {"forwarded": "host=a@b"},
        {"forwarded": 'host="a b"'},
        {"forwarded": 'host="'},
        {"forwarded": "proto=javascript"},
        {"x-forwarded-host": "a\tb"},
        {"x-forwarded-host": "a:b"},
        {"x-forwarded-host": "[::1"},
        {"x-forwarded-proto": "ftp"},
        {"x-forwarded-host": "a?b"},
        {"x-forwarded-host": "a#b"},
        {"x-forwarded-prefix": "//evil.org"},
        {"x-forwarded-prefix": "/a?b"},
        {"x-forwarded-prefix": "evil"},
    ],
)
def test_what_is_malformed_counts_for_nothing(headers: dict[str, str]) -> None:
    """The request is taken as it came."""
    assert seen(headers) == "http://inner:8080/id"


def test_a_prefix_is_put_before_paths() -> None:
    """Of a proxy that has cut it off."""
    found = proxies.forwarded(scope_of({"x-forwarded-prefix": "/app/"}), TRUSTED)
    assert (found["root_path"], found["path"]) == ("/app", "/app/files")


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1, fd00::2", "2001:db8::1"),
        ("1.2.3.4, nonsense", "10.0.0.1"),
        ("10.0.0.3", "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_the_client_is_the_nearest_stranger(hops: str, client: str) -> None:
    """Whatever is further away could be made up."""
    found = proxies.forwarded(scope_of({"x-forwarded-for": hops}), TRUSTED)
    assert found["client"][0] == client


@given(
    headers=st.dictionaries(
        st.sampled_from(NAMES), st.binary(max_size=40).map(lambda data: data.decode("latin-1"))
    )
)
def test_no_header_breaks_out_of_a_url(headers: dict[str, str]) -> None:
    """And none is an error."""
    url = seen(headers)
    assert url.isascii()
    assert url.isprintable()
    assert url.startswith(("http://", "https://"))
    assert url.endswith("/id")
    assert not {"?", "#", "@", " ", "\\", '"'} & {*url}
