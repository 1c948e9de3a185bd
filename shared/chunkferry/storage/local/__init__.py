"""Objects as files: ``file:///absolute/folder`` or ``file://./relative/folder``.

The folder is made on first use. It takes no options. Unfinished uploads are in its subfolder
``.chunkferry``, so that the move into their place stays on one file system.
"""

from chunkferry.storage.local.store import LocalStore, from_url
from chunkferry.storage.local.upload import LocalFileService

__all__ = ["LocalFileService", "LocalStore", "from_url"]
