"""URLs of Redis: read, written again, and told to Celery."""

from __future__ import annotations

import pytest

from chunkferry import broker, connection
from chunkferry.connection import Kind
from chunkferry.errors import ConfigError

HOSTS = (("a", 1), ("::1", 26379), ("c", 26379))


def test_sentinels_are_read() -> None:
    """Several hosts, a service, a database, and options."""
    url = connection.parse(
        "rediss+sentinel://me:p%2Fw@a:1,[::1],c/main/3"
        "?ssl_ca_certs=/ca.pem&ssl_check_hostname=false&sentinel_password=s"
    )
    assert (url.kind, url.tls, url.addresses, url.service) == (Kind.SENTINEL, True, HOSTS, "main")
    assert (url.options, url.of_sentinels) == (
        {
            "username": "me",
            "password": "p/w",
            "db": 3,
            "ssl_ca_certs": "/ca.pem",
            "ssl_check_hostname": False,
        },
        {"password": "s"},
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "redis://:p%40w@host:1/2?socket_timeout=2.5",
        "rediss://me:pw@[::1]:6380/0?ssl_certfile=%2Fc.pem",
        "unix:///run/redis.sock?db=1",
        "unix://:pw@/run/redis.sock?db=0",
        "redis+sentinel://:pw@a:1,b:2/main/0?sentinel_password=x",
        "rediss+cluster://me:pw@a:1,b:2",
    ],
)
def test_a_url_is_written_as_it_was_read(url: str) -> None:
    """Nothing of it is lost."""
    assert str(connection.parse(url)) == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "expected redis://"),
        ("http://:s3cr3t@h", "expected redis://"),
        ("redis+x://:s3cr3t@h", "expected redis://"),
        ("unix+cluster://:s3cr3t@h", "expected redis://"),
        ("redis://:s3/cr3t@h:1/0", "a port is no number"),
        ("redis+sentinel://:s3cr3t@h", "must name the service"),
        ("redis+cluster://:s3cr3t@h/1", "no databases"),
        ("redis+cluster://:s3cr3t@h?db=1", "no databases"),
        ("redis://:s3cr3t@h?socket_timeout=x", "Invalid value for 'socket_timeout'"),
    ],
)
def test_what_is_no_url_is_told_without_its_password(url: str, problem: str) -> None:
    """The error says what was expected."""
    with pytest.raises(ConfigError) as raised:
        connection.connect(url)
    assert problem in str(raised.value)
    assert "s3" not in str(raised.value)


def test_a_clients_url_has_its_certificates() -> None:
    """Also where they are given as redis-py's own constants."""
    url = "rediss://me:pw@h:1/2?ssl_ca_certs=%2Fca.pem&ssl_cert_reqs=required"
    assert connection.parse(connection.url_of(connection.connect(url))) == connection.parse(url)


# --- the broker -------------------------------------------------------------------------------


def test_celery_is_told_of_one_redis() -> None:
    """Without the options that are meant for our own clients."""
    told = broker.told("redis://me:p%2Fw@h:1/2?socket_timeout=2")
    assert told == {"broker_url": "redis://me:p%2Fw@h:1/2", "broker_transport_options": {}}


def test_celery_is_told_to_verify() -> None:
    """Kombu would not, by the URL alone."""
    told = broker.told("rediss://h:1/0?ssl_ca_certs=/ca.pem")
    assert (told["broker_url"], told["broker_use_ssl"]) == (
        "rediss://h:1/0",
        {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": "/ca.pem"},
    )


def test_celery_is_told_of_sentinels() -> None:
    """In kombu's own form."""
    told = broker.told("rediss+sentinel://:pw@a:1,[::1]:2/main/3?sentinel_password=s")
    options = told["broker_transport_options"]
    sentinels = options["sentinel_kwargs"]
    assert (told["broker_url"], options["master_name"]) == (
        "sentinel://:pw@a:1/3;sentinel://:pw@[::1]:2/3",
        "main",
    )
    assert (sentinels["password"], sentinels["ssl"]) == ("s", True)
    assert told["broker_use_ssl"]["ssl_cert_reqs"] == "required"


@pytest.mark.parametrize("url", ["amqp://u:p@h//", "sentinel://h:1", "memory://"])
def test_other_brokers_are_celerys_business(url: str) -> None:
    """Their URLs are passed on."""
    assert broker.told(url)["broker_url"] == url


def test_a_cluster_is_no_broker() -> None:
    """The error says what to set."""
    with pytest.raises(ConfigError, match="CHUNKFERRY_BROKER_URL"):
        broker.told("redis+cluster://h")
