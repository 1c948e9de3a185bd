"""What ``doctor`` looks at. Each check yields findings; none of them prints."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

import redis

from chunkferry import connection, parts, readiness, wakeup
from chunkferry.backlog import Backlog
from chunkferry.config import Settings
from chunkferry.errors import ChunkferryError
from chunkferry.ledger import RedisLedger
from chunkferry.services import Service
from chunkferry.storage import Stores
from chunkferry_worker.cli import round_trip

#: Largest difference between our clock and Redis' that needs no mention, in seconds.
_SKEW: Final = 5.0
#: How long workers may take to answer, in seconds.
_PING: Final = 2.0
#: Sweeps after which due work counts as forgotten.
_SWEEPS: Final = 5
#: Share of maxmemory above which Redis is nearly full, beyond what appends may use.
_FULL: Final = 0.9


class Verdict(StrEnum):
    """How a check went."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a check found out."""

    check: str
    verdict: Verdict
    #: What is the case.
    message: str
    #: What to change; empty if nothing.
    advice: str = ""


def _good(check: str, message: str) -> Finding:
    return Finding(check=check, verdict=Verdict.GOOD, message=message)


def _warning(check: str, message: str, advice: str) -> Finding:
    return Finding(check=check, verdict=Verdict.WARNING, message=message, advice=advice)


def _bad(check: str, message: str, advice: str) -> Finding:
    return Finding(check=check, verdict=Verdict.BAD, message=message, advice=advice)


def of_redis(settings: Settings) -> Iterator[Finding]:
    """The uploads' Redis; its last finding is bad if nothing more can be asked of it."""
    try:
        client = connection.connect(settings.redis_url)
        with connection.translated():
            servers = connection.servers(client)
        found = [connection.facts(server) for server in servers]
    except ChunkferryError as exc:
        yield _bad("redis", str(exc), "start Redis, or correct CHUNKFERRY_REDIS_URL")
        return
    ledger = RedisLedger(client, settings)
    version = ".".join(map(str, min(server.version for server in found)))
    try:
        connection.require_usable(client)
        ledger.records.require_layout()
        yield _good("redis", f"Redis {version} answers and evicts nothing")
    except ChunkferryError as exc:
        yield _bad("redis", str(exc), "see docs/redis.md")
    for server, its in zip(servers, found, strict=True):
        for finding in _told("redis", _of_server(server, its, settings)):
            yield finding if len(servers) == 1 else _of(server, finding)
    yield from _told("due", _of_uploads(client, ledger, settings))


