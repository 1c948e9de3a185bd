"""A sink that is a web server: signed POST requests. Knows nothing of order and tries.

Follows no redirect, believes no name twice, waits for nobody longer than a bound, and reads of an
answer only its status and ``Retry-After``.
"""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from chunkferry import webhooks
from chunkferry.config import Settings
from chunkferry.webhooks import Event
from chunkferry_worker import addresses
from chunkferry_worker.delivery import DeliveryFailed

#: Seconds for the connection, for one piece of the answer, and for all together.
_CONNECT: Final = 5.0
_READ: Final = 10.0
_ALL: Final = 20.0
#: What the system's resolver may take before that; it knows no bound of ours.
_RESOLVE: Final = 10.0
#: Longest pause that a receiver may ask for.
_MAX_RETRY_AFTER: Final = timedelta(hours=1)
#: Of a number of seconds; one with more of them is longer than any pause.
_DIGITS: Final = 9
_AGENT: Final = f"chunkferry/{version('chunkferry')}"


class Webhook:
    """One receiver."""

    def __init__(self, url: str, settings: Settings) -> None:
        """Post to ``url``, which ``webhooks.check_url`` has found good."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._is_tls = parts.scheme == "https"
        self._host_header = parts.netloc
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._secrets = [secret.get_secret_value() for secret in settings.webhook_secrets]
        self._allow_private = settings.webhook_allow_private
        self.name = f"webhook:{hashlib.sha256(url.encode()).hexdigest()[:16]}"
        self.shown = webhooks.shown(url)
        self.span = timedelta(seconds=_RESOLVE + _ALL)

    def takes(self, event: Event) -> bool:
        """All of them."""
        del event
        return True

    def deliver(self, event: Event) -> None:
        """Post it.

        Raises:
            DeliveryFailed: the answer was not 2xx, or there was none.
        """
        body = webhooks.payload(event)
        headers = {
            "Host": self._host_header,
            "Content-Type": "application/json",
            "User-Agent": _AGENT,
            **webhooks.signed(event.event_id, body, self._secrets, int(time.time())),
        }
        status, retry_after = self._post(body, headers)
        if 200 <= status < 300:  # noqa: PLR2004 - the class of statuses that mean success
            return
        raise DeliveryFailed(
            f"{self.shown} answered {status}",
            retry_after=_span(retry_after),
            is_final=status == 410,  # noqa: PLR2004 - Gone, as Standard Webhooks has it
        )

    def check(self) -> None:
        """Raise ``DeliveryFailed`` if no request could be made to its host."""
        addresses.resolve(self._host, self._port, allow_private=self._allow_private)

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """The status of the answer and its ``Retry-After``."""
        with closing(self._connection()) as connection, _deadline(connection) as is_over:
            try:
                connection.connect()
                connection.timeout = _READ
                connection.request("POST", self._target, body, headers, preload_content=False)
                with closing(connection.getresponse()) as answer:
                    status, retry_after = answer.status, answer.headers.get("Retry-After", "")
            except (HTTPError, HTTPException, OSError, ValueError, AttributeError) as exc:
                # Their text may quote the URL. The last two are what is left of a connection
                # that was cut.
                kind = "Timeout" if is_over.is_set() else type(exc).__name__
                raise DeliveryFailed(f"{self.shown} did not answer: {kind}") from None
            if is_over.is_set():  # what is cut in the middle of its headers looks like an answer
                raise DeliveryFailed(f"{self.shown} did not answer: Timeout")
            return status, retry_after

    def _connection(self) -> HTTPConnection:
        address = addresses.resolve(self._host, self._port, allow_private=self._allow_private)
        if not self._is_tls:
            return HTTPConnection(address, self._port, timeout=_CONNECT)
        return HTTPSConnection(
            address,
            self._port,
            timeout=_CONNECT,
            cert_reqs="CERT_REQUIRED",
            server_hostname=self._host,
            assert_hostname=self._host,
        )


@contextmanager
def _deadline(connection: HTTPConnection) -> Iterator[threading.Event]:
    """Cut the connection when its time is over; the event says whether that has happened.

    Each piece of an answer has its own time; one that comes drop by drop has this.
    """
    is_over = threading.Event()

    def cut() -> None:
        is_over.set()
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(_ALL, cut)
    timer.daemon = True
    timer.start()
    try:
        yield is_over
    finally:
        timer.cancel()


def _span(retry_after: str) -> timedelta | None:
    """``Retry-After`` (RFC 9110, section 10.2.3): seconds, or a date."""
    if not retry_after:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        if len(retry_after) > _DIGITS:  # the longest of them Python refuses to read
            return _MAX_RETRY_AFTER
        return min(timedelta(seconds=int(retry_after)), _MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, OverflowError, IndexError):  # of what is no date
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(moment - datetime.now(UTC), timedelta(0)), _MAX_RETRY_AFTER)
