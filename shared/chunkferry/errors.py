"""Every error chunkferry raises, each with a stable code, an HTTP status and whether to retry.

This module knows no store, no Redis and no Celery: adapters translate foreign errors into
these once, with ``raise … from exc``.
"""

from __future__ import annotations

from typing import ClassVar, Final

#: Characters of a filepath that an error shows.
_SHOWN: Final = 100


class ChunkferryError(Exception):
    """Base of all errors of this package."""

    #: Stable, machine-readable name; part of the public API.
    code: ClassVar[str] = "error"
    #: The HTTP status a front door should answer with.
    http_status: ClassVar[int] = 500
    #: True where the same call may succeed later without anybody changing anything.
    retryable: bool = False


class ConfigError(ChunkferryError):
    """A setting, or the server it points to, cannot be used as it is."""

    code = "config"


class MissingExtra(ConfigError):
    """A feature needs an optional dependency that is not installed."""

    code = "missing_extra"

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs more packages: pip install 'chunkferry[{extra}]'")
        self.extra = extra


class EvictingRedis(ConfigError):
    """Redis is set to evict keys when it is full: accepted bytes could vanish."""

    code = "evicting_redis"

    def __init__(self, policy: str) -> None:
        super().__init__(
            f"Redis has maxmemory-policy {policy!r} and would drop accepted bytes when full; "
            "set maxmemory-policy to 'noeviction'"
        )


class InvalidPath(ChunkferryError):
    """A filepath is not a relative, normal path."""

    code = "invalid_path"
    http_status = 400

    def __init__(self, filepath: str, reason: str) -> None:
        # Else a long one leaves no room for the reason where errors are kept.
        shown = filepath if len(filepath) <= _SHOWN else f"{filepath[:_SHOWN]}…"
        super().__init__(f"filepath {shown!r} {reason}")
        self.filepath = filepath


class InvalidArgument(ChunkferryError, ValueError):
    """An argument is out of its range; the message says what was expected."""

    code = "invalid_argument"
    http_status = 400


class UnknownService(ChunkferryError):
    """No store is configured under this service name."""

    code = "unknown_service"
    http_status = 400

    def __init__(self, service: str, known: list[str]) -> None:
        super().__init__(
            f"no service named {service!r}; configured: {', '.join(sorted(known)) or 'none'}"
        )


class UrlRefused(ChunkferryError):
    """A signed URL is not valid, or not for this request."""

    code = "url_refused"
    http_status = 403

    def __init__(self, reason: str) -> None:
        super().__init__(f"the signed URL is refused: {reason}")


class UploadNotFound(ChunkferryError):
    """There is no such upload: never created, or ended longer ago than ``result_ttl``."""

    code = "upload_not_found"
    http_status = 404

    def __init__(self, upload: str) -> None:
        super().__init__(f"no upload {upload!r}: never created, or ended and forgotten")
        self.upload = upload


class UploadInProgress(ChunkferryError):
    """Another upload to the same path of the same service has not ended yet."""

    code = "upload_in_progress"
    http_status = 409

    def __init__(self, filepath: str, upload_id: str, state: str) -> None:
        super().__init__(
            f"{filepath!r} is being uploaded already: upload {upload_id}, state {state}; "
            "resume or cancel it"
        )
        self.upload_id = upload_id
        self.state = state


class OffsetMismatch(ChunkferryError):
    """The data does not start where the received bytes end."""

    code = "offset_mismatch"
    http_status = 409

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"expected data at offset {expected}, but it starts at {actual}")
        #: Where the next byte belongs: resume from here.
        self.expected = expected
        self.actual = actual


class LengthMismatch(ChunkferryError):
    """Data or a declared length contradicts the length of the upload."""

    code = "length_mismatch"
    http_status = 413


class ContentConflict(ChunkferryError):
    """These offsets were received before with other bytes."""

    code = "content_conflict"
    http_status = 409

    def __init__(self, start: int, end: int) -> None:
        super().__init__(f"bytes {start} to {end} were received before with other content")


