"""Fixtures of the whole test suite."""

pytest_plugins = [
    "tests.servers.redis",
    "tests.servers.cluster",
    "tests.servers.sentinel",
    "tests.servers.s3",
    "tests.servers.stores",
    "tests.servers.workers",
    "tests.servers.release",
    "tests.ledgers",
    "tests.producing",
    "tests.servers.rabbitmq",
    "tests.sites",
]