def _told(check: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings; an error among them is the last one, and the other checks go on."""
    try:
        yield from findings
    except ChunkferryError as exc:
        yield _bad(check, str(exc), "see docs/redis.md")


def _of_server(
    server: redis.Redis, its: connection.ServerFacts, settings: Settings
) -> Iterator[Finding]:
    yield from _persistence(server, aof=its.aof_enabled)
    yield _memory(its, settings)
    yield _clock(server)


def _of_uploads(client: redis.Redis, ledger: RedisLedger, settings: Settings) -> Iterator[Finding]:
    yield _durability(client, settings)
    backlog = ledger.health.backlog()
    yield _oldest_due(backlog, settings)
    yield _unanswered(backlog, settings)
    yield _failed(backlog)


def _of(server: redis.Redis, finding: Finding) -> Finding:
    """The finding, with the name of its server of a cluster."""
    options = server.connection_pool.connection_kwargs
    name = f"{options['host']}:{options['port']}"
    return dataclasses.replace(finding, message=f"{name}: {finding.message}")


def _persistence(client: redis.Redis, *, aof: bool) -> Iterator[Finding]:
    if not aof:
        yield _warning(
            "persistence",
            "the append-only file is off: a restart of Redis loses what is not stored yet",
            "set appendonly yes and appendfsync everysec (or always)",
        )
        return
    with connection.translated():
        info = client.info("persistence")
    if info.get("aof_last_write_status", "ok") != "ok":
        yield _bad("persistence", "the last write of the append-only file failed", "free its disk")
    try:
        fsync = cast("dict[str, str]", client.config_get("appendfsync")).get("appendfsync", "?")
    except redis.RedisError:
        yield _good("persistence", "the append-only file is on (appendfsync cannot be asked)")
        return
    if fsync == "no":
        yield _warning(
            "persistence",
            "appendfsync is `no`: a power failure loses up to half a minute",
            "set appendfsync everysec (or always)",
        )
    else:
        yield _good("persistence", f"the append-only file is on, appendfsync {fsync}")


def _durability(client: redis.Redis, settings: Settings) -> Finding:
    """What an acknowledgement means here, and whether this server can give it."""
    check, wanted = "durability", settings.replicas
    try:
        RedisLedger(client, settings).intake.require_durability()
    except ChunkferryError as exc:
        return _bad(check, str(exc), "see docs/durability.md")
    with connection.translated():
        told = [server.info("replication") for server in connection.servers(client)]
    there = min(int(info.get("connected_slaves", 0)) for info in told)
    if there < wanted:
        return _bad(
            check,
            f"{there} replicas are connected, and {wanted} have to acknowledge each append",
            "connect replicas, or lower CHUNKFERRY_REPLICAS: until then appends are refused",
        )
    place = "on the disk" if settings.durability == "fsynced" else "in the memory"
    also = f" and {wanted} of its replicas" if wanted else ""
    return _good(check, f"what is acknowledged is {place} of Redis{also}")


def _memory(server: connection.ServerFacts, settings: Settings) -> Finding:
    used = f"{server.used_memory / parts.MIB:.0f} MiB used"
    if not server.maxmemory:
        return _warning(
            "memory",
            f"maxmemory is not set ({used}): Redis grows until the system ends it",
            "set maxmemory to what the machine can spare",
        )
    if settings.memory_limit and server.used_memory > settings.memory_limit:
        limit = f"{settings.memory_limit / parts.MIB:.0f} MiB memory_limit"
        return _warning("memory", f"{used}, more than the {limit}", "appends wait; add workers")
    share = server.used_memory / server.maxmemory
    text = f"{used} of {server.maxmemory / parts.MIB:.0f} MiB maxmemory ({share:.0%})"
    if share > max(_FULL, settings.memory_share):
        return _bad("memory", text, "add workers or maxmemory: appends are refused")
    if share > settings.memory_share:
        return _warning("memory", text, "appends wait; add workers or maxmemory if it lasts")
    return _good("memory", text)


def _clock(client: redis.Redis) -> Finding:
    before = time.time()
    with connection.translated():
        seconds, micros = client.time()
    skew = seconds + micros / 1e6 - (before + time.time()) / 2
    text = f"Redis' clock differs from this machine's by {abs(skew):.1f} s"
    if abs(skew) > _SKEW:
        return _warning("clock", text, "synchronize the clocks (NTP); stores refuse requests too")
    return _good("clock", text)


def _oldest_due(backlog: Backlog, settings: Settings) -> Finding:
    if backlog.oldest_due > settings.sweep_seconds * _SWEEPS:
        return _bad(
            "due",
            f"an upload has been due for {backlog.oldest_due:.0f} s and nobody looks at it",
            "start beat (`celery -A chunkferry_worker beat`) and workers",
        )
    return _good("due", "no upload waits to be looked at")


def _unanswered(backlog: Backlog, settings: Settings) -> Finding:
    """Workers that are alive may have stopped to take wake-ups: only the waiting work tells."""
    wait = backlog.longest_wait
    # The first wake-up may have been lost with a broker; the sweep has sent another one since.
    if not backlog.unanswered or wait < settings.rewake_seconds * 2:
        return _good("wake-ups", "no upload waits for a worker for long")
    message = f"{backlog.unanswered} uploads have work that nobody takes, for up to {wait:.0f} s"
    if backlog.leases:
        return _warning(
            "wake-ups",
            f"{message}; workers hold {backlog.leases} others",
            "add workers; if some take nothing (see their logs), restart those",
        )
    return _bad(
        "wake-ups",
        f"{message}, and no worker holds any upload",
        f"start workers that consume {wakeup.DRAIN}; restart those that run and take nothing",
    )


def _failed(backlog: Backlog) -> Finding:
    if not backlog.failed:
        return _good("failed", "no upload has failed")
    codes = ", ".join(f"{count} {code}" for code, count in sorted(backlog.failed.items()))
    return _warning(
        "failed",
        f"{sum(backlog.failed.values())} failed uploads wait ({codes}), with "
        f"{backlog.failed_bytes / parts.MIB:.0f} MiB of Redis' memory",
        "mend the cause and `chunkferry requeue` them, or `chunkferry cancel` them",
    )


def of_workers(settings: Settings) -> Iterator[Finding]:
    """The broker, and who listens to it."""
    try:
        app = wakeup.producer_app(settings.broker)
    except ChunkferryError as exc:
        yield _bad("broker", str(exc), "correct CHUNKFERRY_BROKER_URL")
        return
    with app:
        try:
            readiness.require_broker(app)
        except ChunkferryError as exc:
            yield _bad("broker", str(exc), "start it, or correct CHUNKFERRY_BROKER_URL")
            return
        yield _good("broker", "the broker answers")
        try:
            nodes = app.control.inspect(timeout=_PING).active_queues() or {}
        except Exception as exc:
            yield _bad(
                "workers",
                f"the broker does not let them be asked: {type(exc).__name__}",
                "give the user of CHUNKFERRY_BROKER_URL the rights that workers have",
            )
            return
    yield _at_work(nodes)
    if settings.tells and not _listeners(nodes, wakeup.TELL):
        yield _warning(
            "tellers",
            f"no worker that consumes {wakeup.TELL} answered, and changes are to be told",
            f"add {wakeup.TELL} to some worker's --queues",
        )


def _listeners(nodes: Mapping[str, Sequence[Mapping[str, object]]], queue: str) -> list[str]:
    return sorted(name for name, queues in nodes.items() if queue in {q["name"] for q in queues})


def _at_work(nodes: Mapping[str, Sequence[Mapping[str, object]]]) -> Finding:
    at_work = _listeners(nodes, wakeup.DRAIN)
    if at_work:
        return _good("workers", f"{len(at_work)} answer: {', '.join(at_work)}")
    return _bad(
        "workers",
        f"no worker that consumes {wakeup.DRAIN} answered within {_PING:g} s",
        "start `celery -A chunkferry_worker worker`",
    )


def of_store(stores: Stores, service: str, part_size: int) -> Finding:
    """A round trip of a small object through the store."""
    check = f"store {service}"
    try:
        store = stores[service]
        seconds = round_trip.seconds(store, service, part_size)
    except ChunkferryError as exc:
        mend = "its URL, bucket, credentials or permissions"
        advice = f"the store may be down: try again, or look at {mend}"
        return _bad(check, str(exc), advice if exc.retryable else f"correct {mend}")
    except FileNotFoundError:
        return _bad(check, "an object that was stored cannot be found", "look at the store's log")
    except Exception as exc:
        # Its text may hold anything: it is not ours.
        return _bad(check, f"the store failed: {type(exc).__name__}", "see the store's own docs")
    if not isinstance(store, Service):
        advice = f"remove {round_trip.FOLDER}"
        return _warning(check, "stored an object that cannot be read back", advice)
    return _good(check, f"stored, read back and removed an object in {seconds:.2f} s")
