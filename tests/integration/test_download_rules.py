"""Who gets which object over HTTP, as what, and from where."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
from tests.servers.finished import finished, store_of
from tests.servers.inside import served
from tests.servers.s3 import S3Server
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry import ChunkUpload
from chunkferry.parts import MIB
from chunkferry.services import SignedUrlConfig, SignedUrlUploadService
from chunkferry.tus import asgi
from chunkferry.tus import signed as signed_objects

DATA = os.urandom(MIB + 7)


@pytest.fixture
def site(real_site: Site) -> Site:
    """A site whose objects are in a folder."""
    real_site.service(f"file://{real_site.folder}/objects")
    return real_site


@contextmanager
def door(site: Site, **changes: object) -> Iterator[httpx.Client]:
    """A client of the site's front door, with these settings."""
    with served(asgi.site(site.settings().changed(**changes))) as client:
        yield client


@pytest.fixture
def web(site: Site) -> Iterator[httpx.Client]:
    """A client of the site's front door."""
    with door(site) as client:
        yield client


def url(upload: ChunkUpload) -> str:
    return f"/files/{upload.upload_id}"


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code, and when to try again."""
    return answer.status_code, answer.json()["code"], answer.headers.get("retry-after", "")


# --- states -----------------------------------------------------------------------------------


def test_what_is_not_complete_is_to_be_asked_for_later(site: Site, web: httpx.Client) -> None:
    """409 while the client has to send more, 503 while the workers store the rest."""
    manager = site.manager(lose_wake_ups=True)
    upload = manager.create("a/b", 2)
    manager.append(upload.upload_id, 0, b"x")
    assert refused(web.get(url(upload))) == (409, "not_complete_yet", "5")
    manager.append(upload.upload_id, 1, b"y")
    assert refused(web.get(url(upload))) == (503, "not_complete_yet", "1")


def test_what_was_given_up_never_comes(site: Site, web: httpx.Client) -> None:
    """410."""
    manager = site.manager(lose_wake_ups=True)
    upload = manager.create("a/b", 2)
    manager.cancel(upload.upload_id)
    assert refused(web.get(url(upload))) == (410, "upload_closed", "")


def test_what_never_was_is_not_found(web: httpx.Client) -> None:
    """404, whatever stands in its place in the URL."""
    for name in ("nothing", "%00", "..%2f..", "x" * 999):
        assert web.get(f"/files/{name}").status_code == httpx.codes.NOT_FOUND


def test_an_object_is_only_for_whom_it_belongs_to(site: Site) -> None:
    """401 without a token, 404 with another's; its owner and administrators get it."""
    upload = finished(site, DATA, notes={"principal": "ann"})
    tokens = {"ann": "a" * 32, "bob": "b" * 32, "root": "r" * 32}
    expected = {"": 401, "x" * 32: 401, tokens["ann"]: 200, tokens["bob"]: 404, tokens["root"]: 200}
    with door(site, http_tokens=tokens, http_admins=["root"]) as web:
        for token, status in expected.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            assert web.get(url(upload), headers=headers).status_code == status
            assert web.get(f"{url(upload)}?inline", headers=headers).status_code == status


def test_other_methods_are_told_of(web: httpx.Client) -> None:
    """405, with those that there are."""
    answer = web.put("/files/x")
    assert (answer.status_code, "GET" in answer.headers["allow"]) == (405, True)


# --- what browsers are told -------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "text/xml"])
def test_a_page_is_bytes_to_save(site: Site, web: httpx.Client, content_type: str) -> None:
    """Whatever its uploader says of it, and however it is asked for."""
    upload = finished(
        site,
        b"<script>alert(1)</script>",
        content_type=content_type,
        metadata={"filename": '"; x=y\r\n<script>.html'},
    )
    for asked in (url(upload), f"{url(upload)}?inline", f"{url(upload)}?inline=1"):
        headers = web.get(asked).headers
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-disposition"].startswith('attachment; filename="__ x=y_script_')
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert headers["cache-control"] == "private, no-cache"
        assert headers["cross-origin-resource-policy"] == "same-site"


