"""Connections to Redis: one server, servers behind Sentinels, or a cluster.

All are made one way, checked once, and their errors translated here; nothing of this knows of
uploads.
"""

from __future__ import annotations

from chunkferry.connection.client import (
    adopt,
    connect,
    longest_wait,
    retry,
    sentinel_options,
    url_of,
)
from chunkferry.connection.cluster import beside, each, may_ask_together, served, servers
from chunkferry.connection.errors import translated
from chunkferry.connection.facts import ServerFacts, facts, require_usable
from chunkferry.connection.url import Kind, RedisUrl, parse

__all__ = [
    "Kind",
    "RedisUrl",
    "ServerFacts",
    "adopt",
    "beside",
    "connect",
    "each",
    "facts",
    "longest_wait",
    "may_ask_together",
    "parse",
    "require_usable",
    "retry",
    "sentinel_options",
    "served",
    "servers",
    "translated",
    "url_of",
]
