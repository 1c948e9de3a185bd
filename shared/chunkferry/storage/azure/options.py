"""``AzureOptions``: what an ``az://`` URL can say. Pure."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from chunkferry.storage import url as urls


class AzureOptions(urls.Options):
    """Options of an ``az://`` URL."""

    account: str = Field(
        "", description="storage account; if empty, `AZURE_STORAGE_ACCOUNT` or the connection's"
    )
    endpoint_url: str = Field(
        "", description="where the API is; `https://<account>.blob.core.windows.net` if empty"
    )
    tier: Literal["", "Hot", "Cool", "Cold", "Archive"] = Field(
        "", description="access tier of the objects; the account's own if empty"
    )
    encryption_scope: str = Field("", description="encryption scope of the objects")
    content_type: str = Field(
        "application/octet-stream", description="for uploads that name no type"
    )

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_without_credentials(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
            msg = "must be an http or https URL"
            raise ValueError(msg)
        if parts.username or parts.password or parts.query:
            msg = "must hold no credentials; they come from the environment"
            raise ValueError(msg)
        return value.rstrip("/")
