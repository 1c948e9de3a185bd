"""``S3FileService``: one upload as an S3 multipart upload, fenced by its session.

The session's id is the fence: whatever a worker that lost its lease sends late either repeats
the same bytes or finds no session. The object is made from the receipts that were recorded,
never from the server's own list of parts, which late requests could have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from chunkferry.errors import (
    IntegrityError,
    SessionLost,
    StoreRefused,
    StoreUnavailable,
)
from chunkferry.parts import MAX_PART_SIZE
from chunkferry.services import Heartbeat, Part, StoredObject, StoredPart
from chunkferry.storage import body, manifest
from chunkferry.storage.bound import BoundService
from chunkferry.storage.s3 import errors, metadata, receipts

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef, PartTypeDef

    from chunkferry.storage.s3.bucket import Bucket
    from chunkferry.upload import ChunkUpload


class S3FileService(BoundService):
    """One upload into a bucket. Its state is the id of its session."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self._bucket: Final = bucket

    def initialize_chunk(self, upload: ChunkUpload) -> None:
        """Create the multipart upload; the object will carry the upload's id and metadata."""
        self._bound = upload
        arguments = self._bucket.attributes(upload)
        if self._bucket.options.sends_crc32c:
            arguments |= {"ChecksumAlgorithm": "CRC32C", "ChecksumType": "FULL_OBJECT"}
        with errors.translated(f"starting {self._key!r}"):
            answer = self._bucket.client.create_multipart_upload(**self._target, **arguments)
        self._state = answer["UploadId"]

    def upload_part(self, part: Part, heartbeat: Heartbeat) -> str:
        """Upload ``part``; the receipt is its ETag, and whether that is known to be an MD5."""
        self._check_size(part)
        with (
            errors.translated(f"uploading part {part.number} of {self._key!r}"),
            body.sent_with(part.data, heartbeat) as content,
        ):
            answer = self._bucket.client.upload_part(
                **self._target,
                UploadId=self._state,
                PartNumber=part.number,
                # boto3-stubs want a file of bytes; this one gives memoryviews, uncopied.
                Body=content,  # type: ignore[arg-type]
                **self._checksum(part.crc32c),
            )
        return receipts.of(part, answer["ETag"])

    def find_part(self, part: Part) -> str | None:
        """The receipt, if the session has this part with these bytes."""
        try:
            found = self._part_after(part.number - 1)
        except SessionLost:
            return None
        if found is None or found["PartNumber"] != part.number or found["Size"] != len(part.data):
            return None
        same = found.get("ChecksumCRC32C") == receipts.crc32c_text(
            part.crc32c
        ) or receipts.is_md5_of(part, found["ETag"])
        return receipts.of(part, found["ETag"]) if same else None

    def complete_upload(
        self, parts: Sequence[StoredPart], crc32c: int, heartbeat: Heartbeat
    ) -> StoredObject:
        """Make the object of exactly ``parts``, and hold it against them."""
        size = manifest.total_size(parts)
        try:
            # A multipart upload has at least one part; that of an empty file is empty.
            parts = parts or [self._empty_part(heartbeat)]
            heartbeat()
            parts = self._complete(parts, size, crc32c)
        except (SessionLost, StoreUnavailable) as exc:
            # Ceph answers 500 for ever, instead of NoSuchUpload, once the session is gone.
            if not isinstance(exc, SessionLost) and self.has_session():
                raise
            # An earlier call may have succeeded and only its answer was lost.
            found = self._find(size)
            if found is None:
                msg = f"the session of {self._key!r} is gone, and the object is not ours"
                raise SessionLost(msg) from exc
            return found
        heartbeat()
        return self._verified(parts, size, crc32c)

    def find_object(self) -> StoredObject | None:
        """The object, if its metadata has this upload's id and its size is right."""
        upload = self._upload
        return self._find(upload.length) if self._bucket.can_hold(upload.filepath) else None

    def has_session(self) -> bool:
        """True if the server knows the session."""
        try:
            self._part_after(0)
        except SessionLost:
            return False
        return True

    def abandon(self) -> None:
        """Abort the session of this instance."""
        self._bucket.abort(self._key, self._state)

    def cleanup(self, confirm: Heartbeat) -> None:
        """Abort the session, and every other one that is open for this key."""
        if not self._bucket.can_hold(self._upload.filepath):
            return
        if self._state:
            self._bucket.abort(self._key, self._state)
        self._bucket.abort_all(self._key, confirm)

    def can_put_whole(self, length: int) -> bool:
        """True for objects up to 5 GiB where the server honours conditions."""
        return self._bucket.options.conditional_writes and length <= MAX_PART_SIZE

    def put_whole(
        self, upload: ChunkUpload, part: Part, heartbeat: Heartbeat
    ) -> StoredObject | None:
        """Store the object on the condition that there is none at its key.

        A condition on the tag of one that is there would be no fence: tags are digests of the
        content, and content can come back.
        """
        self._bound = upload
        before = self._bucket.head(self._key)
        if before is not None:
            return _described(before) if self._is_ours(before, len(part.data)) else None
        try:
            with (
                errors.translated(f"storing {self._key!r}"),
                body.sent_with(part.data, heartbeat) as content,
            ):
                answer = self._bucket.client.put_object(
                    **self._target,
                    Body=content,  # type: ignore[arg-type] # see upload_part
                    IfNoneMatch="*",
                    **self._bucket.attributes(upload),
                    **self._checksum(part.crc32c),
                )
        except StoreUnavailable:
            # Refused because the key changed: by an earlier try of ours, or by somebody else.
            found = self._find(len(part.data))
            if found is None:
                raise
            return found
        return StoredObject(size=len(part.data), etag=answer["ETag"].strip('"'))

    @property
    def _key(self) -> str:
        return self._bucket.key(self._upload.filepath)

    @property
    def _target(self) -> dict[str, Any]:
        return {"Bucket": self._bucket.name, "Key": self._key}

    def _checksum(self, crc32c: int) -> dict[str, Any]:
        """What a request with a body carries beside its signature."""
        return (
            {"ChecksumCRC32C": receipts.crc32c_text(crc32c)}
            if self._bucket.options.sends_crc32c
            else {}
        )

    def _part_after(self, number: int) -> PartTypeDef | None:
        """The first part at the store with a higher number; None if there is none.

        Raises:
            SessionLost: there is no such session.
        """
        with errors.translated(f"listing the parts of {self._key!r}"):
            answer = self._bucket.client.list_parts(
                **self._target, UploadId=self._state, PartNumberMarker=number, MaxParts=1
            )
        return next(iter(answer.get("Parts", [])), None)

    def _empty_part(self, heartbeat: Heartbeat) -> StoredPart:
        part = Part(number=1, offset=0, data=memoryview(b""), crc32c=0)
        return StoredPart(number=1, size=0, crc32c=0, receipt=self.upload_part(part, heartbeat))

    def _check_size(self, part: Part) -> None:
        """Refuse the first part that the server would refuse all of them for, at the end."""
        size = self._upload.grid.part_size
        if self._bucket.options.kind.equal_parts and part.offset != (part.number - 1) * size:
            msg = (
                f"{self._bucket.options.kind.title} takes parts of one size only, and those of "
                f"{self._key!r} grow from part {part.number - 1} on: announce the file's length, "
                "or use a larger chunk size"
            )
            raise StoreRefused(msg)

    def _complete(
        self, parts: Sequence[StoredPart], size: int, crc32c: int
    ) -> Sequence[StoredPart]:
        """Complete the session; return the parts with the receipts that were accepted."""
        try:
            self._request_completion(parts, size, crc32c)
        except _InvalidPart:
            parts = self._listed_again(parts)
            self._request_completion(parts, size, crc32c)
        return parts

    def _request_completion(self, parts: Sequence[StoredPart], size: int, crc32c: int) -> None:
        whole: dict[str, Any] = {}
        if self._bucket.options.sends_crc32c:
            whole = self._checksum(crc32c) | {"ChecksumType": "FULL_OBJECT", "MpuObjectSize": size}
        named = [{"PartNumber": part.number, "ETag": receipts.etag(part)} for part in parts]
        with errors.translated(f"completing {self._key!r}"):
            try:
                self._bucket.client.complete_multipart_upload(
                    **self._target,
                    UploadId=self._state,
                    MultipartUpload={"Parts": named},  # type: ignore[typeddict-item]
                    **whole,
                )
            except ClientError as exc:
                code = errors.code_of(exc)
                if code == "InvalidPart":
                    msg = f"completing {self._key!r}: the server knows other parts"
                    raise _InvalidPart(msg) from exc
                if code == "BadDigest":
                    msg = f"the parts of {self._key!r} do not add up to what was received"
                    raise IntegrityError(msg) from exc
                raise

    def _listed_again(self, parts: Sequence[StoredPart]) -> Sequence[StoredPart]:
        """``parts`` with the ETags that the server has now for the same bytes.

        A repeat of a part by a dead worker gets a new ETag where ETags are no MD5s (SSE-KMS).

        Raises:
            IntegrityError: a part is missing, or not shown to hold the same bytes.
        """
        with errors.translated(f"listing the parts of {self._key!r}"):
            pages = self._bucket.client.get_paginator("list_parts").paginate(
                **self._target, UploadId=self._state
            )
            found = {part["PartNumber"]: part for page in pages for part in page.get("Parts", [])}
        return [self._same(part, found.get(part.number)) for part in parts]

    def _same(self, part: StoredPart, found: PartTypeDef | None) -> StoredPart:
        if found is not None and found["Size"] == part.size:
            if found["ETag"].strip('"') == receipts.etag(part):
                return part
            if found.get("ChecksumCRC32C") == receipts.crc32c_text(part.crc32c):
                return replace(part, receipt=receipts.dump(found["ETag"]))
        msg = f"part {part.number} of {self._key!r} is not at the store any more as it was stored"
        raise IntegrityError(msg)

    def _verified(self, parts: Sequence[StoredPart], size: int, crc32c: int) -> StoredObject:
        found = self._bucket.head(self._key)
        if found is None:
            msg = f"{self._key!r} was completed, but is not there"
            raise StoreUnavailable(msg)
        expected = {
            "id": (self._upload.upload_id, found["Metadata"].get(metadata.UPLOAD_ID)),
            "size": (size, found["ContentLength"]),
        }
        if found.get("ChecksumType") == "FULL_OBJECT" and "ChecksumCRC32C" in found:
            expected["CRC32C"] = (receipts.crc32c_text(crc32c), found["ChecksumCRC32C"])
        if composite := receipts.composite(parts):
            expected["ETag"] = (composite, found["ETag"].strip('"'))
        for what, (wanted, actual) in expected.items():
            if wanted != actual:
                msg = f"{self._key!r} was completed with {what} {actual}, expected {wanted}"
                raise IntegrityError(msg)
        return _described(found)

    def _find(self, size: int | None) -> StoredObject | None:
        found = self._bucket.head(self._key)
        if found is None or not self._is_ours(found, size):
            return None
        return _described(found)

    def _is_ours(self, found: HeadObjectOutputTypeDef, size: int | None) -> bool:
        carries = found["Metadata"].get(metadata.UPLOAD_ID) == self._upload.upload_id
        return carries and size in {None, found["ContentLength"]}


class _InvalidPart(Exception):
    """The server does not have a part with the ETag it was named with."""


def _described(found: HeadObjectOutputTypeDef) -> StoredObject:
    return StoredObject(size=found["ContentLength"], etag=found["ETag"].strip('"'))
