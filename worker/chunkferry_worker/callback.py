"""The callable of ``on_complete``: calls an application's own code with each complete upload.

What it raises is logged by type and place only: its text could quote anything.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from functools import reduce
from typing import Any, Final

from chunkferry.errors import ConfigError
from chunkferry.upload import ChunkUpload
from chunkferry.webhooks import COMPLETE, Event
from chunkferry_worker.delivery import DeliveryFailed
from chunkferry_worker.unforeseen import untold

log = logging.getLogger(__name__)

_FORM: Final = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")


class Callback:
    """A sink that is a function."""

    def __init__(self, name: str, span: timedelta) -> None:
        """Find the function ``name``; raises ``ConfigError`` as ``load``."""
        self._call = load(name)
        self.name = "on_complete"
        self.shown = name
        self.span = span

    def takes(self, event: Event) -> bool:
        """Only of complete uploads."""
        return event.kind == COMPLETE

    def deliver(self, event: Event) -> None:
        """Call it. Raises ``DeliveryFailed`` if it raises anything."""
        try:
            self._call(event.upload)
        except (Exception, SystemExit) as exc:
            log.warning(
                "on_complete failed; it will be called again.",
                extra={"action": "tell", "upload_id": event.upload.upload_id},
                exc_info=untold(exc),
            )
            raise DeliveryFailed(f"on_complete raised {type(exc).__name__}") from None


def load(name: str) -> Callable[[ChunkUpload], object]:
    """The function that ``package.module:callable`` names.

    Raises:
        ConfigError: there is none, or it cannot be called as it would be.
    """
    if not _FORM.fullmatch(name):
        raise ConfigError(f"CHUNKFERRY_ON_COMPLETE: expected package.module:callable, not {name!r}")
    module, _, path = name.partition(":")
    try:
        found: Any = reduce(getattr, path.split("."), importlib.import_module(module))
    except Exception as exc:
        raise ConfigError(
            f"CHUNKFERRY_ON_COMPLETE: {name} cannot be imported: {type(exc).__name__}"
        ) from exc
    if not callable(found) or inspect.iscoroutinefunction(found):
        raise ConfigError(f"CHUNKFERRY_ON_COMPLETE: {name} is no plain function")
    function: Callable[[ChunkUpload], object] = found
    return function
