"""Signed URLs of a folder: what is signed cannot be changed, and ends."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import pytest

from chunkferry.errors import ConfigError, InvalidPath, UrlRefused
from chunkferry.services import SignedUrlConfig, SignedUrlService, SignedUrlUploadService
from chunkferry.storage import from_url
from chunkferry.storage.local import LocalStore, SigningLocalStore, UrlSigner, signing

HOUR = timedelta(hours=1)
BASE = "https://files.example.com/media"
OLD, NEW = b"o" * 32, b"n" * 32
CONFIG = SignedUrlConfig(download=True, filename="Ü.txt", content_type="text/plain")


@pytest.fixture
def signer() -> UrlSigner:
    return UrlSigner(BASE, lambda: [OLD])


def changed(url: str, **query: str) -> str:
    """``url`` with other values in its query; None takes one out."""
    parts = urlsplit(url)
    values = dict(parse_qsl(parts.query)) | query
    return urlunsplit(parts._replace(query=urlencode(values)))


def without(url: str, name: str) -> str:
    parts = urlsplit(url)
    values = [pair for pair in parse_qsl(parts.query) if pair[0] != name]
    return urlunsplit(parts._replace(query=urlencode(values)))


@pytest.mark.parametrize("filepath", ["file", "a b/ü?#%+&=.txt", "x" * 255, "100%25/%2F"])
def test_a_url_is_understood(signer: UrlSigner, filepath: str) -> None:
    """Path, disposition, type and end come out as they went in."""
    before = datetime.now(UTC)
    url = signer.sign("GET", filepath, HOUR, CONFIG)
    found = signer.verify("GET", url)
    assert url.startswith(f"{BASE}/{quote(filepath)}?")
    assert (found.method, found.filepath, found.content_type) == ("GET", filepath, "text/plain")
    assert found.disposition == "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%9C.txt"
    assert before + HOUR <= found.expires <= datetime.now(UTC) + HOUR + timedelta(seconds=1)


def test_a_front_door_knows_only_the_path(signer: UrlSigner) -> None:
    """Behind a proxy the host is another; path and query are what counts."""
    parts = urlsplit(signer.sign("GET", "file", HOUR, None))
    assert signer.verify("GET", f"{parts.path}?{parts.query}").filepath == "file"


def test_a_url_for_reading_serves_head(signer: UrlSigner) -> None:
    """Whoever may read may look."""
    assert signer.verify("HEAD", signer.sign("GET", "file", HOUR, None)).method == "HEAD"


@pytest.mark.parametrize(
    ("signed", "asked"),
    [("GET", "PUT"), ("PUT", "GET"), ("PUT", "HEAD"), ("GET", "DELETE"), ("GET", "get")],
)
def test_the_method_is_signed(signer: UrlSigner, signed: str, asked: str) -> None:
    """Reading is not writing."""
    with pytest.raises(UrlRefused, match="signature"):
        signer.verify(asked, signer.sign(signed, "file", HOUR, None))


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("/file", "/other"),
        lambda url: url.replace("/file", "/a/file"),
        lambda url: url.replace("/media", "/medi"),
        lambda url: url.replace("/media/file", "/media/../etc/passwd"),
        lambda url: url.replace("/media/file", "/media/%2e%2e/etc/passwd"),
        lambda url: url.replace("/media/file", "/media/%ff"),
        lambda url: changed(url, expires="99999999999"),
        lambda url: changed(url, expires="9" * 30),
        lambda url: changed(url, expires="-1"),
        lambda url: changed(url, expires="soon"),
        lambda url: changed(url, disposition="inline"),
        lambda url: changed(url, type="text/html"),
        lambda url: changed(url, signature="A" * 43),
        lambda url: changed(url, signature="ü"),
        lambda url: changed(url, more="x"),
        lambda url: without(url, "type"),
        lambda url: without(url, "disposition"),
        lambda url: without(url, "signature"),
        lambda url: without(url, "expires"),
        lambda url: f"{url}&expires=99999999999",
        lambda url: f"{url}&{'a=b&' * 100}",
        lambda url: url.partition("?")[0],
        lambda url: url[:0],
    ],
)
def test_whatever_is_changed_is_refused(signer: UrlSigner, change: object) -> None:
    """Nothing that was signed can be another, or be left out, and nothing can be added."""
    assert callable(change)
    with pytest.raises(UrlRefused):
        signer.verify("GET", change(signer.sign("GET", "file", HOUR, CONFIG)))


def test_a_url_ends(signer: UrlSigner, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its last second it is over; before that, it is not."""
    url = signer.sign("GET", "file", HOUR, None)
    end = signer.verify("GET", url).expires.timestamp()
    monkeypatch.setattr(time, "time", lambda: end - 0.001)
    signer.verify("GET", url)
    monkeypatch.setattr(time, "time", lambda: end)
    with pytest.raises(UrlRefused, match="expired"):
        signer.verify("GET", url)


