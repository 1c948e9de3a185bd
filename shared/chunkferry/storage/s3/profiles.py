"""What differs among the servers that speak S3: one table. Pure.

``profile=r2`` in a store's URL picks a row; options that the URL names win over it. ``doctor``
tries the server and says where the two disagree. Every row takes parts of 5 MiB and more, and up
to 10 000 of them, which is what the part grid keeps to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Checksums = Literal["when_supported", "when_required"]
AddressingStyle = Literal["path", "virtual", "auto"]

#: Where there is no endpoint, and where there is one.
AWS: Final = "aws"
GENERIC: Final = "generic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of server."""

    title: str
    #: Whether the server knows CRC32C, of parts and of whole objects made of parts. SDKs send
    #: checksums by themselves since January 2025, which many servers refuse.
    checksums: Checksums = "when_required"
    #: The server honours ``If-None-Match: *`` on PUT, so that of two writers one wins.
    conditional_writes: bool = False
    #: Bucket in the path or in the host name.
    addressing_style: AddressingStyle = "path"
    #: All parts but the last must have one size.
    equal_parts: bool = False
    #: The ETag of an object that was put in one request, not encrypted by a key, is its MD5.
    md5_etags: bool = False
    #: Where the row comes from.
    source: str


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        AWS: Profile(
            title="AWS S3",
            checksums="when_supported",
            conditional_writes=True,
            addressing_style="auto",
            md5_etags=True,
            source="Amazon S3 User Guide: Checking object integrity; Conditional requests",
        ),
        GENERIC: Profile(
            title="any other server: the least of all",
            source="boto3 issue 4392 and botocore 1.36: default checksums",
        ),
        "r2": Profile(
            title="Cloudflare R2",
            conditional_writes=True,
            equal_parts=True,
            md5_etags=True,
            source="Cloudflare R2 docs: Multipart upload; S3 API extensions (conditional PUT)",
        ),
        "b2": Profile(
            title="Backblaze B2",
            source="Backblaze docs: S3-Compatible API; s3transfer issue 327 (checksum headers)",
        ),
        "gcs": Profile(
            title="Google Cloud Storage, XML API",
            source="Google Cloud docs: XML API multipart uploads; interoperability with S3",
        ),
        "ceph": Profile(
            title="Ceph RGW",
            conditional_writes=True,
            md5_etags=True,
            source="our contract suite, on RGW 16.2",
        ),
        "minio": Profile(
            title="MinIO",
            md5_etags=True,
            source="MinIO docs: S3 API compatibility",
        ),
        "seaweedfs": Profile(
            title="SeaweedFS",
            source="SeaweedFS wiki: Amazon S3 API",
        ),
    }
)
