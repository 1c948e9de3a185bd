"""The page's files: what is in them, and how they are served."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette

import chunkferry.tus
from chunkferry.tus import frontpage

PAGE = Path(chunkferry.tus.__file__).parent / "page"
NPM = Path(__file__).parents[2] / "npm"
OURS = sorted(path for path in PAGE.iterdir() if path.is_file())


def ask(path: str, method: str = "GET", **headers: str) -> httpx.Response:
    """The answer to a request."""
    transport = httpx.ASGITransport(Starlette(routes=[*frontpage.routes()]))

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.request(method, path, headers=headers)

    return anyio.run(send)


@pytest.fixture
def library() -> bytes:
    """The file that comes from npm."""
    path = PAGE / "vendor" / "tus.min.js"
    if not path.exists():
        reason = "needs what npm offers: make vendor"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path.read_bytes()


class Tags(HTMLParser):
    """All tags of a document with their attributes, and the text of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.inline += data.strip()


def tags() -> Tags:
    """Of the page."""
    return Tags((PAGE / "index.html").read_text())


def test_the_page_names_the_digest_of_its_library(library: bytes) -> None:
    """A browser runs these bytes and no others."""
    (script,) = [found for tag, found in tags().found if tag == "script" and "integrity" in found]
    digest = base64.b64encode(hashlib.sha384(library).digest()).decode()
    assert script["src"] == "page/vendor/tus.min.js"
    assert script["integrity"] == f"sha384-{digest}"


def test_the_library_comes_with_the_licences_of_its_parts(library: bytes) -> None:
    """Who passes the wheel on passes them on."""
    text = (PAGE / "vendor" / "LICENCES.txt").read_text()
    for package in ("tus-js-client", "js-base64", "url-parse", "requires-port"):
        assert f"{package}\n{'=' * len(package)}\n" in text


@pytest.mark.skipif(not NPM.exists(), reason="an installed package has no lock")
def test_the_lock_pins_every_package_and_names_no_registry() -> None:
    """An exact version, and a digest for each of them."""
    wanted = json.loads((NPM / "package.json").read_text())["dependencies"]
    lock = json.loads((NPM / "package-lock.json").read_text())["packages"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", wanted["tus-js-client"])
    assert lock["node_modules/tus-js-client"]["version"] == wanted["tus-js-client"]
    packages = {name: package for name, package in lock.items() if name}
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name in packages if "integrity" not in packages[name]] == []


def test_nothing_is_inline() -> None:
    """The policy forbids it, and a browser would drop it without a word."""
    found = tags()
    assert found.inline == ""
    attributes = {name for _, attrs in found.found for name in attrs}
    assert [name for name in attributes if name == "style" or name.startswith("on")] == []


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup(path: Path) -> None:
    """No address of another host; no way by which a file's name could run."""
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", text) == []
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|@import"
    assert re.findall(ways, text) == []


def test_every_file_that_is_named_is_there() -> None:
    """Modules, styles and pictures; what comes from npm may be missing."""
    named = [attrs.get("src") or attrs.get("href") for _, attrs in tags().found]
    files = {name for name in named if name and name.startswith("page/")}
    for path in PAGE.glob("*.js"):
        imports = re.findall(r'from "\./([\w.]+)"', path.read_text())
        files |= {f"page/{name}" for name in imports}
    ours = {name.removeprefix("page/") for name in files} - {"vendor/tus.min.js"}
    assert ours == {path.name for path in OURS} - {"index.html"}


def test_the_elements_that_scripts_look_for_are_there() -> None:
    """Each id once."""
    found = [attrs["id"] for _, attrs in tags().found if "id" in attrs]
    assert len(found) == len(set(found))
    wanted = r'(?:byId|getElementById)\("([\w-]+)"\)|querySelector\("#([\w-]+)"\)'
    for path in PAGE.glob("*.js"):
        for names in re.findall(wanted, path.read_text()):
            assert "".join(names) in found, path


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/page/page.css", "/page/icon.svg"])
def test_browsers_are_told_what_not_to_do(path: str) -> None:
    """Nothing from elsewhere, nothing guessed, in nobody's frame."""
    headers = ask(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
def test_each_file_has_its_type(path: str, media_type: str) -> None:
    """With nosniff, browsers run no script and apply no style of another type."""
    assert ask(path).headers["content-type"] == media_type


def test_what_a_browser_has_is_not_sent_again() -> None:
    """304 for the same ETag, be it strong, weak or in a list; 200 for another."""
    etag = ask("/page/page.js").headers["etag"]

    def status(tags: str) -> int:
        return ask("/page/page.js", **{"If-None-Match": tags}).status_code

    same = [status(etag), status(f"W/{etag}"), status(f'"other", {etag}'), status("*")]
    assert same == [httpx.codes.NOT_MODIFIED] * 4
    assert status('"other"') == httpx.codes.OK


def test_nothing_else_is_served() -> None:
    """No other file of the package, by whatever path."""
    for path in ("/page/", "/page/nothing.js", "/page/..%2ffrontpage.py", "/page/%2e%2e/door.py"):
        assert ask(path).status_code == httpx.codes.NOT_FOUND
    assert ask("/", "POST").status_code == httpx.codes.METHOD_NOT_ALLOWED
    assert ask("/", "HEAD").status_code == httpx.codes.OK
