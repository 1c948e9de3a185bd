"""tus 1.0.0 without its transport: what a request asks for, and what an answer says of an upload.

Pure: reads headers, looks at snapshots, does no I/O. Rules are those of
https://tus.io/protocols/resumable-upload (version 1.0.0), named by their section.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chunkferry.checksums import ALGORITHMS
from chunkferry.errors import ChunkferryError
from chunkferry.tus import headers
from chunkferry.tus.headers import BadHeader, Checksum, Concat
from chunkferry.upload import ChunkUpload

VERSION: Final = "1.0.0"
#: The media type of a body that holds bytes of an upload.
OCTETS: Final = "application/offset+octet-stream"

#: What every store can have.
_EXTENSIONS: Final = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "termination",
    "checksum",
)

#: What pages may send and read, of this protocol, of Resumable Uploads for HTTP, and of what lies
#: around both: tus-js-client and Uppy use all of these.
REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Digest",
    "Content-Disposition",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "Repr-Digest",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Incomplete",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
)
RESPONSE_HEADERS: Final = (
    "Accept-Patch",
    "Content-Disposition",
    "Location",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Expires",
    "Upload-Incomplete",
    "Upload-Length",
    "Upload-Limit",
    "Upload-Metadata",
    "Upload-Offset",
    "X-Request-ID",
)


class WrongVersion(ChunkferryError):
    """The client speaks another version of tus (412, with ``Tus-Version``)."""

    code = "tus_version"
    http_status = 412

    def __init__(self, version: str) -> None:
        came = f"not {version[:20]!r}" if version else "or Upload-Complete ?0 or ?1; none came"
        super().__init__(f"Tus-Resumable must be {VERSION}, {came}")
        self.headers = {"Tus-Version": VERSION}


class WrongMediaType(ChunkferryError):
    """The body is not said to be bytes of an upload (415)."""

    code = "media_type"
    http_status = 415

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"Content-Type must be {expected}, not {actual[:80]!r}")


class NoPatchOfFinal(ChunkferryError):
    """A final upload gets its bytes from its partial uploads (section Concatenation, 403)."""

    code = "final_upload"
    http_status = 403

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"upload {upload_id} joins partial uploads and takes no other bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An upload as a POST asks for it."""

    #: Bytes of the whole file; None if the client says it later, or joins partial uploads.
    length: int | None
    metadata: Mapping[str, str]
    concat: Concat | None
    #: True if the body holds the first bytes (section Creation With Upload).
    has_bytes: bool
    #: Of the body; None if none was sent along.
    checksum: Checksum | None
    #: True if the checksum follows the body (section Checksum).
    checksum_follows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """Bytes as a PATCH brings them."""

    offset: int
    #: Bytes of the whole file, if the client says it only now.
    length: int | None
    checksum: Checksum | None
    checksum_follows: bool


def require_version(request: Mapping[str, str]) -> None:
    """Raise ``WrongVersion`` unless the request is of this version."""
    version = request.get("tus-resumable", "")
    if version != VERSION:
        raise WrongVersion(version)


def wanted(request: Mapping[str, str]) -> Wanted:
    """What a POST asks for.

    Raises:
        BadHeader: a header is malformed, or lengths are missing or contradict one another.
        WrongMediaType: there is a body, and it is not said to be bytes of an upload.
    """
    concat = headers.concat(request.get("upload-concat"))
    return Wanted(
        length=_wanted_length(request, concat),
        metadata=headers.metadata(request.get("upload-metadata")),
        concat=concat,
        has_bytes=_has_bytes(request, concat),
        checksum=_checksum(request),
        checksum_follows=_checksum_follows(request),
    )


def _wanted_length(request: Mapping[str, str], concat: Concat | None) -> int | None:
    length, deferred = request.get("upload-length"), request.get("upload-defer-length")
    if concat is not None and concat.is_final:
        if length is not None:
            raise BadHeader("Upload-Length", "absent from a final upload", length)
        return None
    if deferred not in {None, "1"}:
        raise BadHeader("Upload-Defer-Length", "1", deferred)
    if deferred is None:
        return headers.number("Upload-Length", length)
    if length is not None:
        raise BadHeader("Upload-Length", "absent beside Upload-Defer-Length", length)
    return None


def _has_bytes(request: Mapping[str, str], concat: Concat | None) -> bool:
    if _media_type(request) == OCTETS:
        if concat is not None and concat.is_final:
            raise BadHeader("Content-Type", "absent from a final upload", OCTETS)
        return True
    if request.get("content-length", "0") != "0" or "transfer-encoding" in request:
        raise WrongMediaType(OCTETS, _media_type(request))
    return False


def addition(request: Mapping[str, str]) -> Addition:
    """What a PATCH brings.

    Raises:
        WrongMediaType: the body is not said to be bytes of an upload.
        BadHeader: a header is missing or malformed.
    """
    if _media_type(request) != OCTETS:
        raise WrongMediaType(OCTETS, _media_type(request))
    length = request.get("upload-length")
    return Addition(
        offset=headers.number("Upload-Offset", request.get("upload-offset")),
        length=None if length is None else headers.number("Upload-Length", length),
        checksum=_checksum(request),
        checksum_follows=_checksum_follows(request),
    )


def _media_type(request: Mapping[str, str]) -> str:
    return request.get("content-type", "").partition(";")[0].strip().lower()


def _checksum(request: Mapping[str, str]) -> Checksum | None:
    value = request.get("upload-checksum")
    return None if value is None else headers.checksum(value)


def _checksum_follows(request: Mapping[str, str]) -> bool:
    names = {name.strip().lower() for name in request.get("trailer", "").split(",")}
    return "upload-checksum" in names


def about_server(*, max_size: int | None, concatenates: bool, trailers: bool) -> dict[str, str]:
    """What an OPTIONS request is told (section OPTIONS).

    Args:
        max_size: most bytes of an upload; None for no limit.
        concatenates: whether the store lets uploads be joined.
        trailers: whether the HTTP server hands the fields on that follow a body.
    """
    extensions = [*_EXTENSIONS]
    if trailers:
        extensions.append("checksum-trailer")
    if concatenates:
        extensions += ["concatenation", "concatenation-unfinished"]
    about = {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(extensions),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }
    return about if max_size is None else {**about, "Tus-Max-Size": str(max_size)}


def about_expiry(upload: ChunkUpload) -> dict[str, str]:
    """When an unfinished upload is given up (section Expiration); nothing of a received one."""
    if upload.length == upload.received:
        return {}
    return {"Upload-Expires": headers.http_date(upload.expiry)}


def about_upload(upload: ChunkUpload, offset: int, concat: str | None) -> dict[str, str]:
    """What a HEAD request is told (sections HEAD, Creation and Concatenation).

    Args:
        upload: the upload as it is now.
        offset: where the client is to go on; not told of a final upload that is not joined yet.
        concat: what its ``Upload-Concat`` said when it was begun.
    """
    about = {"Cache-Control": "no-store", **about_expiry(upload)}
    if not upload.sources or offset == upload.length:
        about["Upload-Offset"] = str(offset)
    if concat is not None:
        about["Upload-Concat"] = concat
    if upload.length is not None:
        about["Upload-Length"] = str(upload.length)
    elif not upload.sources:
        about["Upload-Defer-Length"] = "1"
    if upload.metadata:
        about["Upload-Metadata"] = headers.format_metadata(upload.metadata)
    return about
