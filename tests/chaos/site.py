"""A whole deployment behind proxies, and how to hurt it: what a chaos run works on.

Starts and breaks things; judges nothing.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

import redis
from tests.chaos.processes import ModuleProcess, Supervisor, children, send
from tests.chaos.rewinding import PowerCut
from tests.chaos.schedule import Fault, Kind
from tests.chaos.thief import Thief
from tests.chaos.work import PART
from tests.servers import faketime
from tests.servers.proxy import ProxyProcess
from tests.servers.redis import RedisServer
from tests.servers.s3 import S3Server
from tests.servers.stores import RealStore, local_store, s3_store

from chunkferry.parts import MIB

#: Seconds that an ended upload is known: longer than any outage here, as in production. The end of
#: a round moves Redis' clock instead of waiting for it.
RESULT_TTL = 45
CELERY = ("celery", "-A", "chunkferry_worker")
#: What each part takes at least: a fault then meets holders amid a part.
PART_SECONDS = 0.2

#: Longer than a blip, shorter than anybody's patience; the store's own time-out is 13 s.
STALL_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one round consists of."""

    seed: int
    #: A gateway, or None for a folder.
    gateway: S3Server | None
    #: Redis' ``appendfsync``. With ``everysec`` power cuts lose up to a second.
    fsync: str
    #: Seconds of a lease.
    lease: float
    producers: int = 4
    workers: int = 3

    @property
    def loses(self) -> bool:
        """True if Redis may come back without its newest second."""
        return self.fsync != "always"

    @property
    def settings(self) -> dict[str, str]:
        """The variables that make everything quick."""
        return {
            "CHUNKFERRY_LEASE_SECONDS": str(self.lease),
            "CHUNKFERRY_REWAKE_SECONDS": "1",
            "CHUNKFERRY_SWEEP_SECONDS": "0.5",
            "CHUNKFERRY_RESULT_TTL": str(RESULT_TTL),
            "CHUNKFERRY_SLICE_SECONDS": "1",
            "CHUNKFERRY_SLICE_BYTES": str(16 * MIB),
            "CHUNKFERRY_CHUNK_SIZE_LIMIT": str(PART),
            "CHUNKFERRY_WINDOW": str(24 * MIB),
            "CHUNKFERRY_APPEND_WAIT_SECONDS": "5",
            # Few, so that some uploads fail and have to be requeued.
            "CHUNKFERRY_MAX_DEATHS": "2",
            "CHUNKFERRY_BACKOFF_SECONDS": "0.2",
            "CHUNKFERRY_BACKOFF_MAX_SECONDS": "2",
        }


