"""Webhooks: which events there are, what is posted about them, and how it is signed and verified.

Posts nothing, and knows no ledger. Signatures are those of Standard Webhooks 1.0.0
(standardwebhooks.com), so its libraries verify them as well as ``verify`` does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from chunkferry.errors import ChunkferryError
from chunkferry.state import State
from chunkferry.upload import Change, ChunkUpload

_PREFIX: Final = "whsec_"
#: Bytes of a key ("Signature scheme" of the specification: 24 to 64).
_KEY_SIZES: Final = range(24, 65)
_TOLERANCE: Final = timedelta(minutes=5)
_SECONDS: Final = re.compile(r"[0-9]{1,15}")

#: What a change of state is called; the others are steps on the way, which nobody is told of.
_KINDS: Final = {
    State.RECEIVING: "upload.created",
    State.RECEIVED: "upload.received",
    State.COMPLETE: "upload.complete",
    State.FAILED: "upload.failed",
    State.EXPIRED: "upload.expired",
    State.CANCELLED: "upload.cancelled",
}
COMPLETE: Final = _KINDS[State.COMPLETE]
_REQUEUED: Final = "upload.requeued"


class SignatureRefused(ChunkferryError):
    """A request is not from chunkferry, was changed on its way, or is too old."""

    code = "signature_refused"
    http_status = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change of an upload that somebody may be told of."""

    #: The same whenever the event is told: whoever gets it twice can tell.
    event_id: str
    #: Such as ``upload.complete``.
    kind: str
    #: Number of the change.
    index: int
    #: When it happened.
    time: datetime
    #: The upload as it is when it is told.
    upload: ChunkUpload


def events(upload: ChunkUpload) -> Iterator[Event]:
    """What somebody may be told of the upload, in order."""
    before: Change | None = None
    for change in upload.history:
        kind = _kind(before, change)
        if kind is not None:
            yield Event(
                # The state, because a Redis that came back from a failure without the newest
                # change may give its number to another one.
                event_id=f"{upload.upload_id}.{change.index}.{change.state}",
                kind=kind,
                index=change.index,
                time=change.time,
                upload=upload,
            )
        before = change


def _kind(before: Change | None, change: Change) -> str | None:
    again = change.index > 1 and change.state is State.RECEIVING
    if again or (
        before is not None
        and before.state is State.FAILED
        and change.state in {State.RECEIVING, State.RECEIVED}
    ):
        return _REQUEUED
    return _KINDS.get(change.state)


def payload(event: Event) -> bytes:
    """The JSON that is posted of an event."""
    upload = event.upload
    complete = upload.state is State.COMPLETE
    told = {
        "upload_id": upload.upload_id,
        "filepath": upload.filepath,
        "service": upload.service,
        "state": upload.state.value,
        "length": upload.length,
        "received": upload.received,
        "stored": upload.stored,
        "content_type": upload.content_type,
        "metadata": dict(upload.metadata),
        "error": upload.error,
        "error_code": upload.error_code,
        "crc32c": upload.crc32c if complete else None,
        "etag": upload.etag,
    }
    record = {"id": event.event_id, "type": event.kind, "time": event.time.isoformat()}
    return json.dumps({**record, "upload": told}, ensure_ascii=False).encode()


# --- signatures -------------------------------------------------------------------------------


def key(secret: str) -> bytes:
    """The bytes of a secret, which is ``whsec_`` and base64 of 24 to 64 random bytes.

    Raises:
        ValueError: it is not; the text does not quote it.
    """
    try:
        found = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not secret.startswith(_PREFIX) or len(found) not in _KEY_SIZES:
        msg = (
            f"a webhook's secret must be {_PREFIX} and the base64 of {_KEY_SIZES[0]} to"
            f" {_KEY_SIZES[-1]} random bytes"
        )
        raise ValueError(msg) from None
    return found


def signed(event_id: str, body: bytes, secrets: Iterable[str], timestamp: int) -> dict[str, str]:
    """The headers of a request with ``body``; one signature for each secret.

    Args:
        event_id: of the event in ``body``.
        body: what is posted.
        secrets: the newest, and while receivers change over, the one before.
        timestamp: when this try is made, in seconds since 1970.
    """
    signatures = (_signature(key(secret), event_id, timestamp, body) for secret in secrets)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secret: str | Iterable[str],
    *,
    tolerance: timedelta = _TOLERANCE,
) -> dict[str, Any]:
    """What a request tells, if it is genuine. For receivers.

    Args:
        headers: of the request, in any case.
        body: its bytes as they came, not parsed and written anew.
        secret: the secret, or several that are good.
        tolerance: how far the time of the request may be from ours. Older ones may be replayed.

    Returns:
        The event: ``id``, ``type``, ``time`` and ``upload``.

    Raises:
        SignatureRefused: it is not genuine, or not of this time.
        ValueError: a secret is not in the right form.
    """
    given = {name.lower(): value for name, value in headers.items()}
    event_id, stamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not _SECONDS.fullmatch(stamp):
        raise SignatureRefused("expected webhook-timestamp in seconds")
    if abs(time.time() - int(stamp)) > tolerance.total_seconds():
        raise SignatureRefused("webhook-timestamp is too far from our time")
    secrets = [secret] if isinstance(secret, str) else secret
    expected = [_signature(key(text), event_id, int(stamp), body).encode() for text in secrets]
    offered = [
        _encoded(signature)
        for version, _, signature in (
            text.partition(",") for text in given.get("webhook-signature", "").split()
        )
        if version == "v1"
    ]
    # All are compared, each in constant time.
    if not sum(hmac.compare_digest(ours, theirs) for ours in expected for theirs in offered):
        raise SignatureRefused("no signature in webhook-signature is right")
    event: dict[str, Any] = json.loads(body)
    return event


def _signature(key_: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    signed_text = _encoded(f"{event_id}.{timestamp}.") + body
    return base64.b64encode(hmac.digest(key_, signed_text, hashlib.sha256)).decode()


def _encoded(text: str) -> bytes:
    """``text`` of a header, also where a server made half characters of what is no UTF-8."""
    return text.encode("utf-8", "surrogatepass")


# --- where they go ----------------------------------------------------------------------------


def check_url(url: str, *, allow_private: bool) -> None:
    """Refuse a URL that nothing may be posted to, as far as its text tells.

    Raises:
        ValueError: says why, without the URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        msg = "a webhook's URL cannot be read"
        raise ValueError(msg) from None
    if parts.scheme not in ({"http", "https"} if allow_private else {"https"}):
        msg = "a webhook's URL must begin with https://; http:// needs webhook_allow_private"
        raise ValueError(msg)
    if not parts.hostname or port == 0:
        msg = "a webhook's URL needs a host"
        raise ValueError(msg)
    if parts.username is not None or parts.password is not None:
        msg = "a webhook's URL must not hold a user or password: requests are signed"
        raise ValueError(msg)
    if not url.isascii() or any(character <= " " for character in url):
        msg = "a webhook's URL must be plain ASCII: percent-encode it"
        raise ValueError(msg)


def shown(url: str) -> str:
    """A URL without what may be secret in it: its path and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
