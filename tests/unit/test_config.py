"""``Settings``: from the environment, checked in one place."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from chunkferry import config
from chunkferry.config import APPEND_BATCH, Settings
from chunkferry.errors import ConfigError
from chunkferry.parts import KIB, MIB


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
