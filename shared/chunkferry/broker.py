"""What Celery has to be told about a broker, so that one URL does for it and for our own clients.

Knows the forms that kombu takes; connects nothing.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from chunkferry.connection import Kind, RedisUrl, parse, sentinel_options
from chunkferry.errors import ConfigError

#: URLs that kombu takes otherwise than our clients do. All others are its own business.
_OURS: Final = (
    *("redis://", "rediss://", "unix://"),
    *("redis+sentinel://", "rediss+sentinel://", "redis+cluster://", "rediss+cluster://"),
)


def told(url: str) -> dict[str, Any]:
    """Celery's ``broker_url``, with ``broker_use_ssl`` and ``broker_transport_options`` if needed.

    Raises:
        ConfigError: this cannot be a broker.
    """
    if not url.startswith(_OURS):
        return {"broker_url": url, "broker_transport_options": {}}
    found = parse(url)
    if found.kind is Kind.CLUSTER:
        raise ConfigError(
            "Celery cannot use a Redis Cluster as its broker: set CHUNKFERRY_BROKER_URL to a"
            " single Redis, to Sentinels, or to RabbitMQ"
        )
    options: dict[str, Any] = {}
    if found.kind is Kind.SENTINEL:
        options = {"master_name": found.service, "sentinel_kwargs": sentinel_options(found)}
    answer: dict[str, Any] = {"broker_url": _url(found), "broker_transport_options": options}
    if found.tls:
        # By name: kombu would take the URL alone for one that is not to be verified.
        answer["broker_use_ssl"] = _security(found)
    return answer


def _url(found: RedisUrl) -> str:
    name, password = found.options.get("username"), found.options.get("password")
    login = f"{quote(name or '', safe='')}:{quote(password or '', safe='')}@"
    login = login if name or password else ""
    database = found.options.get("db", 0)
    if "path" in found.options:
        return f"redis+socket://{login}{found.options['path']}?virtual_host={database}"
    scheme = "rediss" if found.tls else "redis"
    if found.kind is Kind.SENTINEL:
        scheme = "sentinel"
    hosts = (
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in found.addresses
    )
    return ";".join(f"{scheme}://{login}{host}/{database}" for host in hosts)


def _security(found: RedisUrl) -> dict[str, Any]:
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **found.security}
