"""``Settings``: from the environment, checked in one place."""

from __future__ import annotations

import traceback
from datetime import timedelta

import pytest
from pydantic import ValidationError
from rich.pretty import pretty_repr

from chunkferry import config, connection
from chunkferry.config import APPEND_BATCH, Settings
from chunkferry.errors import ConfigError
from chunkferry.parts import KIB, MIB
from chunkferry.storage import from_url, url


def test_every_setting_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name in capitals, after ``CHUNKFERRY_``."""
    monkeypatch.setenv("CHUNKFERRY_REDIS_URL", "redis://there:1/2")
    monkeypatch.setenv("CHUNKFERRY_SERVICES", '{"films": "memory://films"}')
    monkeypatch.setenv("CHUNKFERRY_CHUNK_SIZE_LIMIT", str(6 * MIB))
    monkeypatch.setenv("CHUNKFERRY_SHARDS", "3")
    settings = config.load()
    assert (settings.redis_url, settings.services, settings.chunk_size_limit, settings.shards) == (
        "redis://there:1/2",
        {"films": "memory://films"},
        6 * MIB,
        3,
    )


@pytest.mark.parametrize("tokens", [{"ann": ""}, {"ann": " \t"}, {"": "secret"}])
def test_a_token_is_not_empty(tokens: dict[str, str]) -> None:
    """It would be anybody's, and its uploads nobody's."""
    with pytest.raises(ConfigError, match="http_tokens"):
        config.load(http_tokens=tokens)


@pytest.mark.parametrize("token", ["sécret", "se\ncret", " secret", "secret\n", "\U0001f511cret"])
def test_a_token_can_be_sent(token: str) -> None:
    """A header has no certain way to say another; the error does not quote it."""
    with pytest.raises(ConfigError, match="http_tokens") as caught:
        config.load(http_tokens={"ann": token})
    assert "cret" not in str(caught.value)


def test_a_token_is_of_one_principal() -> None:
    """Else it would depend on their order whose uploads it opens."""
    with pytest.raises(ConfigError, match="http_tokens must be different"):
        config.load(http_tokens={"ann": "same", "bob": "same"})


@pytest.mark.parametrize("text", ["90", "90.0", "PT90S", "PT1M30S"])
def test_a_span_is_seconds_or_iso_8601(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """As it suits."""
    monkeypatch.setenv("CHUNKFERRY_RESULT_TTL", text)
    assert config.load().result_ttl == timedelta(seconds=90)


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever passes one means it."""
    monkeypatch.setenv("CHUNKFERRY_SHARDS", "3")
    assert config.load(shards=5).shards == 5


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CHUNKFERRY_SHARDS", "0"),
        ("CHUNKFERRY_SHARDS", "many"),
        ("CHUNKFERRY_CHUNK_SIZE_LIMIT", str(4 * MIB)),
        ("CHUNKFERRY_CHUNK_SIZE_LIMIT", str(5 * MIB + 1)),
        ("CHUNKFERRY_MEMORY_SHARE", "1.1"),
        ("CHUNKFERRY_LEASE_SECONDS", "0"),
        ("CHUNKFERRY_RESULT_TTL", "-1"),
        ("CHUNKFERRY_RESULT_TTL", "soon"),
    ],
)
def test_an_unusable_value_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """The variable is what people can change."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"^{variable}: "):
        config.load()


def test_services_have_to_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message shows what they look like."""
    monkeypatch.setenv("CHUNKFERRY_SERVICES", "file:///srv")
    with pytest.raises(ConfigError, match=r'expected JSON such as \{"default"'):
        config.load()


def test_a_secret_is_not_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that cannot be used may still hold a password."""
    monkeypatch.setenv("CHUNKFERRY_SHARDS", "hunter2")
    with pytest.raises(ConfigError) as raised:
        config.load()
    assert "hunter2" not in str(raised.value)


def test_a_window_holds_a_part_and_an_append() -> None:
    """With less, producer and worker would wait for one another."""
    least = 8 * MIB + APPEND_BATCH
    assert config.load(chunk_size_limit=8 * MIB, window=least).window == least
    with pytest.raises(ConfigError, match="window must hold a part and an append"):
        config.load(chunk_size_limit=8 * MIB, window=least - 1)


def test_changed_settings_are_checked_too() -> None:
    """And the others stay as they are."""
    settings = config.load(shards=7)
    changed = settings.changed(chunk_size_limit=6 * MIB)
    assert (changed.chunk_size_limit, changed.shards, settings.chunk_size_limit) == (
        6 * MIB,
        7,
        8 * MIB,
    )
    with pytest.raises(ConfigError):
        settings.changed(chunk_size_limit=KIB)


def test_settings_cannot_be_altered() -> None:
    """They are read once."""
    with pytest.raises(ValidationError):
        config.load().shards = 3


def test_an_unknown_setting_is_refused() -> None:
    """A typing error would go unnoticed."""
    with pytest.raises(ConfigError, match="CHUNKFERRY_SHARD: "):
        config.load(shard=3)


def test_the_broker_is_the_redis_of_the_uploads_by_default() -> None:
    """For a beginning; production has two."""
    assert config.load(redis_url="redis://one").broker == "redis://one"
    assert config.load(broker_url="amqp://two").broker == "amqp://two"


@pytest.mark.parametrize(("ttl", "delay"), [(3600, 60), (60, 30)])
def test_a_grave_is_visited_while_the_record_is_there(ttl: int, delay: int) -> None:
    """After the last request of a dead holder must have landed."""
    settings = config.load(result_ttl=timedelta(seconds=ttl), lease_seconds=30.0)
    assert settings.grave_delay == timedelta(seconds=delay)


def test_every_setting_is_described() -> None:
    """The reference in the docs is made of it."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


