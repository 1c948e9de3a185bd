"""Sinks: who is told of changes, as the settings name them. Knows nothing of order and tries."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from chunkferry.config import Settings
from chunkferry.webhooks import Event
from chunkferry_worker.callback import Callback
from chunkferry_worker.webhook import Webhook


class Sink(Protocol):
    """Somebody who is told."""

    @property
    def name(self) -> str:
        """Stable and without secrets: the place in an upload's history is kept under it."""

    @property
    def shown(self) -> str:
        """For people; without secrets."""

    @property
    def span(self) -> timedelta:
        """How long one delivery may take."""

    def takes(self, event: Event) -> bool:
        """True if this is for it."""

    def deliver(self, event: Event) -> None:
        """Tell. Raises ``DeliveryFailed``."""


def of(settings: Settings) -> list[Sink]:
    """All sinks of the settings; each is told of everything it takes.

    Raises:
        ConfigError: ``on_complete`` names nothing that can be called.
    """
    found: list[Sink] = [Webhook(url.get_secret_value(), settings) for url in settings.webhook_urls]
    if settings.on_complete:
        found.append(
            Callback(settings.on_complete, timedelta(seconds=settings.on_complete_seconds))
        )
    return found
