"""Signed URLs, version 4: by a private key, or by Google's IAM for those who have none."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import google.auth.transport.requests
from google.auth.credentials import Signing

from chunkferry.errors import StoreRefused
from chunkferry.services import SignedUrlConfig
from chunkferry.storage import disposition
from chunkferry.storage import lifetime as lifetimes
from chunkferry.storage.gcs import errors

if TYPE_CHECKING:
    from chunkferry.storage.gcs.bucket import Bucket


def reading(bucket: Bucket, filepath: str, lifetime: timedelta, config: SignedUrlConfig) -> str:
    """A URL that lets its bearer read the object.

    Raises:
        StoreRefused: the credentials cannot sign.
    """
    return _signed(
        bucket,
        filepath,
        lifetime,
        method="GET",
        response_disposition=disposition.header(config) or None,
        response_type=config.content_type or None,
    )


def writing(bucket: Bucket, filepath: str, lifetime: timedelta, config: SignedUrlConfig) -> str:
    """A URL that lets its bearer store the object with one PUT.

    Raises:
        StoreRefused: the credentials cannot sign.
    """
    return _signed(
        bucket, filepath, lifetime, method="PUT", content_type=config.content_type or None
    )


def _signed(bucket: Bucket, filepath: str, lifetime: timedelta, **what: str | None) -> str:
    key = bucket.key(filepath)
    lifetimes.check(lifetime)
    action = f"signing a URL of {filepath!r}"
    with errors.translated(action):
        signer = _signer(bucket.client.credentials, action)
        endpoint = bucket.options.endpoint_url
        # The SDK builds the URL with the endpoint, and signs for its host.
        where = {"api_access_endpoint": endpoint} if endpoint else {}
        blob = bucket.client.storage.bucket(bucket.name).blob(key)
        return str(
            blob.generate_signed_url(
                version="v4", expiration=lifetime, scheme="https", **where, **signer, **what
            )
        )


def _signer(credentials: Any, action: str) -> dict[str, Any]:
    """Arguments that say who signs."""
    if isinstance(credentials, Signing):
        return {"credentials": credentials}
    if not hasattr(credentials, "service_account_email"):
        msg = f"{action}: these credentials cannot sign; a service account can"
        raise StoreRefused(msg)
    if not credentials.valid:
        # Only then does a machine's account know its own name.
        credentials.refresh(google.auth.transport.requests.Request())
    return {
        "service_account_email": credentials.service_account_email,
        "access_token": credentials.token,
    }
