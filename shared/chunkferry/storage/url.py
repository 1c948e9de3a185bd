"""Store URLs: ``scheme://location?option=value``. Knows the syntax, and no store.

Error texts name options but never repeat a value: a URL may hold what should not be logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from chunkferry.errors import ConfigError


class Options(BaseModel):
    """Base of the options of a store; each field is an option of its URL."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_endpoint(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
        msg = "must be an http or https URL"
        raise ValueError(msg)
    # A query would be a signature, or nothing that an API has.
    if parts.username or parts.password or parts.query:
        msg = "must hold no credentials; they come from the environment"
        raise ValueError(msg)
    return value.rstrip("/")


#: An option: where a store's API is, without credentials.
Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUrl:
    """A store URL, taken apart."""

    scheme: str
    #: What stands between ``://`` and ``?``, percent-decoded.
    location: str = field(repr=False)
    options: Mapping[str, str] = field(repr=False)


def parse(url: str) -> StoreUrl:
    """Take ``url`` apart.

    Raises:
        ConfigError: it has no scheme, or an option twice.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        msg = "a store URL looks like scheme://location?option=value"
        raise ConfigError(msg)
    location, _, query = rest.partition("?")
    return StoreUrl(scheme=scheme, location=unquote(location), options=parse_query(query))


def parse_query(query: str) -> dict[str, str]:
    """The options of a query string.

    Raises:
        ConfigError: an option occurs twice.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) != len(pairs):
        msg = "a store URL has the same option twice"
        raise ConfigError(msg)
    return options


def validate(url: StoreUrl, model: type[OptionsT]) -> OptionsT:
    """The options of ``url`` as ``model``.

    Raises:
        ConfigError: an option is unknown, missing or not what it must be.
    """
    known = ", ".join(sorted(model.model_fields)) or "none"
    unknown = sorted(set(url.options) - set(model.model_fields))
    if unknown:
        msg = f"{url.scheme}:// stores have no option {', '.join(unknown)}; known: {known}"
        raise ConfigError(msg)
    try:
        return model.model_validate(dict(url.options))
    except ValidationError as exc:
        # The error itself quotes the values; hence not `from exc`.
        reasons = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors(include_input=False)
        )
        msg = f"options of a {url.scheme}:// store: {reasons}"
        raise ConfigError(msg) from None
