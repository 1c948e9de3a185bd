"""``Settings``: everything that can be set, read once from ``CHUNKFERRY_…`` variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal

from annotated_types import Gt
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    IPvAnyNetwork,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from chunkferry import parts, webhooks
from chunkferry.errors import ConfigError

#: What must fit into a window beside a whole part: the largest transaction of an append.
APPEND_BATCH: Final = 8 * parts.MIB

#: A colon that is followed by no port, outside of an IPv6 address.
_NO_PORT: Final = re.compile(r":(?!\d+(?:,|$))(?![^\[]*\])")

#: A bearer token: what a header can say, without blanks around it.
_TOKEN: Final = re.compile(r"[!-~]([ -~]*[!-~])?")

PartSize = Annotated[int, AfterValidator(parts.check_part_size)]


def _seconds(value: object) -> object:
    """Take a variable that is a plain number for seconds; other forms are ISO 8601."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


#: A length of time: seconds, or ISO 8601 such as ``PT12H`` or ``P1D``.
Span = Annotated[timedelta, BeforeValidator(_seconds), Gt(timedelta(0))]


def without_secrets(url: str) -> str:
    """``url`` for people and logs: without user, password and options.

    Never raises: what cannot be told from a secret is left out. Several URLs may be joined by
    ``;``, as Celery has it.
    """
    return ";".join(map(_without_secrets, re.split(r";(?=[\w+]+://)", url)))


