"""Fixtures of the whole test suite."""

pytest_plugins = [
    "tests.servers.gcs",
    "tests.servers.redis",
    "tests.servers.s3",
    "tests.servers.azurite",
    "tests.servers.backends",
    "tests.servers.stores",
    "tests.servers.workers",
    "tests.ledgers",
    "tests.producing",
]
