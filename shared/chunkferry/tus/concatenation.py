"""Uploads that are joined from others, at the front door (tus, section Concatenation).

Says whose uploads may be joined, and what becomes of them; the joining itself is the workers'.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from starlette.requests import Request

from chunkferry.errors import ChunkferryError, UploadClosed, UploadNotFound
from chunkferry.metadata import check_metadata
from chunkferry.state import State
from chunkferry.storage.capabilities import can_concatenate
from chunkferry.tus.body import TooLarge
from chunkferry.tus.door import Door
from chunkferry.tus.hooks import Principal
from chunkferry.tus.reception import Order, Reception, notes
from chunkferry.upload import ChunkUpload

#: The note that holds what a client's ``Upload-Concat`` said.
NOTE = "concat"


class NotJoinable(ChunkferryError):
    """The store can neither read ranges nor delete, and hence join nothing.

    400 and not 501, because common clients repeat whatever a 5xx answers.
    """

    code = "not_joinable"
    http_status = 400

    def __init__(self, service: str) -> None:
        super().__init__(f"the store {service!r} cannot join uploads: send the file as one")


class Concatenation:
    """Begins partial and joined uploads. One for each application."""

    def __init__(self, door: Door, reception: Reception) -> None:
        self._door = door
        self._manager = door.manager
        self._reception = reception

    def is_possible(self, service: str) -> bool:
        """True if the store of ``service`` lets uploads be joined; looks at no server."""
        return can_concatenate(self._door.stores[service])

    @property
    def is_offered(self) -> bool:
        """True if uploads can be joined where they go as a rule; without a rule, anywhere."""
        rule, names = self._manager.service, self._door.stores.names
        return any(self.is_possible(name) for name in ([rule] if rule in names else names))

    async def begin_partial(self, principal: Principal, order: Order, said: str) -> ChunkUpload:
        """Begin an upload that is only there to be joined.

        The application has its say when it is joined: only then it is known what the file is.

        Args:
            principal: whose it is.
            order: what the client wants.
            said: its ``Upload-Concat``, which HEAD requests are told.

        Raises:
            NotJoinable: the store cannot join.
            TooLarge: larger than any upload may be.
            ChunkferryError: as ``ChunkManager.create_partial``.
        """
        service, most = self._manager.service, self._door.settings.http_max_size or None
        self._require_possible(service)
        if most is not None and (order.length or 0) > most:
            raise TooLarge("this upload", most)
        return await self._reception.begun(
            principal,
            partial(
                self._manager.create_partial,
                order.length,
                service=service,
                metadata=check_metadata(order.metadata),
                notes={**notes(principal, most), NOTE: said},
                lasting=self._door.settings.http_max_upload_age,
            ),
        )

    async def join(
        self,
        request: Request,
        principal: Principal,
        order: Order,
        upload_ids: Sequence[str],
        said: str,
    ) -> ChunkUpload:
        """Begin the upload that joins ``upload_ids``, in this order; asking again finds the same.

        Raises:
            UploadNotFound: one of them is not there, or another principal's.
            NotJoinable: the store cannot join.
            TooLarge: together they are larger than the upload may be.
            Refused: the application's hook says no.
            ChunkferryError: as ``ChunkManager.concatenate``.
        """
        found = await self._door.call(self._manager.ledger.records.get_all, upload_ids)
        known = 0
        for upload_id, upload in zip(upload_ids, found, strict=True):
            if upload is None or not principal.owns(upload.notes.get("principal", "")):
                raise UploadNotFound(upload_id)
            known += upload.length or 0
        # Clients that lost the answer ask again: the same request makes the same path and key.
        asked = json.dumps([principal.name, [*upload_ids], dict(order.metadata)], sort_keys=True)
        digest = hashlib.sha256(asked.encode()).hexdigest()[:32]
        whole = Order(length=known, metadata=order.metadata, content_type=order.content_type)
        creation = await self._reception.planned(request, whole, f"uploads/{digest}")
        self._require_possible(creation.service)
        joined = await self._reception.begun(
            principal,
            partial(
                self._manager.concatenate,
                creation.filepath,
                upload_ids,
                service=creation.service,
                content_type=creation.content_type,
                metadata=creation.metadata,
                notes={**notes(principal, creation.max_size), NOTE: said},
                idempotency_key=digest,
                lasting=self._door.settings.http_max_upload_age,
            ),
        )
        if joined.state is State.FAILED:
            with suppress(UploadClosed):  # somebody else was quicker
                await self._door.call(self._manager.requeue, joined.upload_id)
        return joined

    async def has_all(self, upload: ChunkUpload) -> bool:
        """True if clients have sent all bytes of the uploads that ``upload`` is joined from."""
        found = await self._door.call(self._manager.ledger.records.get_all, upload.sources)
        return all(each.length == each.received for each in found if each is not None)

    def _require_possible(self, service: str) -> None:
        if not self.is_possible(service):
            raise NotJoinable(service)
