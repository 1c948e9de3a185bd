"""Fixtures of the whole test suite."""

import signal
import threading

import pytest
from hypothesis import is_hypothesis_test, settings

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("chunkferry", deadline=None)
settings.load_profile("chunkferry")

# A shell's background jobs ignore these, and so would every process that a test wants to stop.
for _number, _usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

pytest_plugins = [
    "tests.servers.gcs",
    "tests.servers.redis",
    "tests.servers.cluster",
    "tests.servers.sentinel",
    "tests.servers.s3",
    "tests.servers.azurite",
    "tests.servers.browser",
    "tests.servers.backends",
    "tests.servers.stores",
    "tests.servers.workers",
    "tests.servers.release",
    "tests.ledgers",
    "tests.producing",
    "tests.servers.rabbitmq",
    "tests.sites",
    "tests.servers.front",
    "tests.servers.receiver",
    "tests.clients.tusjs",
    "tests.clients.tuspy",
]


@pytest.fixture(autouse=True)
def no_chance(request: pytest.FixtureRequest) -> None:
    """Hypothesis takes randomness of any thread for its own: those of tests before end first.

    They try for some seconds to tell their counts to a Redis that is gone, with random pauses.
    """
    if is_hypothesis_test(request.function):
        for thread in threading.enumerate():
            if thread.name == "chunkferry-tally":
                thread.join()