@pytest.mark.parametrize(
    "other",
    [
        UrlSigner(BASE, lambda: [NEW]),
        UrlSigner(f"{BASE}/a", lambda: [OLD]),
        UrlSigner(BASE.replace("files", "other"), lambda: [OLD]),
    ],
)
def test_others_urls_are_refused(signer: UrlSigner, other: UrlSigner) -> None:
    """Neither another secret nor another store with the same one is ours."""
    with pytest.raises(UrlRefused):
        signer.verify("GET", other.sign("GET", "file", HOUR, None))
    with pytest.raises(UrlRefused):
        other.verify("GET", signer.sign("GET", "a/file", HOUR, None))
    with pytest.raises(UrlRefused):
        other.verify("GET", signer.sign("GET", "file", HOUR, None))


def test_secrets_are_changed_while_all_is_running(tmp_path: Path) -> None:
    """A new one before the old one: both are recognised, until the old one is taken out."""
    file = tmp_path / "secret"
    signer = UrlSigner(BASE, signing.SecretFile(file))
    file.write_bytes(OLD)
    url = signer.sign("GET", "file", HOUR, None)
    file.write_bytes(NEW + b"\n" + OLD)
    signer.verify("GET", url)
    newer = signer.sign("GET", "file", HOUR, None)
    file.write_bytes(NEW)
    signer.verify("GET", newer)
    with pytest.raises(UrlRefused):
        signer.verify("GET", url)


@pytest.mark.parametrize("text", ["", "short", f"{'x' * 32}\nshort"])
def test_weak_secrets_are_refused(tmp_path: Path, text: str) -> None:
    """A secret that could be guessed is none, and the error does not repeat it."""
    (tmp_path / "secret").write_text(text)
    with pytest.raises(ConfigError, match="32 characters or more") as caught:
        from_url(f"file://{tmp_path}?base_url={BASE}&secret_file={tmp_path}/secret")
    assert "short" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (f"base_url={BASE}", "need both base_url and secret_file"),
        ("secret_file=/x", "need both base_url and secret_file"),
        (f"base_url={BASE}&secret_file=/absent", "secret_file cannot be read: No such file"),
    ],
)
def test_a_store_that_cannot_sign_is_refused(query: str, message: str) -> None:
    """Half a configuration does not become a store that fails later."""
    with pytest.raises(ConfigError, match=message):
        from_url(f"file:///srv/files?{query}")


@pytest.mark.parametrize("base", ["ftp://x", "files", "https://", "https://x?y=z"])
def test_a_base_that_serves_nothing_is_refused(base: str) -> None:
    """What is put before the paths has to be an http URL."""
    with pytest.raises(ConfigError, match="base_url"):
        UrlSigner(base, lambda: [OLD])


def test_only_a_store_with_secrets_signs(tmp_path: Path) -> None:
    """Without them the store does not claim to."""
    (tmp_path / "secret").write_bytes(NEW)
    plain = from_url(f"file://{tmp_path}/objects")
    able = from_url(f"file://{tmp_path}/objects?base_url={BASE}&secret_file={tmp_path}/secret")
    assert isinstance(plain, LocalStore)
    for port in (SignedUrlService, SignedUrlUploadService):
        assert not isinstance(plain, port)
        assert isinstance(able, port)


def test_a_store_verifies_what_it_signed(tmp_path: Path) -> None:
    """Both ways, for paths that it could store."""
    store = SigningLocalStore(tmp_path, UrlSigner(BASE, lambda: [OLD]))
    store.put("file", io.BytesIO(b"data"))
    assert store.verify("GET", store.signed_url("file", HOUR)).filepath == "file"
    url = store.put_signed_url("file", HOUR, CONFIG)
    found = store.verify("PUT", url)
    assert (found.method, found.content_type, found.disposition) == ("PUT", "text/plain", "")
    with pytest.raises(InvalidPath):
        store.signed_url("../file", HOUR)
