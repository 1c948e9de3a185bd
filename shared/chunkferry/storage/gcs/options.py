"""``GcsOptions``: what a ``gs://`` URL can say. Pure."""

from __future__ import annotations

from pydantic import Field

from chunkferry.storage import url as urls


class GcsOptions(urls.Options):
    """Options of a ``gs://`` URL."""

    endpoint_url: urls.Endpoint = Field("", description="where the API is; Google's if empty")
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
