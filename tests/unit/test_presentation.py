"""What browsers are told of an object: nothing that its uploader could make them run."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.storing import new_upload
from werkzeug.http import parse_options_header

from chunkferry.tus import presentation

#: All that browsers run, or show as a page of the site.
LIVELY = [
    "text/html",
    "TEXT/HTML; charset=utf-8",
    " text/html",
    "text/html;",
    "image/svg+xml",
    "application/xhtml+xml",
    "text/xml",
    "application/xml",
    "application/rss+xml",
    "text/javascript",
    "application/javascript",
    "text/css",
    "text/vtt",
    "text/html,text/plain",
    "text/plain,text/html",
    "image/png,text/html",
    "multipart/x-mixed-replace",
    "application/x-shockwave-flash",
    "application/wasm",
    "message/rfc822",
    "model/anything",
    "",
    "nonsense",
]


@pytest.mark.parametrize("content_type", LIVELY)
@pytest.mark.parametrize("inline", [True, False])
def test_what_could_run_is_bytes_to_save(content_type: str, inline: bool) -> None:
    """Also if it was asked for inline, and whoever says so: the upload, or its store."""
    for upload, stored in (
        (new_upload(content_type=content_type), ""),
        (new_upload(), content_type),
    ):
        headers = presentation.headers(presentation.presented(upload, stored, inline=inline))
        assert headers["Content-Type"] == "application/octet-stream"
        assert headers["Content-Disposition"].startswith("attachment;")


@pytest.mark.parametrize("content_type", ["image/png", "video/mp4", "audio/mpeg", "IMAGE/PNG; x=y"])
def test_what_is_inert_is_shown_if_asked_for(content_type: str) -> None:
    """And else saved."""
    upload = new_upload(content_type=content_type)
    shown = presentation.headers(presentation.presented(upload, inline=True))
    saved = presentation.headers(presentation.presented(upload, inline=False))
    assert shown["Content-Disposition"].startswith("inline;")
    assert saved["Content-Disposition"].startswith("attachment;")
    assert shown["Content-Type"] == content_type.partition(";")[0].lower()


def test_a_pdf_is_told_by_name_and_never_shown() -> None:
    """It may hold scripts."""
    shown = presentation.presented(new_upload(content_type="application/pdf"), inline=True)
    assert (shown.content_type, shown.download) == ("application/pdf", True)


def test_plain_text_has_a_character_set() -> None:
    """UTF-7 is no choice."""
    shown = presentation.presented(
        new_upload(content_type="text/plain; charset=utf-7"), inline=True
    )
    assert shown.content_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.jpg", "photo.jpg"),
        ("übung 1.txt", "übung 1.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\win.ini", "win.ini"),
        ('a"b<c>.txt', "a_b_c_.txt"),
        (".bashrc", "bashrc"),
        ("name. . ", "name"),
        ("a\r\nSet-Cookie: x=y", "aSet-Cookie_ x=y"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("", "download"),
        ("...", "download"),
        ("/", "download"),
        ("\0", "download"),
        ("x" * 300 + ".gz", "x" * 197 + ".gz"),
    ],
)
def test_a_name_is_one_of_a_file(name: str, expected: str) -> None:
    """Without folders, tricks and what disks refuse."""
    assert presentation.safe_name(name) == expected


def test_the_name_comes_from_the_metadata_or_the_path() -> None:
    """``filename`` first, as tus clients send it."""

    def name(**metadata: str) -> str:
        return presentation.presented(
            new_upload("folder/x.bin", metadata=metadata), inline=False
        ).filename

    assert name(filename="a.txt", name="b.txt") == "a.txt"
    assert name(filename="", name="b.txt") == "b.txt"
    assert name() == "x.bin"


@given(st.text(), st.text(), st.booleans(), st.sampled_from(["filename", "name"]))
def test_no_metadata_gets_into_a_header_unescaped(
    name: str, content_type: str, inline: bool, key: str
) -> None:
    """Headers are printable ASCII, and their parts what they are meant to be."""
    upload = replace(new_upload(metadata={key: name}), content_type=content_type)
    headers = presentation.headers(presentation.presented(upload, content_type, inline=inline))
    for value in headers.values():
        assert re.fullmatch(r"[ -~]+", value)
    kind, options = parse_options_header(headers["Content-Disposition"])
    assert kind in {"attachment", "inline"}
    assert set(options) == {"filename"}
    assert options["filename"] == presentation.safe_name(name or upload.filepath)
    assert headers["Content-Type"] in {presentation.safe_type(content_type)}


@given(st.text())
def test_any_name_becomes_a_name(name: str) -> None:
    """Short, visible, in no folder, and as it is when it is made one again."""
    made = presentation.safe_name(name)
    assert 0 < len(made.encode()) <= 200
    assert not set(made) & set('/\\<>:"|?*\r\n\0')
    assert made[0] not in " ."
    assert made[-1] not in " ."
    assert presentation.safe_name(made) == made


@given(st.text(st.characters(max_codepoint=127)))
def test_any_type_becomes_a_known_one(content_type: str) -> None:
    """None that a browser runs."""
    assert not re.search("html|xml|script|css", presentation.safe_type(content_type))
