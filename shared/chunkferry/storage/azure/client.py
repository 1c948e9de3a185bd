"""The client of a store, bounded in time. Knows no blob."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, LinearRetry

from chunkferry.errors import ConfigError

if TYPE_CHECKING:
    from chunkferry.storage.azure.options import AzureOptions

#: To connect.
CONNECT_SECONDS: Final = 3
#: A server that stays silent for longer is taken for dead.
READ_SECONDS: Final = 13
#: Repeats of one request: both tries fit a lease of 30 s. The drain's own, later tries come on top.
RETRIES: Final = 1
#: Pause before a repeat, in seconds; as much is added or taken away at random.
_BACKOFF: Final = 1
#: Bytes that one request reads; the SDK keeps them in memory.
_READ: Final = 8 * 1024 * 1024

_CONNECTION: Final = "AZURE_STORAGE_CONNECTION_STRING"
_ACCOUNT: Final = "AZURE_STORAGE_ACCOUNT"
_KEY: Final = "AZURE_STORAGE_KEY"
_SAS: Final = "AZURE_STORAGE_SAS_TOKEN"


def connect(options: AzureOptions, env: Mapping[str, str]) -> BlobServiceClient:
    """A client with the credentials that ``env`` has, or those of the machine.

    Raises:
        ConfigError: there is no account, or the credentials cannot be read.
    """
    bounds: dict[str, Any] = {
        "connection_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "max_single_get_size": _READ,
        "max_chunk_get_size": _READ,
        "retry_policy": LinearRetry(
            backoff=_BACKOFF, retry_total=RETRIES, random_jitter_range=_BACKOFF
        ),
    }
    connection = env.get(_CONNECTION, "")
    try:
        if connection and not (options.account or options.endpoint_url):
            return BlobServiceClient.from_connection_string(connection, **bounds)
        return BlobServiceClient(
            _endpoint(options, env), credential=_credential(options, env), **bounds
        )
    except (ValueError, AzureError) as exc:
        # Its text may quote the credentials; hence not `from exc`.
        msg = f"the credentials for Azure cannot be used: {type(exc).__name__}"
        raise ConfigError(msg) from None


def _account(options: AzureOptions, env: Mapping[str, str]) -> str:
    return options.account or env.get(_ACCOUNT, "")


def _endpoint(options: AzureOptions, env: Mapping[str, str]) -> str:
    if options.endpoint_url:
        return options.endpoint_url
    account = _account(options, env)
    if not account:
        msg = f"an az URL needs account=…, endpoint_url=…, {_ACCOUNT} or {_CONNECTION}"
        raise ConfigError(msg)
    return f"https://{account}.blob.core.windows.net"


def _credential(options: AzureOptions, env: Mapping[str, str]) -> Any:
    if key := env.get(_KEY):
        account = _account(options, env)
        return {"account_name": account, "account_key": key} if account else key
    return env.get(_SAS) or DefaultAzureCredential()
