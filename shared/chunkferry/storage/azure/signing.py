"""Signed URLs (SAS): by the account's key, or by a key that Azure lends to a user."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from azure.storage.blob import BlobSasPermissions, generate_blob_sas

from chunkferry.errors import StoreRefused
from chunkferry.services import SignedUrlConfig
from chunkferry.storage import disposition
from chunkferry.storage import lifetime as lifetimes
from chunkferry.storage.azure import errors

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

    from chunkferry.storage.azure.container import Container


def reading(
    container: Container, filepath: str, lifetime: timedelta, config: SignedUrlConfig
) -> str:
    """A URL that lets its bearer read the blob.

    Raises:
        StoreRefused: the credentials cannot sign.
    """
    shown = {
        "content_disposition": disposition.header(config) or None,
        "content_type": config.content_type or None,
    }
    return _signed(container, filepath, lifetime, BlobSasPermissions(read=True), shown)


def writing(container: Container, filepath: str, lifetime: timedelta) -> str:
    """A URL that lets its bearer store the blob, with any type.

    Raises:
        StoreRefused: the credentials cannot sign.
    """
    return _signed(container, filepath, lifetime, BlobSasPermissions(create=True, write=True), {})


def _signed(
    container: Container,
    filepath: str,
    lifetime: timedelta,
    permission: BlobSasPermissions,
    shown: dict[str, Any],
) -> str:
    key = container.key(filepath)
    end = datetime.now(UTC) + lifetimes.check(lifetime)
    action = f"signing a URL of {filepath!r}"
    with errors.translated(action):
        service = container.service()
        signature = generate_blob_sas(
            str(service.account_name),
            container.name,
            key,
            permission=permission,
            expiry=end,
            **_signer(service, end, action),
            **shown,
        )
        # What was asked for has no signature in its URL; a SAS as credential would be there.
        return f"{container.blob(key).url.partition('?')[0]}?{signature}"


def _signer(service: BlobServiceClient, end: datetime, action: str) -> dict[str, Any]:
    """Arguments that say who signs."""
    credential = service.credential
    if key := getattr(credential, "account_key", None):
        return {"account_key": key}
    if not hasattr(credential, "get_token"):
        msg = f"{action}: these credentials cannot sign; an account key or an identity can"
        raise StoreRefused(msg)
    # Clocks differ by a little.
    start = datetime.now(UTC) - timedelta(minutes=5)
    return {"user_delegation_key": service.get_user_delegation_key(start, end)}
