"""``S3Options``: what an ``s3://`` URL can say. Pure."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from chunkferry.storage import url as urls
from chunkferry.storage.s3 import profiles
from chunkferry.storage.s3.profiles import PROFILES, AddressingStyle, Checksums, Profile


class S3Options(urls.Options):
    """Options of an ``s3://`` URL.

    The defaults of ``checksums``, ``conditional_writes`` and ``addressing_style`` are those of
    ``profile``.
    """

    endpoint_url: urls.Endpoint = Field("", description="where the API is; AWS if empty")
    region: str = Field("", description="AWS region; boto3's own choice if empty")
    profile: str = Field(
        profiles.AWS,
        description="kind of server: "
        + ", ".join(f"`{name}`" for name in PROFILES)
        + "; `generic` with endpoint_url",
    )
    aws_profile: str = Field("", description="profile of the shared credentials file, for boto3")
    addressing_style: AddressingStyle = Field(
        "auto", description="bucket in the path or in the host name"
    )
    checksums: Checksums = Field(
        "when_supported",
        description="`when_supported`: CRC32C of each part and of the object; `when_required`: "
        "SHA-256 of each request's body, which every server knows",
    )
    conditional_writes: bool = Field(
        True,
        description="the server honours If-None-Match on PUT: small new objects take one request",
    )
    sse: Literal["", "AES256", "aws:kms", "aws:kms:dsse"] = Field(
        "", description="encryption at rest; the bucket's own choice if empty"
    )
    sse_kms_key_id: str = Field("", description="key for `sse=aws:kms`")
    storage_class: str = Field("", description="such as STANDARD_IA")
    acl: str = Field("", description="canned ACL such as bucket-owner-full-control")
    tags: str = Field("", description="object tags as a query string, percent-encoded once more")
    content_type: str = Field(
        "application/octet-stream", description="for uploads that name no type"
    )
    exclusive: bool = Field(
        False,
        description="without a prefix: the bucket is chunkferry's alone, and old unfinished "
        "uploads in it may be removed",
    )
    connections: int = Field(32, ge=1, description="connections kept open per process")
    read_timeout_seconds: float = Field(
        13,
        gt=0,
        description="a server that stays silent for longer is taken for dead; two such silences "
        "should fit `lease_seconds`",
    )

    @field_validator("profile")
    @classmethod
    def _known_profile(cls, value: str) -> str:
        if value not in PROFILES:
            msg = f"must be one of {', '.join(PROFILES)} (boto3's own is aws_profile)"
            raise ValueError(msg)
        return value

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_profile(cls, values: dict[str, str]) -> dict[str, object]:
        name = values.get("profile", profiles.GENERIC if values.get("endpoint_url") else "")
        profile = PROFILES.get(name or profiles.AWS)
        if profile is None:  # refused by its own validator
            return dict(values)
        defaults: dict[str, object] = {
            "profile": name or profiles.AWS,
            "addressing_style": profile.addressing_style,
            "checksums": profile.checksums,
            "conditional_writes": profile.conditional_writes,
        }
        return defaults | values

    @model_validator(mode="after")
    def _key_needs_kms(self) -> Self:
        if self.sse_kms_key_id and not self.sse.startswith("aws:kms"):
            msg = "sse_kms_key_id needs sse=aws:kms"
            raise ValueError(msg)
        return self

    @property
    def kind(self) -> Profile:
        """What is known of this kind of server."""
        return PROFILES[self.profile]

    @property
    def sends_crc32c(self) -> bool:
        """True where parts and object carry their CRC32C."""
        return self.checksums == "when_supported"
