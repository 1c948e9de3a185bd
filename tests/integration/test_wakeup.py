"""Wake-ups over a real broker, and over none."""

from __future__ import annotations

import pytest
from tests.servers.redis import FreshRedis

from chunkferry.wakeup import DRAIN, CeleryWaker, ProducerWaker, producer_app


def test_a_broker_meant_for_another_application_is_left_alone(
    fresh_redis: FreshRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CELERY_BROKER_URL of the environment does not divert our messages."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    server = fresh_redis()
    ProducerWaker(server.url).wake("0-" + "0" * 32)
    assert server.client().llen(DRAIN) == 1


def test_a_broker_that_is_down_is_asked_only_once(caplog: pytest.LogCaptureFixture) -> None:
    """``wake`` never raises; after a failure it leaves the next ones to the sweep."""
    waker = CeleryWaker(producer_app("redis://127.0.0.1:1/0"))
    for _ in range(1000):
        waker.wake("0-" + "0" * 32)
    assert [
        record.getMessage() for record in caplog.records if record.name.startswith("chunk")
    ] == ["The broker did not take a wake-up; the sweep will send one."]