class ChecksumMismatch(ChunkferryError):
    """The data does not have the checksum sent along with it; nothing was accepted."""

    code = "checksum_mismatch"
    http_status = 460

    def __init__(self, algorithm: str, expected: str, actual: str) -> None:
        super().__init__(f"{algorithm} of the data is {actual}, but {expected} was announced")
        self.algorithm = algorithm
        #: As it was announced: hexadecimal digits.
        self.expected = expected


class UploadClosed(ChunkferryError):
    """The upload takes no more data, or cannot make this move, in its present state."""

    code = "upload_closed"
    http_status = 410

    def __init__(self, upload_id: str, state: str, doing: str = "take data") -> None:
        super().__init__(f"upload {upload_id} cannot {doing}: its state is {state}")
        self.upload_id = upload_id
        self.state = state


class Backpressure(ChunkferryError):
    """The upload's window or Redis is full; the workers have to store bytes first."""

    code = "backpressure"
    http_status = 503
    retryable = True

    def __init__(self, received: int, retry_after: float, reason: str = "window full") -> None:
        super().__init__(
            f"{reason}: accepted up to byte {received}, try again in {retry_after:g} s"
        )
        self.reason = reason
        #: Bytes accepted so far: where to go on.
        self.received = received
        #: Seconds to wait before the next attempt.
        self.retry_after = retry_after


class RedisFull(Backpressure):
    """Redis has no memory left for this; what it accepted before is kept."""

    code = "redis_full"

    def __init__(self, received: int = 0) -> None:
        super().__init__(received, 1.0, "Redis is full")


class NotDurable(ChunkferryError):
    """What was accepted is not yet as durable as the settings ask; asking again waits again.

    Not ``retryable`` is only a ``create`` without an idempotency key: its path is taken now.
    """

    code = "not_durable"
    http_status = 503
    retryable = True

    def __init__(
        self, upload_id: str, received: int, reason: str, *, repeatable: bool = True
    ) -> None:
        again = "waits again" if repeatable else "would find its path taken: go on with this upload"
        super().__init__(
            f"upload {upload_id} is accepted up to byte {received}, but not safe yet: {reason}; "
            f"the same call again {again}"
        )
        self.retryable = repeatable
        self.reason = reason
        self.upload_id = upload_id
        #: Bytes accepted so far; a failure of Redis may still take some of them back.
        self.received = received


class TooManyUploads(ChunkferryError):
    """As many uploads are open as may be; some have to end first."""

    code = "too_many_uploads"
    http_status = 429
    retryable = True

    def __init__(self, open_uploads: int, limit: int) -> None:
        super().__init__(
            f"{open_uploads} uploads have not ended, and max_open_uploads is {limit}: "
            "try again when some have"
        )
        self.open_uploads = open_uploads
        self.limit = limit


class RedisUnavailable(ChunkferryError):
    """Redis cannot be reached, or stopped answering; what it accepted before is kept."""

    code = "redis_unavailable"
    http_status = 503
    retryable = True


class RedisRefused(ChunkferryError):
    """Redis answered a command with an error that nobody foresaw."""

    code = "redis_refused"
    http_status = 502


class StoreError(ChunkferryError):
    """A call to the store failed. The base of what a ``ChunkFileService`` may raise."""

    code = "store_error"
    http_status = 502


class StoreUnavailable(StoreError):
    """The store is down, slow, throttling or failing; the same call may succeed later."""

    code = "store_unavailable"
    http_status = 503
    retryable = True


class StoreRefused(StoreError):
    """The store refuses for good: credentials, permission, no such bucket, bad request."""

    code = "store_refused"


class SessionLost(StoreError):
    """The store no longer knows the upload session, and no object of ours is there."""

    code = "session_lost"


class IntegrityError(ChunkferryError):
    """Bytes are missing or differ from what was received; the upload is stopped, not guessed."""

    code = "integrity"


class InitError(StoreError):
    """The upload could not be started at the store; the text tells why."""

    code = "init_failed"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class UploadError(StoreError):
    """The upload failed; the text tells why."""

    code = "upload_failed"


class LeaseLost(ChunkferryError):
    """This worker no longer holds the upload: another one, or a state change, took it."""

    code = "lease_lost"
    http_status = 409


class Quarantined(ChunkferryError):
    """Workers died on this upload again and again; it waits for ``requeue``."""

    code = "quarantined"
