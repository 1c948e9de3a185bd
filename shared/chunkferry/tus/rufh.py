"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload-12) without its transport.

Pure: reads header fields, looks at snapshots, does no I/O. Rules are named by their section of
that draft; ``VERSIONS`` has those of it that clients speak.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import http_sf

from chunkferry.errors import LengthMismatch, OffsetMismatch, UploadClosed
from chunkferry.parts import MAX_LENGTH
from chunkferry.state import State
from chunkferry.tus import digests
from chunkferry.tus.digests import Digest
from chunkferry.tus.fields import Fields
from chunkferry.tus.headers import BadHeader
from chunkferry.tus.protocol import WrongMediaType
from chunkferry.upload import ChunkUpload

#: The media type of a PATCH that appends (section 6).
PARTIAL: Final = "application/partial-upload"
#: The field in which client and server name their version of the draft (appendix).
INTEROP: Final = "Upload-Draft-Interop-Version"
#: Status of the interim answer that tells where an upload can be resumed (section 5).
RESUMPTION_SUPPORTED: Final = 104

#: What browsers may send, and what scripts may read of an answer, beside what tus has.
REQUEST_HEADERS: Final = (
    "Content-Digest",
    "Content-Disposition",
    "Repr-Digest",
    "Upload-Complete",
    INTEROP,
    "Upload-Incomplete",
)
RESPONSE_HEADERS: Final = (
    "Accept-Patch",
    INTEROP,
    "Upload-Complete",
    "Upload-Incomplete",
    "Upload-Limit",
    "Want-Content-Digest",
    "Want-Repr-Digest",
)

