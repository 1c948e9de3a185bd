"""Posting webhooks: to public addresses only, to the address that was checked, within bounds."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from tests.servers.receiver import SECRET, Answer, Receiver
from tests.servers.tls import certificates
from tests.storing import new_upload

from chunkferry import webhooks
from chunkferry.config import load
from chunkferry.state import State
from chunkferry.upload import Change
from chunkferry_worker import addresses, webhook
from chunkferry_worker.delivery import DeliveryFailed
from chunkferry_worker.webhook import Webhook

PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",  # noqa: S104 - nobody binds to it here
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
]


def event() -> webhooks.Event:
    """Something to tell."""
    change = Change(index=1, state=State.RECEIVING, time=datetime(2030, 1, 1, tzinfo=UTC))
    (found,) = webhooks.events(replace(new_upload(), history=(change,)))
    return found


def sink(url: str, *, allow_private: bool = True) -> Webhook:
    """A sink that posts there."""
    settings = load(
        webhook_urls=[url], webhook_secrets=[SECRET], webhook_allow_private=allow_private
    )
    return Webhook(url, settings)


def failure(posting: Webhook) -> DeliveryFailed:
    """What comes of a delivery that fails."""
    with pytest.raises(DeliveryFailed) as failed:
        posting.deliver(event())
    return failed.value


# --- where it may go --------------------------------------------------------------------------


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_told_apart(address: str) -> None:
    """Loopback, private, link-local, metadata; as IPv6, through gateways, and mapped."""
    assert not addresses.is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:4700::1111", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]
)
def test_what_is_public_may_be_posted_to(address: str) -> None:
    """The last one is how networks without IPv4 get there."""
    assert addresses.is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "[::1]"]
)
def test_nothing_is_posted_to_this_machine(receiver: Receiver, host: str) -> None:
    """However it is written."""
    refused = failure(sink(f"https://{host}:{receiver.port}/", allow_private=False))
    assert "not public" in str(refused)
    assert receiver.requests == []


def answers(*texts: str) -> Any:
    """A resolver that gives these addresses for any name."""

    def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[Any]:
        del host
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in texts]

    return getaddrinfo


def test_one_private_address_of_a_name_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of its addresses is connected to is not to be left to chance."""
    monkeypatch.setattr(socket, "getaddrinfo", answers("93.184.215.14", "10.0.0.1"))
    with pytest.raises(DeliveryFailed, match="not public"):
        addresses.resolve("example.org", 443, allow_private=False)


def test_a_name_without_an_address_is_a_failure() -> None:
    """It may get one later."""
    assert "cannot be resolved" in str(failure(sink("https://no-such-host.invalid/")))
    assert "cannot be resolved" in str(failure(sink(f"https://{'a' * 70}.invalid/")))