def _without_secrets(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not (separator and re.fullmatch(r"[\w+.-]+", scheme)):
        # What is left of module:factory?option=value.
        factory = re.match(r"[\w.]+:\w+(?=\?|$)", url)
        return factory[0] if factory else ""
    place, *options = re.split(r"[?#]", rest, maxsplit=1)
    host = place.rpartition("@")[2]
    # The rest of a password that holds a "?", or one without a host behind it.
    doubtful = "@" in "".join(options) or _NO_PORT.search(host.partition("/")[0])
    return f"{scheme}://" if doubtful else f"{scheme}://{host}"


class Settings(BaseSettings):
    """All settings. Every field ``name`` is the environment variable ``CHUNKFERRY_NAME``.

    Their text (``repr``) shows URLs without passwords and options.
    """

    model_config = SettingsConfigDict(
        env_prefix="CHUNKFERRY_",
        frozen=True,
        extra="forbid",
        # The text of an error would quote what it was given: URLs with their passwords.
        hide_input_in_errors=True,
    )

    redis_url: str = Field("redis://localhost:6379/0", description="Redis that holds the uploads")
    broker_url: str = Field("", description="Celery's broker; the Redis of the uploads if empty")
    services: dict[str, str] = Field(
        default_factory=lambda: {"default": "file://./data/objects"},
        description="stores as JSON: name -> URL",
    )
    data: Path = Field(Path("data"), description="folder of `chunkferry up`")

    chunk_size_limit: PartSize = Field(
        8 * parts.MIB, description="preferred part size in bytes: 5 MiB or more, in 256 KiB steps"
    )
    incomplete_upload_expiry: Span = Field(
        timedelta(days=1), description="silence after which an incomplete upload is given up"
    )
    failed_upload_expiry: Span = Field(
        timedelta(days=1), description="how long a failed upload waits for `requeue`"
    )
    result_ttl: Span = Field(
        timedelta(hours=1), description="how long an ended upload can still be asked about"
    )
    window: PositiveInt = Field(
        64 * parts.MIB, description="bytes of one upload that may wait in Redis"
    )
    memory_share: float = Field(
        0.8, gt=0, le=1, description="share of Redis' maxmemory above which appends wait"
    )
    memory_limit: int = Field(
        0, ge=0, description="bytes of Redis' memory above which appends wait, in place of a share"
    )
    append_wait_seconds: float = Field(
        30.0, ge=0, description="how long an append waits for room before it gives up"
    )
    durability: Literal["memory", "fsynced"] = Field(
        "memory", description="where acknowledged bytes are: Redis' `memory`, or its disk"
    )
    replicas: int = Field(
        0, ge=0, description="replicas that must have what is acknowledged; see durability.md"
    )
    durability_wait_seconds: PositiveFloat = Field(
        10.0, description="how long an acknowledgement waits for disk and replicas"
    )
    max_open_uploads: int = Field(
        100_000, ge=0, description="uploads that may be open at once; 0 for any number"
    )
    http_tokens: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="bearer tokens of the front door as JSON: principal -> token; none: no auth",
    )
    http_admins: list[str] = Field(
        default_factory=list,
        description="principals who may see, cancel and requeue all uploads, as JSON",
    )
    http_metrics_open: bool = Field(
        False, description="`/metrics` for everybody, instead of administrators only"
    )
    http_hooks: str = Field(
        "", description="hooks of the front door as `module:attribute`; see http.md"
    )
    http_max_size: int = Field(
        0, ge=0, description="most bytes of an upload over HTTP; 0 for no limit"
    )
    http_quota_uploads: int = Field(
        0, ge=0, description="uploads that one principal may have open over HTTP; 0 for any number"
    )
    http_quota_bytes: int = Field(
        0,
        ge=0,
        description="bytes of one principal that may wait in Redis, and a part more of each upload;"
        " 0 for any number",
    )
    http_max_upload_age: Span = Field(
        timedelta(days=7), description="how long receiving an upload over HTTP may take in all"
    )
    http_ack: Literal["received", "stored"] = Field(
        "received", description="when the last bytes are acknowledged; see http.md"
    )
    http_ack_wait_seconds: PositiveFloat = Field(
        30.0, description="how long a last request waits for `stored`"
    )
    http_body_timeout_seconds: PositiveFloat = Field(
        30.0, description="silence in the middle of a body after which its connection is given up"
    )
    http_checksum_limit: PositiveInt = Field(
        256 * parts.MIB, description="most bytes of a body that comes with a checksum"
    )
    http_header_limit: PositiveInt = Field(
        32 * 1024, description="most bytes of all headers of a request"
    )
    http_location: Literal["relative", "absolute"] = Field(
        "relative", description="form of the URL that a new upload gets"
    )
    http_cors_origins: list[str] = Field(
        default_factory=list,
        description='origins whose pages may send uploads, as JSON; `["*"]` for all',
    )
    http_trusted_proxies: list[IPvAnyNetwork] = Field(
        default_factory=list,
        description="networks whose `Forwarded` and `X-Forwarded-…` are believed, as JSON",
    )
    http_hosts: list[str] = Field(
        default_factory=list,
        description="names and addresses that `Host` may have, as JSON, without ports; none: any",
    )
    http_trailers: bool = Field(
        False, description="whether the HTTP server hands on what follows a body; uvicorn does"
    )
    http_download: Literal["proxy", "redirect"] = Field(
        "proxy", description="finished objects: served by the front door, or by signed URLs"
    )
    http_event_readers: PositiveInt = Field(
        1000, description="connections per process that may read the news of uploads"
    )
    webhook_urls: list[SecretStr] = Field(
        default_factory=list,
        description="where changes of uploads are posted to, as JSON; https, see webhooks.md",
    )
    webhook_secrets: list[SecretStr] = Field(
        default_factory=list,
        description="keys that posts are signed with, as JSON: `whsec_` and base64 each",
    )
    webhook_allow_private: bool = Field(
        default=False, description="whether to post to private addresses, and without TLS"
    )
    webhook_give_up: Span = Field(
        timedelta(days=3), description="age of a change after which it becomes a dead letter"
    )
    webhook_slots: PositiveInt = Field(
        1, description="deliveries at once in one worker, so that they leave room for uploads"
    )
    on_complete: str = Field(
        "", description="`package.module:callable` that workers call with each complete upload"
    )
    on_complete_seconds: PositiveFloat = Field(
        300.0, description="how long it may take; after that another worker calls it again"
    )
    shards: int = Field(64, ge=1, le=16384, description="key groups; fixed once data exists")

    lease_seconds: PositiveFloat = Field(
        30.0, description="how long a worker without progress keeps an upload"
    )
    slice_seconds: PositiveFloat = Field(10.0, description="longest turn of one upload")
    slice_bytes: PositiveInt = Field(64 * parts.MIB, description="largest turn of one upload")
    rewake_seconds: PositiveFloat = Field(
        15.0, description="when a wake-up that nobody answered is sent again"
    )
    sweep_seconds: PositiveFloat = Field(3.0, description="beat of the sweep")
    reconcile_seconds: float = Field(
        3600.0, ge=0, description="beat of the search for leftovers at the stores; 0 for none"
    )
    beat_file: Path | None = Field(
        None, description="file that beat touches with each sweep: a sign of life for health checks"
    )
    max_attempts: PositiveInt = Field(
        300, description="failed tries in a row before an upload is failed: about half a day"
    )
    max_deaths: PositiveInt = Field(
        6, description="workers that may die on one part before the upload is failed"
    )
    backoff_seconds: PositiveFloat = Field(1.0, description="pause after the first failed try")
    backoff_max_seconds: PositiveFloat = Field(300.0, description="longest pause between tries")

    @property
    def broker(self) -> str:
        """URL of Celery's broker.

        Raises:
            ConfigError: it is not set, and what holds the uploads cannot be one.
        """
        if not self.broker_url and "+cluster://" in self.redis_url:
            raise ConfigError(
                "CHUNKFERRY_BROKER_URL: must be set, because Celery cannot use the Redis Cluster"
                " of the uploads as its broker"
            )
        return self.broker_url or self.redis_url

    @property
    def waits_for_durability(self) -> bool:
        """Whether an acknowledgement waits for Redis' disk or its replicas."""
        return self.durability != "memory" or self.replicas > 0

    @cached_property
    def grave_delay(self) -> timedelta:
        """How long after an upload's end its store is searched for late effects.

        Late requests of a dead holder land within its lease; the record must still exist.
        """
        return min(timedelta(seconds=self.lease_seconds * 2), self.result_ttl / 2)

    @cached_property
    def longest_life(self) -> timedelta:
        """How long an upload over HTTP is open at the longest, unless it is requeued."""
        return self.http_max_upload_age + self.failed_upload_expiry + self.orphan_age

    @cached_property
    def orphan_age(self) -> timedelta:
        """How old something unfinished must be before it can count as a leftover.

        The longest life of an upload and of its record, and two leases more: for late requests,
        and for clocks that differ.
        """
        longest = max(self.incomplete_upload_expiry, self.failed_upload_expiry)
        return longest + self.result_ttl + timedelta(seconds=2 * self.lease_seconds)

    @property
    def tells(self) -> bool:
        """True if anybody is to be told of changes."""
        return bool(self.webhook_urls or self.on_complete)

    @cached_property
    def untold_ttl(self) -> timedelta:
        """How long an ended upload's record stays at most while somebody is still to be told."""
        return self.webhook_give_up + self.result_ttl

    def changed(self, **fields: object) -> Settings:
        """These settings with some fields set otherwise; raises as ``load``."""
        return load(**{**self.model_dump(), **fields})

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        for name, value in super().__repr_args__():
            match name:
                case "redis_url" | "broker_url":
                    yield name, without_secrets(str(value))
                case "services":
                    yield name, {key: without_secrets(url) for key, url in self.services.items()}
                case _:
                    yield name, value

    @model_validator(mode="after")
    def _tokens_are_secrets(self) -> Settings:
        for principal, token in self.http_tokens.items():
            # As a variable that is not set would leave them: they would let anybody in.
            if not principal or not token.get_secret_value().strip():
                msg = (
                    f"http_tokens must name principals with a token each, not {principal!r} without"
                )
                raise ValueError(msg)
            if not _TOKEN.fullmatch(token.get_secret_value()):
                # Headers have no certain way to say it: it would never be the one that comes.
                msg = f"the token of {principal!r} in http_tokens must be printable ASCII"
                raise ValueError(msg)
        if len({token.get_secret_value() for token in self.http_tokens.values()}) < len(
            self.http_tokens
        ):
            msg = "http_tokens must be different: a token says who sends it"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> Settings:
        if self.webhook_urls and not self.webhook_secrets:
            msg = "webhook_urls needs webhook_secrets: what is posted is signed"
            raise ValueError(msg)
        for secret in self.webhook_secrets:
            webhooks.key(secret.get_secret_value())
        for url in self.webhook_urls:
            webhooks.check_url(url.get_secret_value(), allow_private=self.webhook_allow_private)
        return self

    @model_validator(mode="after")
    def _window_holds_a_part(self) -> Settings:
        least = self.chunk_size_limit + APPEND_BATCH
        if self.window < least:
            msg = (
                f"window must hold a part and an append, {least} bytes or more, not {self.window}:"
                " with less, an upload would wait for ever"
            )
            raise ValueError(msg)
        return self


def load(**fields: object) -> Settings:
    """The settings from the environment, with ``fields`` set over them.

    Raises:
        ConfigError: a variable or field cannot be used; the message names each.
    """
    try:
        # Their types are what the model is there to check.
        return Settings(**fields)  # type: ignore[arg-type]
    except ValidationError as exc:
        problems = (
            f"{_variable(error['loc'])}{error['msg']}"
            for error in exc.errors(include_url=False, include_input=False)
        )
        raise ConfigError("; ".join(problems)) from exc
    except SettingsError as exc:
        raise ConfigError(
            f'{exc}; expected JSON such as {{"default": "file:///srv/objects"}}'
        ) from exc


def _variable(location: tuple[int | str, ...]) -> str:
    """The environment variable of a field, as the beginning of a sentence."""
    return f"CHUNKFERRY_{location[0]}: ".upper() if location else ""
