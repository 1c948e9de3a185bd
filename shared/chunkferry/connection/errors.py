"""redis-py's errors, translated into ours once, for every kind of Redis.

Knows no client. A text of Redis is passed on only where it cannot hold payload: a failed pipeline
quotes its commands.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from chunkferry.errors import (
    ChunkferryError,
    ConfigError,
    RedisFull,
    RedisRefused,
    RedisUnavailable,
)

#: What the servers of a cluster answer while its slots change hands.
REDIRECTIONS: Final = (MovedError, AskError, TryAgainError, ClusterDownError)  # MASTERDOWN too

#: First words of refusals that end by themselves, or with a failover.
_PASSING: Final = (
    *("READONLY", "NOREPLICAS", "MISCONF", "BUSY", "LOADING"),
    *("MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN"),
    "UNBLOCKED",  # to who waited, by a server that becomes a replica
)

#: What Redis says of a missing right; nothing of it comes from the command's arguments.
_MISSING_RIGHT: Final = re.compile(
    r"no permissions to (run the '[a-z|. ]{1,40}' command|access [a-z ]{1,60})", re.IGNORECASE
)
#: The same for a command that a script calls; Redis 7.0 does not name it.
_MISSING_IN_SCRIPT: Final = re.compile(
    r"user executing the script can't (run this command|access [a-z ]{1,60})", re.IGNORECASE
)
#: Redis refused MULTI before, with an answer that redis-py drops.
_NO_MULTI: Final = "EXEC without MULTI"
#: The handshake was cut off, which a server that ends does too.
_CUT_OFF: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's errors into ours.

    The text of a refusal is dropped, also from the cause that a traceback shows: a failed pipeline
    quotes its commands, which hold payload. That of a lost connection says where it went.
    """
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as exc:
        raise _translation(exc) from exc
    except RedisError as exc:
        error, exc.args = _translation(exc), ()
        raise error from exc


def _translation(error: RedisError) -> ChunkferryError:
    match error:
        case OutOfMemoryError():
            return RedisFull()
        case NoPermissionError():
            return _missing_right(error)
        case AuthenticationError():
            return _unknown_user(str(error))
        case redis.ConnectionError() | redis.TimeoutError():
            return _no_answer(error)
        case ResponseError():
            return _refusal(error)
    return RedisUnavailable(f"Redis failed: {type(error).__name__}")


def _no_answer(exc: RedisError) -> ChunkferryError:
    """A connection that cannot be made, or was lost."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConfigError(f"the certificate of Redis is refused: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, _CUT_OFF):
            return ConfigError(f"no TLS connection to Redis: {cause.reason or 'refused'}")
        cause = cause.__cause__ or cause.__context__
    return RedisUnavailable(f"Redis does not answer: {type(exc).__name__}")


def _unknown_user(text: str) -> ConfigError:
    if "without any password" in text or "no password is set" in text:
        return ConfigError("Redis wants no password, but its URL has one")
    if "required" in text:
        return ConfigError("Redis wants a password, and its URL has none")
    return ConfigError("Redis refuses the user name or password of its URL")


def _missing_right(exc: ResponseError) -> ConfigError:
    text = _reason(exc)
    if found := _MISSING_RIGHT.search(text):
        return _missing(found[0])
    if found := _MISSING_IN_SCRIPT.search(text):
        return _missing(f"a right less than a script needs: it can't {found[1]}")
    return _missing("a right less than it needs")


def _missing(right: str) -> ConfigError:
    return ConfigError(f"the user of Redis has {right}; docs/redis.md lists the rights it needs")


def _refusal(exc: ResponseError) -> ChunkferryError:
    """What an error answer means; its code or first words say it, the rest may quote payload."""
    if isinstance(exc, REDIRECTIONS):
        kind = type(exc).__name__.removesuffix("Error")
        return RedisUnavailable(f"the cluster changes, or is down: {kind}")
    text = _reason(exc)
    if exc.status_code:  # redis-py takes the codes that it knows off the text
        text = f"{exc.status_code} {text}"
    if "OOM" in text[:100]:
        return RedisFull()
    if _MISSING_RIGHT.search(text) or _MISSING_IN_SCRIPT.search(text):
        return _missing_right(exc)
    if _NO_MULTI in text:
        return _missing("no permissions to run the 'multi' command")
    kind = next((word for word in _PASSING if word in text[:100]), "")
    if kind:
        return RedisUnavailable(f"Redis takes no writes now: {kind}")
    return RedisRefused(f"Redis refused a command: {text.partition(' ')[0][:40]}")


def _reason(exc: RedisError) -> str:
    """What Redis said, without the command that a pipeline quotes before it."""
    return str(exc).rpartition("caused error: ")[2]