def test_a_name_is_asked_for_once(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was checked is what is connected to; the server hears the name it was meant by."""
    asked = list[str]()
    real = answers("127.0.0.1")

    def counting(host: str, port: int, *_: object, **__: object) -> Any:
        asked.append(host)
        return real(host, port)

    monkeypatch.setattr(socket, "getaddrinfo", counting)
    sink(f"http://hook.example:{receiver.port}/a?b=c").deliver(event())
    (request,) = receiver.requests
    assert request.headers["Host"] == f"hook.example:{receiver.port}"
    assert request.target == "/a?b=c"
    assert asked == ["hook.example", "127.0.0.1"]


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    """It could lead anywhere; nothing is posted there."""
    with contextlib.closing(Receiver()) as elsewhere:
        receiver.answer = lambda _: Answer(307, {"Location": elsewhere.url})
        assert "answered 307" in str(failure(sink(receiver.url)))
        assert elsewhere.requests == []


# --- TLS --------------------------------------------------------------------------------------


@pytest.fixture
def tls_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver with a certificate for hook.example, which is at this machine."""
    made = certificates(tmp_path, "hook.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    monkeypatch.setattr(socket, "getaddrinfo", answers("127.0.0.1"))
    with contextlib.closing(Receiver(made.server)) as receiver:
        yield receiver


def test_a_server_is_known_by_its_name(tls_receiver: Receiver) -> None:
    """Although the connection is made to its address."""
    sink(f"https://hook.example:{tls_receiver.port}/").deliver(event())
    assert len(tls_receiver.requests) == 1


def test_another_name_is_another_server(tls_receiver: Receiver) -> None:
    """Nothing is posted to it."""
    refused = failure(sink(f"https://other.example:{tls_receiver.port}/"))
    assert "did not answer" in str(refused)
    assert tls_receiver.requests == []


def test_a_certificate_of_nobody_known_is_refused(
    tls_receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no way to switch that off."""
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "SSLCertVerificationError" in str(
        failure(sink(f"https://hook.example:{tls_receiver.port}/"))
    )
    assert tls_receiver.requests == []


# --- answers ----------------------------------------------------------------------------------


def test_a_request_can_be_verified(receiver: Receiver) -> None:
    """By the function for receivers, and says of itself what it is."""
    sink(receiver.url).deliver(event())
    (request,) = receiver.requests
    assert webhooks.verify(request.headers, request.body, SECRET)["id"] == request.event_id
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"].startswith("chunkferry/")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_a_success(receiver: Receiver, status: int) -> None:
    """2xx."""
    receiver.answer = lambda _: Answer(status)
    sink(receiver.url).deliver(event())


@pytest.mark.parametrize("status", [304, 400, 401, 404, 410, 429, 500, 503])
def test_all_else_is_a_failure(receiver: Receiver, status: int) -> None:
    """Only 410 says that no other try will help."""
    receiver.answer = lambda _: Answer(status)
    failed = failure(sink(receiver.url))
    assert str(failed) == f"http://127.0.0.1:{receiver.port} answered {status}"
    assert failed.is_final == (status == 410)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("120", timedelta(seconds=120)),
        ("99999999999999999999", timedelta(hours=1)),
        ("9" * 5000, timedelta(hours=1)),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2024 00:00:00 +" + "9" * 400, None),
        ("soon", None),
        ("-1", None),
        (format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True), timedelta(0)),
        (format_datetime(datetime(2999, 1, 1, tzinfo=UTC), usegmt=True), timedelta(hours=1)),
    ],
)
def test_a_receiver_may_say_when(
    receiver: Receiver, given: str, expected: timedelta | None
) -> None:
    """``Retry-After``, in both forms; not for ever."""
    receiver.answer = lambda _: Answer(503, {"Retry-After": given})
    assert failure(sink(receiver.url)).retry_after == expected


def test_nobody_there_is_a_failure(receiver: Receiver) -> None:
    """Without the URL in its text."""
    posting = sink(receiver.url)
    receiver.close()
    assert str(failure(posting)) == (
        f"http://127.0.0.1:{receiver.port} did not answer: NewConnectionError"
    )


@pytest.fixture
def raw_server() -> Iterator[socket.socket]:
    """Takes connections, and leaves the rest to the test."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_an_answer_that_comes_drop_by_drop_is_cut_off(
    raw_server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each drop is in time; all together are not."""
    monkeypatch.setattr(webhook, "_ALL", 0.5)
    over = threading.Event()

    def drip() -> None:
        connection, _ = raw_server.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-A: ")
            while not over.wait(0.05):
                connection.sendall(b"a")

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        failed = failure(sink(f"http://127.0.0.1:{raw_server.getsockname()[1]}/"))
    finally:
        over.set()
        thread.join(10)
    assert "did not answer" in str(failed)


@pytest.mark.parametrize("answer", [b"", b"\0\xff\r\n", b"HTTP/1.1 2", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_no_answer_is_a_failure(raw_server: socket.socket, answer: bytes) -> None:
    """Whatever comes, it is one and the same error."""

    def reply() -> None:
        connection, _ = raw_server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    thread = threading.Thread(target=reply, daemon=True)
    thread.start()
    assert "did not answer" in str(
        failure(sink(f"http://127.0.0.1:{raw_server.getsockname()[1]}/"))
    )
    thread.join(10)
