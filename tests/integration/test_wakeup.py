"""Wake-ups over a real broker, and over none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.servers.redis import FreshRedis

from chunkferry.config import load
from chunkferry.services import Herald
from chunkferry.wakeup import DRAIN, TELL, CeleryWaker, ProducerWaker, producer_app
from chunkferry_worker.application import create_app


def test_a_broker_meant_for_another_application_is_left_alone(
    fresh_redis: FreshRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CELERY_BROKER_URL of the environment does not divert our messages."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    server = fresh_redis()
    ProducerWaker(server.url).wake("0-" + "0" * 32)
    assert server.client().llen(DRAIN) == 1


#: A fresh process whose threads all want to send at once.
CROWD = """
import sys, threading
from chunkferry import wakeup

def make():
    barrier.wait()
    try:
        wakeup.producer_app("memory://")
    except Exception as exc:
        errors.append(repr(exc))

sys.setswitchinterval(1e-6)
barrier, errors = threading.Barrier(8), []
threads = [threading.Thread(target=make) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit(str(errors) if errors else 0)
"""


@pytest.mark.parametrize("attempt", range(5))
def test_a_crowd_may_send_first(attempt: int) -> None:
    """Celery's own import bears no second thread: of five such crowds four met half a module."""
    del attempt
    done = subprocess.run(
        [sys.executable, "-c", CROWD], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_broker_that_is_down_is_asked_only_once(caplog: pytest.LogCaptureFixture) -> None:
    """``wake`` never raises; after a failure it leaves the next ones to the sweep."""
    waker = CeleryWaker(producer_app("redis://127.0.0.1:1/0"))
    for _ in range(1000):
        waker.wake("0-" + "0" * 32)
    assert [
        record.getMessage() for record in caplog.records if record.name.startswith("chunk")
    ] == ["The broker did not take a wake-up; the sweep will send one."]


def test_messages_to_tellers_do_not_pile_up(fresh_redis: FreshRedis) -> None:
    """Where nobody listens to their queue, a few are all there will ever be."""
    server = fresh_redis()
    app, _ = create_app(load(redis_url=server.url))
    with app:
        waker = CeleryWaker(app)
        assert isinstance(waker, Herald)
        assert [waker.tell() for _ in range(6)] == [True] * 4 + [False] * 2
    assert server.client().llen(TELL) == 4


def test_a_broker_that_is_down_is_no_error_to_tellers(caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and left to the sweep."""
    app, _ = create_app(load(redis_url="redis://127.0.0.1:1/0"))
    with app:
        assert not CeleryWaker(app).tell()
    assert "The broker did not take a message" in caplog.text
