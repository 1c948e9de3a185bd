"""Stores by URL and by name. This package knows no store itself: it looks them up.

A store is named by text of one of two forms:

* ``scheme://location?option=value``: the factory that an installed distribution registered for
  ``scheme`` in the entry point group ``chunkferry.stores``. It is called with the whole URL.
* ``module:factory?option=value``: any importable callable. It is called with one argument, the
  options as ``dict[str, str]``, percent-decoded; without a ``?`` the dict is empty.

Both return a ``services.ChunkStore``. The second form imports and runs code: such text may come
from settings, never from a request.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from chunkferry.errors import ChunkferryError, ConfigError, UnknownService
from chunkferry.services import ChunkStore
from chunkferry.storage import url as urls

_GROUP: Final = "chunkferry.stores"


def from_url(url: str) -> ChunkStore:
    """The store that ``url`` describes. Does not connect to it yet.

    Raises:
        ConfigError: nothing is known under this name, or it refuses the options.
        MissingExtra: the store needs packages that are not installed.
    """
    scheme, separator, _ = url.partition("://")
    # A module's URL may hold "://" in the value of an option.
    if separator and "?" not in scheme and ":" not in scheme:
        return _made(scheme, _registered(scheme), url)
    path, _, query = url.partition("?")
    return _made(path, _imported(path), urls.parse_query(query))


def _registered(scheme: str) -> Callable[[str], Any]:
    factories = entry_points(group=_GROUP)
    if scheme not in factories.names:
        known = ", ".join(f"{name}://" for name in sorted(factories.names)) or "none"
        msg = f"no store is known for {scheme}:// (known: {known}; or module:factory)"
        raise ConfigError(msg)
    factory: Callable[[str], Any] = factories[scheme].load()
    return factory


def _imported(path: str) -> Callable[[dict[str, str]], Any]:
    module, _, name = path.partition(":")
    # Nothing else is repeated in an error: it could be a URL with a password and a typing error.
    if not all(map(str.isidentifier, [*module.split("."), name])):
        msg = "a store is named by scheme://location or by module:factory"
        raise ConfigError(msg)
    try:
        factory: Callable[[dict[str, str]], Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        msg = f"no store factory {path!r}: {exc}"
        raise ConfigError(msg) from exc
    return factory


def _made(name: str, factory: Callable[[Any], object], argument: object) -> ChunkStore:
    try:
        store = factory(argument)
    except ChunkferryError:
        raise
    except Exception as exc:
        # Its text may quote the options.
        msg = f"the factory of {name!r} failed: {type(exc).__name__}"
        raise ConfigError(msg) from exc
    if not isinstance(store, ChunkStore):
        msg = f"the factory of {name!r} returned a {type(store).__name__}, which is no ChunkStore"
        raise ConfigError(msg)
    return store


class Stores:
    """The configured stores by service name, each made when it is first asked for.

    Thread-safe. ``services`` maps names to what ``from_url`` takes.
    """

    def __init__(self, services: Mapping[str, str]) -> None:
        self._urls: Final = dict(services)
        self._stores: Final[dict[str, ChunkStore]] = {}
        self._lock: Final = threading.Lock()

    @property
    def names(self) -> list[str]:
        """The service names, sorted."""
        return sorted(self._urls)

    def __contains__(self, service: object) -> bool:
        return service in self._urls

    def __getitem__(self, service: str) -> ChunkStore:
        """The store of ``service``, the same one each time.

        Raises:
            UnknownService: no store is configured under this name.
            ConfigError: its URL cannot be used.
        """
        if service not in self._urls:
            raise UnknownService(service, self.names)
        with self._lock:
            if service not in self._stores:
                self._stores[service] = from_url(self._urls[service])
            return self._stores[service]