class Site:
    """Producers, workers, beat, two Redis servers and a store; a context manager."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.journal = folder / "parts.jsonl"
        self.faults = Counter[str]()
        self.supervisor = Supervisor()
        #: How often Redis came back with less than it had written.
        self.rewinds = 0
        #: How often it may have: before each fsync, it may also have acknowledged unwritten data.
        self.possible_rewinds = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        settings = {"appendfsync": self.plan.fsync}
        skewed = faketime.library() is not None
        kind: Callable[..., RedisServer] = faketime.SkewedRedis if skewed else RedisServer
        self.redis = kind(self.folder / "redis", settings=settings)
        self.broker = RedisServer(self.folder / "broker", settings=settings)
        for server in (self.redis, self.broker):
            stack.callback(server.close)
            server.start()
        if isinstance(self.redis, faketime.SkewedRedis):
            faketime.prove(self.redis)
        self._proxies = stack.enter_context(ProxyProcess())
        self.power = PowerCut(self.redis)
        stack.callback(self.power.close)
        broker = redis.Redis.from_url(self.broker.url)
        stack.callback(broker.close)
        self.thief = Thief(broker, self.plan.seed)
        stack.callback(self.thief.close)
        self.store = self._store()
        self.env = self._variables()
        stack.callback(self.supervisor.close)
        self._start_processes()

    def _store(self) -> RealStore:
        """The store as the checker sees it: without a proxy."""
        if self.plan.gateway is None:
            return local_store(self.folder / "objects")
        return s3_store(self.plan.gateway, prefix=self.folder.name)

    def _variables(self) -> dict[str, str]:
        url = self.store.url
        if self.plan.gateway is not None:
            port = int(self.plan.gateway.endpoint.rpartition(":")[2])
            own = self._proxies.listen("store", port, http=True)
            url = s3_store(
                S3Server(
                    endpoint=f"http://127.0.0.1:{own}",
                    access_key=self.plan.gateway.access_key,
                    secret_key=self.plan.gateway.secret_key,
                ),
                prefix=self.folder.name,
            ).url
        witness = "tests.servers.witness:store?" + urlencode(
            {"url": url, "journal": str(self.journal), "seconds": str(PART_SECONDS)}
        )
        return {
            **self.plan.settings,
            **self.store.env,
            "CHUNKFERRY_REDIS_URL": self._behind_proxy("redis", self.redis),
            "CHUNKFERRY_BROKER_URL": self._behind_proxy("broker", self.broker),
            "CHUNKFERRY_SERVICES": json.dumps({"default": witness}),
            "PYTHONPATH": str(Path.cwd()),
        }

    def _behind_proxy(self, name: str, server: RedisServer) -> str:
        port = self._proxies.listen(name, server.port)
        return f"redis://:{server.password}@127.0.0.1:{port}/0"

    def _start_processes(self) -> None:
        kept = self.supervisor
        for number in range(self.plan.workers):
            log = self.folder / f"worker{number}.log"
            arguments = ["--loglevel=INFO", "--concurrency=2", f"--hostname=w{number}@%h"]
            arguments += ["--without-mingle", "--without-gossip"]
            kept.workers.append(ModuleProcess([*CELERY, "worker", *arguments], self.env, log))
        log = self.folder / "beat.log"
        kept.beats.append(ModuleProcess([*CELERY, "beat", "--loglevel=INFO"], self.env, log))
        for number in range(self.plan.producers):
            arguments = [str(self.folder), str(number), str(self.plan.seed)]
            if self.plan.loses:
                arguments.append("--watch")
            log = self.folder / f"producer{number}.log"
            kept.producers.append(
                ModuleProcess(["tests.chaos.producer", *arguments], self.env, log)
            )
        kept.tend()

    # --- faults ------------------------------------------------------------------------------

    def strike(self, fault: Fault) -> None:
        """Let one fault happen."""
        if self._act(fault):
            self.faults[fault.kind] += 1

    def calm(self) -> None:
        """End all faults."""
        for name in ("redis", "broker", "store"):
            if name != "store" or self.plan.gateway is not None:
                self._proxies.calm(name)
        self.supervisor.calm()
        self._skew(0)

    def store_counts(self) -> Mapping[str, int]:
        """Requests to the store that were broken, by the way they were."""
        return self._proxies.counts("store") if self.plan.gateway is not None else {}

    def _act(self, fault: Fault) -> bool:
        """Do it; False if there was nobody to do it to."""
        name = fault.kind.name
        if name.startswith("STORE_"):
            return self._break_store(fault)
        if fault.kind in {Kind.KILL_REDIS, Kind.KILL_BROKER}:
            return self._kill_server(fault)
        if name.startswith(("KILL_", "STOP_")):
            return self._hurt_process(fault)
        return self._hurt_connections(fault)

    def _hurt_process(self, fault: Fault) -> bool:
        pid = self._victim(fault)
        if pid is None:
            return False
        if fault.kind.name.startswith("KILL_"):
            return send(pid, signal.SIGKILL)
        self.supervisor.freeze(pid, fault.seconds)
        return True

    def _victim(self, fault: Fault) -> int | None:
        role = fault.kind.name.partition("_")[2]
        kept = self.supervisor
        group = {"BEAT": kept.beats, "PRODUCER": kept.producers}.get(role, kept.workers)
        running = [child.pid for child in group if child.is_running()]
        if role == "CHILD":
            running = [child for pid in running for child in children(pid)]
        return running[fault.target % len(running)] if running else None

    def _kill_server(self, fault: Fault) -> bool:
        if fault.kind is Kind.KILL_BROKER:
            self.broker.kill()
            self.supervisor.later(fault.badness, self.broker.start)
            return True
        if self.redis.pid is None:
            return False
        self.possible_rewinds += self.plan.loses
        lost = self.power.kill(fault.badness if self.plan.loses and fault.target % 2 else 0)
        self.rewinds += bool(lost)
        self.supervisor.later(fault.badness, self.redis.start)
        return True

    def _hurt_connections(self, fault: Fault) -> bool:
        seconds = fault.seconds
        acts: dict[Kind, Callable[[], object]] = {
            Kind.RESET_REDIS: lambda: self._proxies.reset("redis"),
            Kind.RESET_REDIS_LATER: lambda: self._proxies.reset_after(
                "redis", int(fault.badness * 8 * MIB)
            ),
            Kind.HOLE_REDIS: lambda: self._proxies.black_hole("redis", seconds),
            Kind.SLOW_REDIS: lambda: self._proxies.slow("redis", seconds, 2 * MIB),
            Kind.RESET_BROKER: lambda: self._proxies.reset("broker"),
            Kind.HOLE_BROKER: lambda: self._proxies.black_hole("broker", seconds),
            Kind.DROP_WAKEUPS: lambda: self.thief.drop(seconds),
            Kind.DOUBLE_WAKEUPS: lambda: self.thief.double(seconds),
            Kind.JUMP_CLOCK: lambda: self._skew((fault.badness - 0.5) * 6 * self.plan.lease),
        }
        acts[fault.kind]()
        return True

    def _break_store(self, fault: Fault) -> bool:
        if fault.kind is Kind.STORE_SLOW:
            self._proxies.slow("store", fault.seconds, 1 * MIB)
            return True
        amounts = {
            Kind.STORE_STALL: min(STALL_SECONDS, fault.seconds * 3),
            Kind.STORE_RESET: fault.badness * PART,
        }
        self._proxies.break_requests(
            "store",
            fault.kind.name.partition("_")[2].lower(),
            fault.count,
            operation=fault.operation,
            amount=amounts.get(fault.kind, 0),
        )
        return True

    def _skew(self, seconds: float) -> None:
        if isinstance(self.redis, faketime.SkewedRedis):
            self.redis.skew(seconds)

    # --- the end -----------------------------------------------------------------------------

    def stop_producers(self) -> None:
        """Have producers begin nothing new."""
        (self.folder / "stop").touch()

    def age_records(self) -> None:
        """Have the records of ended uploads vanish now, where the clock can be moved."""
        self._skew(RESULT_TTL + 15)

    def producers_finished(self) -> bool:
        """Whether all producers came to their end."""
        return all(producer.has_finished() for producer in self.supervisor.producers)

    def log_lines(self, text: str) -> int:
        """How often ``text`` stands in the workers' logs."""
        logs = self.folder.glob("worker*.log")
        return sum(log.read_text(errors="replace").count(text) for log in logs)