URLS = {
    "redis://localhost:6379/0": "redis://localhost:6379/0",
    "rediss://user:s3cret@host:1/2": "rediss://host:1/2",
    "redis://:s3c/ret@host": "redis://host",
    "redis://:s3c?ret@host/0": "redis://",
    "redis://:s3cret": "redis://",
    "redis://user:s3cret": "redis://",
    "redis://:s3c;ret@host": "redis://host",
    "redis://:s3cret@[::1]:6379/0": "redis://[::1]:6379/0",
    "amqp://u:s3cret@one;amqp://u:s3cret@two": "amqp://one;amqp://two",
    "sentinel://:s3cret@one:1,two:2/name": "sentinel://one:1,two:2/name",
    "redis+socket:///tmp/redis?password=s3cret": "redis+socket:///tmp/redis",
    "file:///srv/a:b": "file:///srv/a:b",
    "package.module:factory?password=s3cret": "package.module:factory",
    "sftp:user:s3cret@host": "",
    "s3cret": "",
    "": "",
}


@pytest.mark.parametrize(("given", "shown"), URLS.items())
def test_a_url_is_shown_without_its_secrets(given: str, shown: str) -> None:
    """Also one that is written wrongly: what may be part of a password is left out."""
    assert config.without_secrets(given) == shown


def test_settings_show_no_secrets() -> None:
    """Neither as text nor as ``rich`` would show them; everything else is there."""
    settings = config.load(
        redis_url="redis://:s3cret@one/0",
        broker_url="amqp://u:s3cret@two//",
        services={"a": "file:///srv", "b": "m:f?password=s3cret"},
        shards=7,
    )
    for text in (repr(settings), str(settings), f"{[settings]}", pretty_repr(settings)):
        assert "s3cret" not in text
        assert "one/0" in text
        assert "file:///srv" in text
        assert "7" in text
    assert settings.redis_url == "redis://:s3cret@one/0"


def whole_text(error: BaseException) -> str:
    """What a traceback shows, causes and contexts included."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "fields",
    [
        # The whole settings are the input of this check.
        {"redis_url": "redis://:s3cret@one/0", "window": 1},
        {"redis_url": ["redis://:s3cret@one/0"]},
        {"services": {"a": ["m:f?password=s3cret"]}},
        {"s3cret": "s3cret", "shards": "s3cret"},
    ],
)
def test_a_traceback_of_wrong_settings_shows_no_secret(fields: dict[str, object]) -> None:
    """Workers end with one; the cause in it would quote what it was given."""
    with pytest.raises(ConfigError) as raised:
        config.load(**fields)
    assert "=s3cret" not in whole_text(raised.value)
    assert "s3cret@" not in whole_text(raised.value)
    with pytest.raises(ValidationError) as invalid:
        Settings(**fields)  # type: ignore[arg-type]  # wrong on purpose
    assert "s3cret@" not in whole_text(invalid.value)


def test_services_that_are_no_json_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser's error stands in the traceback."""
    monkeypatch.setenv("CHUNKFERRY_SERVICES", '{"a": "m:f?password=s3cret"')
    with pytest.raises(ConfigError) as raised:
        config.load()
    assert "s3cret" not in whole_text(raised.value)


@pytest.mark.parametrize(
    "wrong", ["redis://user:s3cret/more@host:1/0", "s3cret@host", "http://:s3cret@host"]
)
def test_a_redis_url_that_cannot_be_used_is_not_shown(wrong: str) -> None:
    """A password that is not percent-encoded reads like a port, and would be quoted as one."""
    with pytest.raises(ConfigError) as raised:
        connection.connect(wrong)
    assert "s3cret" not in whole_text(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        "sftp:user:s3cret@host",
        "s3//s3cret@bucket",
        "s3://s3cret@bucket",
        "s3://bucket?endpoint_url=https://u:s3cret@host",
        "s3://bucket?region=x&connections=s3cret",
        "s3cret",
    ],
)
def test_a_store_url_that_cannot_be_used_is_not_shown(wrong: str) -> None:
    """Its error names options, never values."""
    with pytest.raises(ConfigError) as raised:
        from_url(wrong)
    assert "s3cret" not in whole_text(raised.value)


def test_a_store_url_taken_apart_shows_no_secret() -> None:
    """Neither of what stands in the place of a user, nor of its options."""
    taken = url.parse("s3://key:s3cret@bucket?password=s3cret")
    assert "s3cret" not in repr(taken)
