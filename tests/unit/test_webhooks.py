"""Webhooks: what is told of which change, and signatures that others can verify."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.servers.receiver import SECRET, SECRET_BEFORE
from tests.storing import new_upload

from chunkferry import webhooks
from chunkferry.config import load
from chunkferry.errors import ConfigError
from chunkferry.state import State
from chunkferry.upload import Change, ChunkUpload
from chunkferry.webhooks import SignatureRefused, signed, verify

BODY = b'{"test": 2432232314}'
MOMENT = datetime(2030, 1, 1, tzinfo=UTC)


def with_history(*states: str, first: int = 1) -> ChunkUpload:
    """An upload that came through these states."""
    history = tuple(
        Change(index=index, state=State(state), time=MOMENT + timedelta(seconds=index))
        for index, state in enumerate(states, first)
    )
    return replace(new_upload(), history=history, state=State(states[-1]))


def kinds(upload: ChunkUpload) -> list[tuple[int, str]]:
    """Number and kind of each event."""
    return [(event.index, event.kind) for event in webhooks.events(upload)]


# --- events -----------------------------------------------------------------------------------


def test_a_good_upload_is_told_of_three_times() -> None:
    """What happens in between is nobody's business; it has its number all the same."""
    upload = with_history("receiving", "received", "completing", "complete")
    assert kinds(upload) == [
        (1, "upload.created"),
        (2, "upload.received"),
        (4, "upload.complete"),
    ]


@pytest.mark.parametrize("back", ["receiving", "received"])
def test_another_chance_is_told_of(back: str) -> None:
    """Whether all bytes are there already, or not."""
    upload = with_history("receiving", "failed", back)
    assert kinds(upload)[1:] == [(2, "upload.failed"), (3, "upload.requeued")]


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_a_removal_is_told_of_at_its_end(end: str) -> None:
    """Once nothing is left of the upload."""
    assert kinds(with_history("receiving", "aborting", end))[1:] == [(3, f"upload.{end}")]


def test_a_history_without_its_middle_is_told_rightly() -> None:
    """The first state after the gap is no beginning."""
    upload = with_history("receiving", "failed", first=40)
    assert kinds(upload) == [(40, "upload.requeued"), (41, "upload.failed")]


def test_the_id_of_an_event_names_upload_number_and_state() -> None:
    """And is the same whenever the event is told."""
    (event,) = webhooks.events(with_history("receiving"))
    assert event.event_id == f"{event.upload.upload_id}.1.receiving"


def test_what_is_posted() -> None:
    """All that a receiver needs, and neither notes nor sessions."""
    upload = replace(
        with_history("receiving", "complete"),
        content_type="video/mp4",
        metadata={"name": "ü"},
        notes={"principal": "secret"},
        session="secret",
        crc32c=7,
        etag="e",
    )
    *_, event = webhooks.events(upload)
    assert json.loads(webhooks.payload(event)) == {
        "id": f"{upload.upload_id}.2.complete",
        "type": "upload.complete",
        "time": "2030-01-01T00:00:02+00:00",
        "upload": {
            "upload_id": upload.upload_id,
            "filepath": upload.filepath,
            "service": upload.service,
            "state": "complete",
            "length": upload.length,
            "received": upload.received,
            "stored": upload.stored,
            "content_type": "video/mp4",
            "metadata": {"name": "ü"},
            "error": "",
            "error_code": "",
            "crc32c": 7,
            "etag": "e",
        },
    }


# --- signatures -------------------------------------------------------------------------------


def test_a_signature_is_that_of_the_specification() -> None:
    """The example that the libraries of Standard Webhooks are tested with."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", BODY, [secret], 1614265330)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def now() -> int:
    return int(time.time())


def test_what_was_signed_is_verified() -> None:
    """Whatever the case of the headers, which proxies change."""
    headers = {name.title(): value for name, value in signed("a", BODY, [SECRET], now()).items()}
    assert verify(headers, BODY, SECRET) == json.loads(BODY)


def test_secrets_are_changed_without_a_gap() -> None:
    """While both sign, receivers may know either; and receivers may take either."""
    both = signed("a", BODY, [SECRET, SECRET_BEFORE], now())
    assert verify(both, BODY, SECRET) == verify(both, BODY, SECRET_BEFORE)
    assert verify(signed("a", BODY, [SECRET_BEFORE], now()), BODY, [SECRET, SECRET_BEFORE])
    with pytest.raises(SignatureRefused):
        verify(signed("a", BODY, [SECRET_BEFORE], now()), BODY, SECRET)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "b"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(now() + 1000)},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-timestamp": "\u0661"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,ü v1 ,"},
        # As some servers hand on what is no UTF-8.
        {"webhook-signature": "v1,\udcff"},
        {"webhook-id": "\udcff"},
    ],
)
def test_what_was_changed_is_refused(change: dict[str, str]) -> None:
    """Whichever header it is."""
    headers = {**signed("a", BODY, [SECRET], now()), **change}
    with pytest.raises(SignatureRefused):
        verify(headers, BODY, SECRET)


def test_another_version_of_signatures_is_none() -> None:
    """Its bytes may be the same, and mean something else."""
    headers = signed("a", BODY, [SECRET], now())
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")
    with pytest.raises(SignatureRefused):
        verify(headers, BODY, SECRET)


def test_another_body_is_refused() -> None:
    """If only a blank is another."""
    with pytest.raises(SignatureRefused):
        verify(signed("a", BODY, [SECRET], now()), BODY + b" ", SECRET)


@pytest.mark.parametrize("age", [-301, 301])
def test_an_old_request_is_refused(age: int) -> None:
    """Somebody may have kept it, to send it again; clocks differ by five minutes at most."""
    with pytest.raises(SignatureRefused, match="too far"):
        verify(signed("a", BODY, [SECRET], now() - age - age // 100), BODY, SECRET)
    verify(signed("a", BODY, [SECRET], now() - 280), BODY, SECRET)


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://user:secret@example.org/",
        "https://user@example.org/",
        "https:///secret",
        "ftp://example.org/",
        "https://example.org:99999/secret",
        "https://example.org:0/secret",
        "https://example.org/\r\nX: secret",
        "https://ex\u00e4mple.org/secret",
        "https://[::1/secret",
        "secret",
    ],
)
def test_a_bad_url_is_refused_and_not_shown(url: str) -> None:
    """At the start, with a sentence that says what is expected."""
    with pytest.raises(ConfigError) as refused:
        load(webhook_urls=[url], webhook_secrets=[SECRET])
    assert "webhook" in str(refused.value)
    assert "secret" not in str(refused.value).replace("webhook_secrets", "")


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", SECRET[6:], "whsec_ü" * 20])
def test_a_bad_secret_is_refused_and_not_shown(secret: str) -> None:
    """One that is too short can be guessed."""
    with pytest.raises(ConfigError, match="random bytes") as refused:
        load(webhook_urls=["https://example.org/"], webhook_secrets=[secret])
    assert not secret[6:] or secret[6:] not in str(refused.value)


def test_what_is_posted_is_always_signed() -> None:
    """There is no URL without a secret."""
    with pytest.raises(ConfigError, match="needs webhook_secrets"):
        load(webhook_urls=["https://example.org/"])


def test_settings_show_neither_urls_nor_secrets() -> None:
    """A URL may be a secret as well."""
    settings = load(webhook_urls=["https://example.org/hidden"], webhook_secrets=[SECRET])
    assert "hidden" not in repr(settings)
    assert SECRET not in repr(settings)
    assert webhooks.shown("https://example.org:8443/hidden?a=b") == "https://example.org:8443"
