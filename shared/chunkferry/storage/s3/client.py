"""The boto3 client of a store, bounded in time. Knows no object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from chunkferry.storage.s3.options import S3Options
    from chunkferry.storage.s3.profiles import AddressingStyle

#: Also bounds each write to a fresh connection: urllib3 sets the read timeout only afterwards.
CONNECT_SECONDS: Final = 3
#: Tries of one request: both fit a lease of 30 s, with the time-out that is the default. They
#: bridge a broken connection or one answer of 5xx; whatever lasts longer is the caller's, which for
#: a worker is its backoff per upload. So nothing else in this package tries a request again, but
#: for bodies that break while they are read, where botocore does not.
ATTEMPTS: Final = 2


def addressing_style(options: S3Options, bucket: str) -> AddressingStyle:
    """Where the bucket's name goes.

    With "auto", boto3 signs URLs for the global endpoint, which redirects to the bucket's region,
    where the signature does not fit any more. Names with a dot fit no certificate as a host.
    """
    if options.endpoint_url or options.addressing_style != "auto" or "." in bucket:
        return options.addressing_style
    return "virtual"


def connect(options: S3Options, bucket: str) -> S3Client:
    """A client for ``bucket``."""
    # A session of its own: the default one is not thread-safe.
    session = boto3.session.Session(
        profile_name=options.aws_profile or None, region_name=options.region or None
    )
    region = options.region or session.region_name
    if not region and options.endpoint_url:
        # Servers other than AWS accept any, but the signature needs one.
        region = "us-east-1"
    return session.client(
        "s3",
        endpoint_url=options.endpoint_url or None,
        region_name=region,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=options.read_timeout_seconds,
            # Also what presigned URLs are signed with: boto3's own choice for them is still v2.
            signature_version="s3v4",
            # "standard" tries again: throttling, 500, 502, 503, 504, and connections that fail.
            # Named here, so that neither AWS_RETRY_MODE nor AWS_MAX_ATTEMPTS changes it.
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=options.connections,
            tcp_keepalive=True,
            request_checksum_calculation=options.checksums,
            response_checksum_validation=options.checksums,
            s3={
                "addressing_style": addressing_style(options, bucket),
                # The signature's SHA-256 of the body costs half as much as Content-MD5 (0.5
                # against 1.3 CPU seconds per GiB) and protects the same. With a CRC32C of the
                # body it would be a second checksum.
                "payload_signing_enabled": not options.sends_crc32c,
            },
        ),
    )
