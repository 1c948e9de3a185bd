"""``GcsOptions``: what a ``gs://`` URL can say. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from chunkferry.storage import url as urls


class GcsOptions(urls.Options):
    """Options of a ``gs://`` URL."""

    endpoint_url: str = Field("", description="where the API is; Google's if empty")
    anonymous: bool = Field(
        False, description="send no credentials: for emulators and public buckets"
    )
    predefined_acl: str = Field(
        "", description="canned ACL such as bucketOwnerFullControl; the bucket's own if empty"
    )
    storage_class: str = Field("", description="such as NEARLINE; the bucket's own if empty")
    kms_key_name: str = Field(
        "", description="Cloud KMS key of the objects; the bucket's own choice if empty"
    )
    content_type: str = Field(
        "application/octet-stream", description="for uploads that name no type"
    )
    connections: int = Field(32, ge=1, description="connections kept open per process")

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_without_credentials(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
            msg = "must be an http or https URL"
            raise ValueError(msg)
        if parts.username or parts.password:
            msg = "must hold no credentials; they come from the environment"
            raise ValueError(msg)
        return value.rstrip("/")
