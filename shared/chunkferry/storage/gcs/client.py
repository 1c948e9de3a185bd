"""The clients of a store, bounded in time. Knows no object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import google.auth
import requests
from google.api_core import retry
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter

from chunkferry.errors import StoreUnavailable

if TYPE_CHECKING:
    from chunkferry.storage.gcs.options import GcsOptions

#: To connect.
CONNECT_SECONDS: Final = 3
#: A server that stays silent for longer is taken for dead.
READ_SECONDS: Final = 13
#: Requests that failed are repeated for so long, so that one that ran into ``READ_SECONDS`` is
#: not: all tries fit a lease of 30 s. The drain's own, later tries come on top.
RETRY_SECONDS: Final = 3.0

#: What is allowed is IAM's business; a narrower scope would not let it sign URLs.
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What one process needs to talk to the service."""

    #: ``google.cloud.storage.Client``, which has no types.
    storage: Any
    #: Google's, of whichever kind the environment offers.
    credentials: Any
    #: Sends them along.
    authorized: requests.Session
    #: Sends none: for session URIs, which are credentials themselves.
    plain: requests.Session


def timeouts() -> tuple[float, float]:
    """Seconds to connect, and between two bytes."""
    return CONNECT_SECONDS, READ_SECONDS


def sdk_retry() -> Any:
    """How the SDK repeats its calls."""
    return DEFAULT_RETRY.with_timeout(RETRY_SECONDS)


def session_retry() -> retry.Retry:
    """How requests to a session URI are repeated: by the same machinery, with our errors."""
    return retry.Retry(
        predicate=retry.if_exception_type(StoreUnavailable),
        initial=0.1,
        maximum=1.0,
        timeout=RETRY_SECONDS,
    )


def connect(options: GcsOptions) -> Client:
    """The clients; may fail for lack of credentials."""
    if options.anonymous:
        credentials: Any = AnonymousCredentials()  # type: ignore[no-untyped-call] # Google's
    else:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    authorized: Any = AuthorizedSession(credentials)  # type: ignore[no-untyped-call] # Google's
    plain = requests.Session()
    for session in (authorized, plain):
        adapter = HTTPAdapter(
            pool_connections=options.connections, pool_maxsize=options.connections
        )
        session.mount("https://", adapter)
        session.mount("http://", adapter)
    return Client(
        storage=storage.Client(
            # None: objects need no project, and looking for one may ask a metadata server.
            project=None,
            credentials=credentials,
            _http=authorized,
            client_options={"api_endpoint": options.endpoint_url} if options.endpoint_url else None,
        ),
        credentials=credentials,
        authorized=authorized,
        plain=plain,
    )
