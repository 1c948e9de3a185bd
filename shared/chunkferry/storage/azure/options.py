"""``AzureOptions``: what an ``az://`` URL can say. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chunkferry.storage import url as urls


class AzureOptions(urls.Options):
    """Options of an ``az://`` URL."""

    account: str = Field(
        "", description="storage account; if empty, `AZURE_STORAGE_ACCOUNT` or the connection's"
    )
    endpoint_url: urls.Endpoint = Field(
        "", description="where the API is; `https://<account>.blob.core.windows.net` if empty"
    )
    tier: Literal["", "Hot", "Cool", "Cold", "Archive"] = Field(
        "", description="access tier of the objects; the account's own if empty"
    )
    encryption_scope: str = Field("", description="encryption scope of the objects")
    content_type: str = Field(
        "application/octet-stream", description="for uploads that name no type"
    )