def test_a_picture_is_shown_if_asked_for(site: Site, web: httpx.Client) -> None:
    """And saved by default, under its name."""
    upload = finished(site, b"GIF89a", content_type="image/gif", metadata={"filename": "Föhn.gif"})
    shown, saved = web.get(f"{url(upload)}?inline").headers, web.get(url(upload)).headers
    name = "filename=\"F_hn.gif\"; filename*=UTF-8''F%C3%B6hn.gif"
    assert shown["content-disposition"] == f"inline; {name}"
    assert saved["content-disposition"] == f"attachment; {name}"
    assert shown["content-type"] == saved["content-type"] == "image/gif"


def test_an_error_has_no_object_headers(web: httpx.Client) -> None:
    """Nobody keeps it, and it is no file to save."""
    headers = web.get("/files/nothing").headers
    assert (headers["cache-control"], "content-disposition" in headers) == ("no-store", False)


# --- redirects --------------------------------------------------------------------------------


def test_a_client_is_sent_to_the_store(site: Site, moto_s3: S3Server) -> None:
    """307 to a URL that nobody keeps, which answers as we would."""
    site.service(moto_s3.url(f"redirects-{secrets.token_hex(4)}", profile="aws"))
    upload = finished(site, DATA, content_type="text/html", metadata={"filename": "Übung.html"})
    with door(site, http_download="redirect") as web:
        answer = web.get(url(upload))
    assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
    assert answer.headers["referrer-policy"] == "no-referrer"
    found = httpx.get(answer.headers["location"])
    assert found.content == DATA
    assert found.headers["content-type"] == "application/octet-stream"
    assert found.headers["content-disposition"].startswith("attachment; filename=")


def test_a_store_without_urls_is_read_from(site: Site) -> None:
    """As if nobody had asked for redirects."""
    upload = finished(site, DATA)
    with door(site, http_download="redirect") as web:
        assert web.get(url(upload)).content == DATA


# --- other stores -----------------------------------------------------------------------------


def test_a_store_of_ones_own_serves_whole_objects(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that knows no versions: all bytes, and no ranges."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    site.service(f"sqlite_store:SqliteStore?path={site.folder}/objects.db")
    upload = finished(site, DATA)
    with door(site) as web:
        answer = web.get(url(upload), headers={"Range": "bytes=0-0"})
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["accept-ranges"] == "none"


# --- signed URLs of folders -------------------------------------------------------------------


@pytest.fixture
def signing(site: Site) -> Site:
    """A site whose folder signs URLs, at a path of the front door."""
    secret = site.folder / "secret"
    secret.write_text(secrets.token_hex(32))
    base = "http://files.example.com/media"
    site.service(f"file://{site.folder}/objects?base_url={base}&secret_file={secret}")
    return site


def here(web: httpx.Client, signed: str) -> str:
    """A signed URL, at the server of the test: the host is not part of what is checked."""
    scheme, netloc, *_ = urlsplit(str(web.base_url))
    return urlunsplit(urlsplit(signed)._replace(scheme=scheme, netloc=netloc))


def test_a_folders_signed_url_is_served(signing: Site) -> None:
    """GET with ranges, HEAD, and nothing that was changed."""
    upload = finished(signing, DATA, filepath="a b/ü.bin", content_type="text/html")
    with door(signing, http_download="redirect") as web:
        signed = here(web, web.get(url(upload)).headers["location"])
        assert urlsplit(signed).path == "/media/a%20b/%C3%BC.bin"
        answer = web.get(signed)
        assert (answer.status_code, answer.content) == (200, DATA)
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        part = web.get(signed, headers={"Range": "bytes=7-8"})
        assert (part.status_code, part.content) == (206, DATA[7:9])
        head = web.head(signed, headers={"Range": "bytes=7-8"})
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(DATA)))
        assert head.content == b""
        assert refused(web.get(signed.replace("bin?", "bim?"))) == (403, "url_refused", "")
        assert refused(web.get("/media/a")) == (403, "url_refused", "")
        assert web.put(signed, content=b"x").status_code == httpx.codes.FORBIDDEN


def put_url(site: Site, web: httpx.Client, filepath: str = "in/box", content_type: str = "") -> str:
    """A URL to write a file with."""
    store = store_of(site)
    assert isinstance(store, SignedUrlUploadService)
    config = SignedUrlConfig(content_type=content_type)
    return here(web, store.put_signed_url(filepath, timedelta(minutes=5), config))


