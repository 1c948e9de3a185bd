"""What ``doctor`` says of a store's abilities: those of its code, and those of its server."""

from __future__ import annotations

from collections.abc import Iterator

from chunkferry.errors import ChunkferryError
from chunkferry.services import ChunkStore, Observation, Probing
from chunkferry.storage import Stores
from chunkferry.storage.capabilities import capabilities
from chunkferry_worker.cli.checks import Finding, Verdict


def of_store(stores: Stores, service: str) -> Iterator[Finding]:
    """What the store can do and cannot, and where its URL and its server disagree."""
    try:
        store = stores[service]
    except ChunkferryError:
        # The round trip has told why.
        return
    yield _table(store, f"abilities {service}")
    if isinstance(store, Probing):
        yield from _features(store, f"server {service}")


def _table(store: ChunkStore, check: str) -> Finding:
    found = capabilities(store)
    able = ", ".join(name for name, present in found.items() if present)
    missing = ", ".join(name for name, present in found.items() if not present)
    return Finding(
        check=check,
        verdict=Verdict.GOOD,
        message=f"{able}; not: {missing}" if missing else able,
    )


def _features(store: Probing, check: str) -> Iterator[Finding]:
    try:
        observed = store.probe()
    except ChunkferryError as exc:
        yield Finding(
            check=check,
            verdict=Verdict.WARNING,
            message=f"its features could not be tried: {exc}",
            advice="see what the round trip says",
        )
        return
    for observation in observed:
        yield _feature(observation, check)


def _feature(seen: Observation, check: str) -> Finding:
    if seen.present == seen.used:
        known = "known and used" if seen.present else "neither known nor used"
        return Finding(check=check, verdict=Verdict.GOOD, message=f"{seen.feature}: {known}")
    if seen.present:
        return Finding(
            check=check,
            verdict=Verdict.WARNING,
            message=f"{seen.feature}: the server knows them, but the URL does not use them",
            advice=f"add {seen.turn_on} to the store's URL",
        )
    return Finding(
        check=check,
        verdict=Verdict.BAD,
        message=f"{seen.feature}: the URL relies on them, but the server does not know them",
        advice=f"add {seen.turn_off}, or the server's profile, to the store's URL",
    )
