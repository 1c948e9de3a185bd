"""Fixtures of the whole test suite."""

import signal

from hypothesis import settings

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