#: States of an upload that takes no part in the protocol any more.
_DEACTIVATED: Final = frozenset({State.ABORTING, State.EXPIRED, State.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """How one interop version of the draft says the same."""

    #: Its number.
    number: int
    #: The Boolean field that tells whether the content ends the file …
    completeness: str = "Upload-Complete"
    #: … which once told whether it does not.
    is_inverted: bool = False
    #: True if a PATCH has to be of the media type ``PARTIAL``.
    has_media_type: bool = True
    #: True if interim answers may tell of progress.
    has_progress: bool = True

    def completes(self, fields: Fields) -> bool | None:
        """Whether the content ends the file; None if the field is absent or to be ignored."""
        value = fields.boolean(self.completeness)
        return None if value is None else value is not self.is_inverted

    def completeness_field(self, *, is_complete: bool) -> dict[str, str]:
        """The field, as an answer has it."""
        return {self.completeness: http_sf.ser(is_complete is not self.is_inverted)}


#: By interop version. -01 is spoken by iOS 17, -03 and -05 by tus-js-client, -12 is the newest
#: that is known in full; what differs else is the client's business.
VERSIONS: Final = {
    version.number: version
    for version in (
        Version(
            number=3,
            completeness="Upload-Incomplete",
            is_inverted=True,
            has_media_type=False,
            has_progress=False,
        ),  # -01
        Version(number=4, has_media_type=False, has_progress=False),  # -02
        Version(number=5, has_media_type=False),  # -03
        Version(number=6),  # -04, -05
        Version(number=7),  # -06 to -08
        Version(number=8),  # -09 to -11
        Version(number=9),  # -12
    )
}
#: Also for whoever names no version, as the clients of a finished RFC will.
NEWEST: Final = VERSIONS[9]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an upload may be (section 4.1.4)."""

    #: Most bytes of the whole file.
    max_size: int = MAX_LENGTH
    #: Seconds that an unfinished upload is kept from now on; None if nothing ends its time.
    max_age: int | None = None

    def field(self) -> str:
        """The value of ``Upload-Limit``; never empty, because the draft forbids that."""
        members = {"max-size": self.max_size, "max-age": self.max_age}
        return http_sf.ser({key: value for key, value in members.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that brings content: the beginning of an upload, or more of one."""

    version: Version
    #: Number of the version that the client names, known or not; None if it names none.
    named: int | None
    #: Where the content belongs; None if the request begins an upload.
    offset: int | None
    #: True if the file ends where the content ends.
    completes: bool
    #: Bytes of the whole file, as far as the fields tell; None if they do not.
    length: int | None
    #: Bytes of the content; None if that is not known before they have come.
    announced: int | None
    #: Of the file, where the request begins an upload; empty if the client does not say.
    content_type: str = ""
    #: The same, of its name. Not to be trusted.
    filename: str = ""
    #: Of the content; all have to hold before any byte counts.
    digests: tuple[Digest, ...] = ()

    def check(self, upload: ChunkUpload, offset: int) -> None:
        """See whether ``upload``, which stands at ``offset``, can take the content.

        An upload that is complete takes an empty one: a client that missed the last answer may
        ask for it again (section 4.4).

        Raises:
            OffsetMismatch: the content does not begin at ``offset`` (section 4.4).
            LengthMismatch: a length contradicts what is known (section 4.1.3), or the content
                goes beyond it (section 4.4).
            UploadClosed: the upload is deactivated.
        """
        require_active(upload)
        if self.offset is not None and self.offset != offset:
            raise OffsetMismatch(offset, self.offset)
        _require_same(self.length, upload.length)
        end = offset + (self.announced or 0)
        for length in (self.length, upload.length):
            if length is not None and end > length:
                raise LengthMismatch(f"the file has {length} bytes, but the content ends at {end}")

    def length_at(self, end: int) -> int | None:
        """How long the file is, now that all content has come; None if nobody has said.

        Args:
            end: offset of the byte that would follow the content.

        Raises:
            LengthMismatch: the client says the file ends here, and that it is longer.
        """
        if not self.completes:
            return self.length
        _require_same(end, self.length)
        return end


def require_active(upload: ChunkUpload) -> None:
    """Raise ``UploadClosed`` if the upload was cancelled or has expired (sections 4.1.1, 4.5)."""
    if upload.state in _DEACTIVATED:
        raise UploadClosed(upload.upload_id, upload.state, "go on")


def speaks(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if a request with content is one of this protocol, and not of tus 1.0.0.

    Of requests without content, those are that have no ``Tus-Resumable``.

    Args:
        headers: of the ASGI scope.
    """
    fields = Fields(headers)
    if "tus-resumable" in fields:
        return False
    return (
        _version(fields).completes(fields) is not None
        or fields.media_type() == PARTIAL
        or fields.integer(INTEROP) is not None
    )


def version_of(headers: Iterable[tuple[bytes, bytes]]) -> Version:
    """How to answer a request without content, such as HEAD and DELETE."""
    return _version(Fields(headers))


def names_version(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if the client says that it speaks the draft, in whatever version."""
    return Fields(headers).integer(INTEROP) is not None


def read(method: str, headers: Iterable[tuple[bytes, bytes]]) -> Request:
    """What a request with content says; a PATCH appends, any other method begins an upload.

    Args:
        method: of the request.
        headers: of the ASGI scope.

    Raises:
        WrongMediaType: a PATCH that is not ``PARTIAL`` (section 4.4).
        BadHeader: a field that has to be there is not, or is one to be ignored; or a digest
            cannot be checked.
        LengthMismatch: the fields contradict one another (section 4.1.3).
    """
    fields = Fields(headers)
    version = _version(fields)
    appends = method == "PATCH"
    if appends and version.has_media_type and fields.media_type() != PARTIAL:
        raise WrongMediaType(PARTIAL, fields.media_type())
    completes = version.completes(fields)
    if completes is None and not appends:
        raise BadHeader(version.completeness, "?1 or ?0", fields.text(version.completeness))
    offset = _offset(fields) if appends else None
    announced = fields.content_length()
    return Request(
        version=version,
        named=fields.integer(INTEROP),
        offset=offset,
        # tus-js-client leaves it out of the empty PATCH that ends a stream. Not to complete an
        # upload that should be is mended by one more request; the other way round is not.
        completes=bool(completes),
        length=_length(fields, offset or 0, announced, completes=bool(completes)),
        announced=announced,
        content_type="" if appends else fields.text("content-type") or "",
        filename="" if appends else fields.filename(),
        digests=_digests(fields, is_whole=bool(completes) and not appends),
    )


def _version(fields: Fields) -> Version:
    return VERSIONS.get(fields.integer(INTEROP) or NEWEST.number, NEWEST)


def _offset(fields: Fields) -> int:
    offset = fields.integer("Upload-Offset")
    if offset is None:
        raise BadHeader("Upload-Offset", "a number of bytes", fields.text("Upload-Offset"))
    return offset


def _length(fields: Fields, offset: int, announced: int | None, *, completes: bool) -> int | None:
    """The two indicators of section 4.1.3; they must agree."""
    said = fields.integer("Upload-Length")
    implied = offset + announced if completes and announced is not None else None
    _require_same(implied, said)
    return implied if said is None else said


def _digests(fields: Fields, *, is_whole: bool) -> tuple[Digest, ...]:
    """``Repr-Digest`` is of the whole file, and tells of the content only if that is the same."""
    of_content = digests.read(fields, "Content-Digest")
    return of_content + digests.read(fields, "Repr-Digest") if is_whole else of_content


def _require_same(length: int | None, known: int | None) -> None:
    if None not in (length, known) and length != known:
        raise LengthMismatch(f"the file has {known} bytes, not {length}")


# --- answers ---------------------------------------------------------------------------------


def limits(upload: ChunkUpload, max_size: int | None, now: datetime) -> Limits:
    """The limits of ``upload`` at ``now``; one that is received is kept without its client."""
    left = max(0, int((upload.expiry - now).total_seconds()))
    is_received = upload.length == upload.received
    return Limits(
        max_size=MAX_LENGTH if max_size is None else max_size,
        max_age=None if is_received else left,
    )


def about_server(most: Limits) -> dict[str, str]:
    """What an OPTIONS request is told (section 4.1.4; ``Accept-Patch`` until version 8)."""
    return {"Accept-Patch": PARTIAL, "Upload-Limit": most.field()}


def about_upload(
    version: Version, upload: ChunkUpload, offset: int, most: Limits
) -> dict[str, str]:
    """What a HEAD request is told (section 4.3).

    Args:
        version: the client's.
        upload: the upload as it is now.
        offset: where the client is to go on.
        most: the upload's limits.
    """
    length = {} if upload.length is None else {"Upload-Length": str(upload.length)}
    return {
        "Cache-Control": "no-store",
        "Upload-Offset": str(offset),
        "Upload-Limit": most.field(),
        **length,
        **version.completeness_field(is_complete=offset == upload.length),
    }


def answer_headers(
    request: Request, *, offset: int, location: str | None, most: Limits
) -> dict[str, str]:
    """What the answer to a request tells whose content was taken in whole.

    Args:
        request: the request.
        offset: where the upload stands.
        location: the upload's URL, where the request began it (section 4.2).
        most: the upload's limits.
    """
    where = {} if location is None else {"Location": location}
    return {
        **where,
        # Clients may go without it since version 7; tus-js-client does not.
        "Upload-Offset": str(offset),
        "Upload-Limit": most.field(),
        **request.version.completeness_field(is_complete=request.completes),
    }


def interim_headers(request: Request, *, location: str, most: Limits) -> dict[str, str] | None:
    """What the interim answer ``RESUMPTION_SUPPORTED`` tells whoever begins an upload.

    ASGI knows no interim answers, but for 103: only a server that offers an extension can send
    this one.

    Returns:
        The fields, or None where there must be no such answer: the client names no version of
        the draft, or an unknown one (appendix "Draft Version Identification").
    """
    if request.named not in VERSIONS:
        return None
    return {
        INTEROP: str(request.named),
        "Location": location,
        "Upload-Limit": most.field(),
    }


def progress_headers(request: Request, offset: int) -> dict[str, str] | None:
    """What such an answer tells later, while content comes: how far it has come.

    Returns:
        The fields, without ``Location`` (section 4.4); None as for ``interim_headers``, and for
        versions that have no such answer.
    """
    if request.named not in VERSIONS or not request.version.has_progress:
        return None
    return {INTEROP: str(request.named), "Upload-Offset": str(offset)}
