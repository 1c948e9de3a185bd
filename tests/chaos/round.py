"""One round: a deployment under faults for a while, then quiet, then judged."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos import checker, record
from tests.chaos.schedule import STORE, ZOMBIES, Kind, schedule
from tests.chaos.site import Plan, Site
from tests.chaos.watch import Watch
from tests.chaos.work import planned
from tests.servers.faketime import library
from tests.servers.witness import read_journal

from chunkferry import ChunkManager, State, config
from chunkferry.errors import ChunkferryError, RedisUnavailable

#: Seconds of a lease.
LEASE: Final = 2.5
#: The same where nobody may lose it but by dying: not even on a busy machine.
STRICT_LEASE: Final = 5.0
#: How long all may take that is still to be done once the faults are over.
SETTLE_SECONDS: Final = 120.0
#: For what is removed late: graves, records.
VANISH_SECONDS: Final = 60.0
#: Between two looks.
_POLL: Final = 0.05


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a round came to."""

    name: str
    folder: Path
    #: What is wrong, in words; empty if nothing is.
    complaints: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    #: What producers saw, by code.
    errors: Counter[str] = field(default_factory=Counter)
    #: Everything else that was counted, in the order of the table.
    counts: dict[str, int] = field(default_factory=dict)


def kinds_for(plan: Plan, *, gentle: bool) -> frozenset[Kind]:
    """The faults of a round; ``gentle``: none after which two holders may be at work at once."""
    found = frozenset(Kind)
    if plan.gateway is None:
        found -= STORE
    if gentle:
        found -= ZOMBIES
    if library() is None:
        found -= {Kind.JUMP_CLOCK}
    return found


def run(
    plan: Plan, name: str, folder: Path, seconds: float, *, every: float, gentle: bool
) -> Outcome:
    """Hurt a deployment for some seconds, and judge what is left.

    Args:
        plan: the deployment.
        name: what the report calls the round.
        folder: for everything it writes; made if missing.
        seconds: how long faults happen.
        every: seconds from one fault to the next, on average.
        gentle: see ``kinds_for``; holders are then held to strict turns.
    """
    outcome = Outcome(name=name, folder=folder)
    folder.mkdir(parents=True)
    with Site(plan, folder) as site:
        manager = ChunkManager(settings=_own_settings(site))
        watch = Watch(manager, lambda: site.possible_rewinds)
        try:
            kinds = kinds_for(plan, gentle=gentle)
            faults = schedule(plan.seed, seconds, kinds, lease=plan.lease, every=every)
            _await(site, site.journal.exists, 60)
            begun = time.monotonic()
            for fault in faults:
                _await(site, lambda at=begun + fault.at: time.monotonic() >= at, seconds)  # type: ignore[misc]  # mypy types no defaults of lambdas
                site.strike(fault)
            site.calm()
            site.stop_producers()
            _settle(site, manager, outcome)
        finally:
            watch.close()
        outcome.complaints += watch.complaints
        _judge(site, outcome, gentle=gentle)
    return outcome


def _own_settings(site: Site) -> config.Settings:
    """The deployment's settings, past the proxies."""
    fields = {
        name.removeprefix("CHUNKFERRY_").lower(): value
        for name, value in site.plan.settings.items()
    }
    return config.load(
        **fields,
        redis_url=site.redis.url,
        broker_url=site.broker.url,
        services={"default": site.store.url},
    )


def _await(site: Site, fact: Callable[[], object], seconds: float) -> bool:
    """Keep the deployment running until ``fact()``; False if that takes too long."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            return False
        site.supervisor.tend()
        time.sleep(_POLL)
    return True


def _settle(site: Site, manager: ChunkManager, outcome: Outcome) -> None:
    """Have everything come to its end; failed uploads get their second chance here."""
    requeued = Counter[str]()

    def is_quiet() -> bool:
        try:
            open_uploads = [u for u in manager.list_uploads() if not u.has_ended]
            for upload in open_uploads:
                if upload.state is State.FAILED:
                    requeued[upload.error_code] += 1
                    manager.requeue(upload.upload_id)
        except RedisUnavailable:
            return False  # it is just being started again
        except ChunkferryError as exc:
            outcome.complaints.append(f"requeue: {exc}")
        return not open_uploads and site.producers_finished()

    begun = time.monotonic()
    if not _await(site, is_quiet, SETTLE_SECONDS):
        waiting = [upload for upload in manager.list_uploads() if not upload.has_ended]
        outcome.complaints += [f"still not ended: {upload}" for upload in waiting]
        outcome.complaints += [
            f"{producer.log.stem} has not come to its end"
            for producer in site.supervisor.producers
            if not producer.has_finished()
        ]
    outcome.counts["seconds until all had ended"] = round(time.monotonic() - begun)
    outcome.counts["failed, then requeued"] = requeued.total()
    outcome.errors.update({f"(of the upload) {code}": n for code, n in requeued.items()})


def _judge(site: Site, outcome: Outcome, *, gentle: bool) -> None:
    """Ask the checker everything."""
    plan, leaks = site.plan, _leaks(site)
    lines = record.read_all(site.folder, plan.producers)
    fates, entries = record.fates(lines), read_journal(site.journal)
    uploads = [(fate, planned(plan.seed, *key)) for key, fate in fates.items()]
    overlaps = checker.holders_overlap(entries)
    outcome.complaints += [
        *leaks,
        *checker.wrong_objects(uploads, site.store, loses=plan.loses),
        *checker.unanswered(fates),
        *checker.useless_errors(lines),
        *checker.changed_parts(entries),
        *checker.misordered(entries),
    ]
    if gentle:
        outcome.complaints += [f"two holders at once: {a} and {b}" for a, b in overlaps]
    outcome.errors.update(line.code for line in lines if line.step == "error")
    outcome.faults.update(site.faults)
    outcome.faults.update({f"wake-up messages {k}": n for k, n in site.thief.counts.items()})
    outcome.faults.update({f"requests: {k}": n for k, n in site.store_counts().items()})
    stored = [plan.size for fate, plan in uploads if fate.acknowledged]
    outcome.counts |= {
        "uploads begun": len(fates),
        "acknowledged": len(stored),
        "their MiB": sum(stored) >> 20,
        "cancelled": sum(fate.cancelled for fate in fates.values()),
        "parts stored": sum(entry.done for entry in entries),
        "parts stored again": checker.repeats(entries),
        "takeovers": site.log_lines("'taken_over': True"),
        "fence rejections": site.log_lines("'outcome': 'lost'"),
        "holders at once (zombies)": len(overlaps),
        "leaks": len(leaks),
        "Redis rewound": site.rewinds,
        "rewinds that producers saw": sum(line.step == "rewind" for line in lines),
    }


def _leaks(site: Site) -> list[str]:
    """What is left that should have gone by itself."""
    client = site.redis.client()
    leaks = checker.lasting_keys(client)
    if not _await(site, lambda: not checker.unsearched(client), VANISH_SECONDS):
        leaks += checker.unsearched(client)
    leaks += checker.leftovers(site.store)
    site.age_records()
    if not _await(site, lambda: not checker.upload_keys(client), VANISH_SECONDS):
        leaks += [f"key left: {key}" for key in checker.upload_keys(client)]
    return leaks
