"""Objects as files: ``file:///absolute/folder`` or ``file://./relative/folder``.

The folder is made on first use; ``LocalOptions`` has the options. Unfinished uploads are in its
subfolder ``.chunkferry``, so that the move into their place stays on one file system.
"""

from chunkferry.storage.local.signing import SignedRequest, UrlSigner
from chunkferry.storage.local.store import LocalStore, SigningLocalStore, from_url
from chunkferry.storage.local.upload import LocalFileService

__all__ = [
    "LocalFileService",
    "LocalStore",
    "SignedRequest",
    "SigningLocalStore",
    "UrlSigner",
    "from_url",
]
