"""What a browser is told of an object: its type, its name, and what it may do. Pure.

Type and name come from whoever uploaded it, so neither is believed: what a browser could run is
bytes to save.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from chunkferry.services import SignedUrlConfig
from chunkferry.storage import disposition
from chunkferry.upload import ChunkUpload

#: What is bytes, and no more.
BYTES: Final = "application/octet-stream"
#: Shown by browsers, and never run: no HTML, SVG, XML, script or style sheet.
_INERT: Final = frozenset(
    {
        "audio/aac",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "audio/webm",
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/plain",
        "video/mp4",
        "video/ogg",
        "video/quicktime",
        "video/webm",
    }
)
#: Told by name, so that they are saved as what they are, and never shown: a PDF may hold scripts.
_SAVED: Final = frozenset({"application/pdf", "application/zip"})
#: With every object, whatever its type. Sandboxed even where a browser shows it all the same; no
#: script of another site gets at it; and no cache keeps it for others, or without asking again
#: (which costs no bytes), because a download needs permission.
SAFE: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
    "Cache-Control": "private, no-cache",
}

#: Metadata that tus clients send a file's name in (Uppy and tus-js-client's examples).
_NAMES: Final = ("filename", "name")
#: Where no name is left of a name.
_NAMELESS: Final = "download"
#: What Windows refuses in names.
_REFUSED: Final = re.compile(r'[<>:"|?*]')
#: Bytes of a name, which most file systems bound by 255.
_LONGEST: Final = 200
_LONGEST_SUFFIX: Final = 20


def safe_type(content_type: str) -> str:
    """``content_type``, if it is known to be harmless; else that of mere bytes."""
    essence = content_type.partition(";")[0].strip().lower()
    if essence == "text/plain":
        # Named, for some browsers guess one in which the text is something else.
        return "text/plain; charset=utf-8"
    return essence if essence in _INERT | _SAVED else BYTES


def safe_name(name: str) -> str:
    """``name`` as a file on anybody's disk can have it: no folders, no tricks, some name.

    Without characters that cannot be seen, such as those that turn the direction of writing and
    so make ``exe.jpg`` of ``gpj.exe``.
    """
    last = re.split(r"[/\\]", name)[-1]
    seen = "".join(
        " " if unicodedata.category(char).startswith("Z") else char
        for char in last
        if not unicodedata.category(char).startswith("C")
    )
    # Leading dots hide a file; Windows drops trailing ones.
    return _bounded(_REFUSED.sub("_", seen).strip(" .")) or _NAMELESS


def presented(upload: ChunkUpload, stored_type: str = "", *, inline: bool) -> SignedUrlConfig:
    """How to answer with the object of ``upload``.

    Args:
        upload: a complete one.
        stored_type: what the store says; counts where the upload has no type.
        inline: show it, if its type is harmless; else, and by default, it is saved.
    """
    content_type = safe_type(upload.content_type or stored_type)
    is_inert = content_type.partition(";")[0] in _INERT
    given = next(filter(None, map(upload.metadata.get, _NAMES)), upload.filepath)
    return SignedUrlConfig(
        download=not (inline and is_inert),
        filename=safe_name(given),
        content_type=content_type,
    )


def headers(config: SignedUrlConfig) -> dict[str, str]:
    """The headers that answer with an object as ``config`` says."""
    return {
        **SAFE,
        "Content-Type": config.content_type,
        "Content-Disposition": disposition.header(config),
    }


def _bounded(name: str) -> str:
    """``name``, shortened before its suffix."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix.encode()) > _LONGEST_SUFFIX:
        stem, dot, suffix = name, "", ""
    room = _LONGEST - len((dot + suffix).encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(" .") + dot + suffix
