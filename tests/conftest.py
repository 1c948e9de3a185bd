"""Fixtures of the whole test suite."""

from hypothesis import settings

# A busy machine is no fault of the code.
settings.register_profile("chunkferry", deadline=None)
settings.load_profile("chunkferry")

pytest_plugins = [
    "tests.servers.redis",
    "tests.servers.s3",
    "tests.servers.stores",
    "tests.servers.workers",
    "tests.servers.release",
    "tests.ledgers",
    "tests.producing",
]
