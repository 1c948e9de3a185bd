"""Two replicas of the front door behind nginx, which asks them in turn, without stickiness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import reverse_proxies
from tests.servers.front import Front, StartFront
from tests.servers.reverse_proxies import Served
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry import ChunkManager
from chunkferry.ledger.records import RedisRecords
from chunkferry.upload import ChunkUpload

#: A loaded machine takes its time; what is waited for comes at once or never.
SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """A site that is reached through a proxy."""

    site: Site
    #: A producer beside the front doors.
    manager: ChunkManager
    fronts: list[Front]
    #: Of the proxy.
    url: str
    folder: Path

    @property
    def endpoint(self) -> str:
        """Where clients begin uploads."""
        return f"{self.url}/files"

    def upload(self, upload_id: str) -> ChunkUpload:
        """What Redis knows of an upload."""
        return self.manager.get(upload_id)

    def stored(self, upload_id: str) -> bytes:
        """The object of an upload, once it is there."""
        wait_until(lambda: self.upload(upload_id).is_complete, SECONDS, what=f"{upload_id} stored")
        return self.site.stored(self.upload(upload_id).filepath)

    def served(self, method: str, upload_id: str = "") -> list[Served]:
        """Requests that have ended: of one method, and of one upload if it is named."""
        return [
            entry
            for entry in reverse_proxies.served(self.folder)
            if entry.method == method and upload_id in entry.path
        ]

    def servers(self, method: str, upload_id: str) -> set[str]:
        """Which replicas have answered them."""
        return {entry.upstreams for entry in self.served(method, upload_id)}


@contextmanager
def replicas(site: Site, start_front: StartFront, folder: Path) -> Iterator[Replicas]:
    """Start them all."""
    fronts = [start_front(site.env) for _ in range(2)]
    with reverse_proxies.running("nginx", [front.url for front in fronts], folder) as url:
        manager = site.manager()
        yield Replicas(site=site, manager=manager, fronts=fronts, url=url, folder=folder)
        records = manager._ledger.records
        assert isinstance(records, RedisRecords)
        records._waiting.close()
        records._client.close()