def test_a_folders_signed_url_takes_a_file(signing: Site) -> None:
    """PUT, with the type it was signed for, in place of what is there."""
    with door(signing) as web:
        signed = put_url(signing, web, content_type="image/png")
        assert refused(web.put(signed, content=b"x")) == (415, "media_type", "")
        for data in (b"first", DATA):
            answer = web.put(signed, content=data, headers={"Content-Type": "image/png"})
            assert answer.status_code == httpx.codes.OK
            assert answer.headers["etag"] == f'"{store_of(signing).head("in/box").etag}"'
            assert signing.stored("in/box") == data
        assert web.get(signed).status_code == httpx.codes.FORBIDDEN


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_that_is_too_large_is_not_taken(signing: Site, announced: bool) -> None:
    """413, and the old one stays; whether or not its size was told before."""
    with door(signing, http_max_size=len(DATA) - 1) as web:
        signed = put_url(signing, web)
        assert web.put(signed, content=b"old").status_code == httpx.codes.OK
        content = DATA if announced else iter([DATA[:9], DATA[9:]])
        assert refused(web.put(signed, content=content)) == (413, "too_large", "")
        assert web.put(signed, content=iter([DATA[1:]])).status_code == httpx.codes.OK
        assert signing.stored("in/box") == DATA[1:]


def test_a_file_that_breaks_off_is_not_taken(signing: Site) -> None:
    """Nothing is there, nor anything unfinished, when its client is gone."""
    with door(signing) as web:
        signed = urlsplit(put_url(signing, web))
        with socket.create_connection((signed.hostname, signed.port)) as made:
            lines = [f"PUT {signed.path}?{signed.query} HTTP/1.1", "Host: x", "Content-Length: 9"]
            made.sendall("\r\n".join([*lines, "", "half"]).encode())
            staging = signing.folder / "objects/.chunkferry"
            wait_until(lambda: staging.is_dir() and any(staging.iterdir()), what="it is written")
        wait_until(lambda: not any(staging.iterdir()), what="it is dropped")
    assert not store_of(signing).exists("in/box")


def test_a_client_that_stalls_is_given_up(signing: Site) -> None:
    """503, when it has sent nothing for as long as a body may pause; its thread is free."""
    with door(signing, http_body_timeout_seconds=0.2) as web:
        signed = urlsplit(put_url(signing, web))
        with socket.create_connection((signed.hostname, signed.port)) as made:
            made.settimeout(20)
            lines = [f"PUT {signed.path}?{signed.query} HTTP/1.1", "Host: x", "Content-Length: 9"]
            made.sendall("\r\n".join([*lines, "", "half"]).encode())
            assert made.recv(12) == b"HTTP/1.1 503"
    assert not store_of(signing).exists("in/box")


def is_answered(made: socket.socket) -> bool:
    """Whether anything came from the server, soon."""
    try:
        return bool(made.recv(12))
    except TimeoutError:
        return False


def test_a_client_that_trickles_is_given_up(signing: Site) -> None:
    """A byte now and then holds no thread for long."""
    with door(signing, http_body_timeout_seconds=0.5) as web:
        signed = urlsplit(put_url(signing, web))
        with socket.create_connection((signed.hostname, signed.port)) as made:
            lines = [f"PUT {signed.path}?{signed.query} HTTP/1.1", "Host: x", "Content-Length: 999"]
            made.sendall("\r\n".join([*lines, "", ""]).encode())
            made.settimeout(0.05)
            sent = 0
            # The answer is lost where the last byte meets a connection that is closed.
            with suppress(ConnectionResetError, BrokenPipeError):
                while sent < 900 and not is_answered(made):
                    made.sendall(b"x")
                    sent += 1
            assert sent < 900
    assert not store_of(signing).exists("in/box")


def test_so_many_files_are_written_at_once(signing: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 for one more, with when to try again: whoever writes holds a thread."""
    monkeypatch.setattr(signed_objects, "_WRITERS", 1)
    with door(signing) as web:
        first, second = (urlsplit(put_url(signing, web, name)) for name in ("a", "b"))
        with socket.create_connection((first.hostname, first.port)) as made:
            lines = [f"PUT {first.path}?{first.query} HTTP/1.1", "Host: x", "Content-Length: 9"]
            made.sendall("\r\n".join([*lines, "", "half"]).encode())
            staging = signing.folder / "objects/.chunkferry"
            wait_until(lambda: staging.is_dir() and any(staging.iterdir()), what="it is written")
            answer = web.put(second.geturl(), content=b"x")
        assert refused(answer) == (503, "too_many_writers", "1")
