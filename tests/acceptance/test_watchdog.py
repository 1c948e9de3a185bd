"""What an operator sees of uploads that nobody moves: over real HTTP, and from ``doctor``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.acceptance.console import Console
from tests.servers.redis import FreshRedis
from tests.servers.workers import StartBeat, StartWorker
from tests.sites import CONTENT, PART, Site, real_site
from tests.waiting import wait_until

from chunkferry import UploadStatusCode
from chunkferry.connection import connect
from chunkferry.wakeup import DRAIN
from chunkferry_worker.settings import MAINTENANCE

site = real_site


@dataclass(frozen=True)
class Exporter:
    """A running ``chunkferry metrics --listen``."""

    process: subprocess.Popen[bytes]
    url: str

    def scrape(self) -> dict[str, float]:
        """All samples, as Prometheus reads them: name, with a label's value -> number."""
        with urllib.request.urlopen(self.url, timeout=30) as answer:
            text = answer.read().decode()
        return samples(text)

    def end(self, number: signal.Signals) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


def samples(text: str) -> dict[str, float]:
    """The samples of a scrape."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@contextlib.contextmanager
def exporting(console: Console, listen: str = "127.0.0.1:0") -> Iterator[Exporter]:
    """Serve metrics, and stop."""
    arguments = ("metrics", "--listen", listen, "--json")
    with console.start(*arguments, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield Exporter(process, json.loads(process.stdout.readline())["url"])
        finally:
            process.kill()


@pytest.fixture
def console(site: Site) -> Console:
    """An operator's shell at the site."""
    return Console(site.folder, site.env)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_metrics_are_served_until_a_signal(
    site: Site, console: Console, number: signal.Signals
) -> None:
    """With all there is to know; then the command ends as it was asked to."""
    manager = site.manager(lose_wake_ups=True)
    manager.append(manager.create("a", len(CONTENT)).upload_id, 0, CONTENT[:PART])
    manager.append(manager.create("b", 10).upload_id, 0, b"bytes")
    manager.tally.flush()
    with exporting(console) as exporter:
        found = exporter.scrape()
        assert exporter.end(number) == 0
    counted = {name: found.pop(name) for name in list(found) if "_total" in name}
    assert {name: count for name, count in counted.items() if count} == {
        "chunkferry_uploads_created_total default": 2,
        "chunkferry_bytes_received_total": PART + 5,
        "chunkferry_wakeups_total producer no": 1,
    }
    assert found.pop("chunkferry_longest_wait_seconds") > 0
    assert found.pop("chunkferry_oldest_due_seconds") >= 0
    assert found.pop("chunkferry_unanswered_wakeups") in {0, 1}
    assert found == {
        "chunkferry_up": 1,
        "chunkferry_uploads receiving": 2,
        "chunkferry_uploads received": 0,
        "chunkferry_uploads completing": 0,
        "chunkferry_uploads failed": 0,
        "chunkferry_uploads aborting": 0,
        "chunkferry_received_bytes": PART + 5,
        "chunkferry_stored_bytes": 0,
        "chunkferry_backlog_bytes": PART + 5,
        "chunkferry_failed_bytes": 0,
        "chunkferry_waiting_uploads": 1,
        "chunkferry_leases": 0,
    }


def test_metrics_are_printed_once(site: Site, console: Console) -> None:
    """For the text-file collector of a node exporter, or as JSON."""
    manager = site.manager(lose_wake_ups=True)
    manager.append(manager.create("b", 10).upload_id, 0, b"bytes")
    assert samples(console.run("metrics").out)["chunkferry_backlog_bytes"] == 5
    assert console.json("metrics")["buffered"] == 5


def test_metrics_tell_that_redis_is_away(fresh_redis: FreshRedis, site: Site) -> None:
    """The scrape goes well and says so; once Redis is back, so are the numbers."""
    server = fresh_redis()
    site.env["CHUNKFERRY_REDIS_URL"] = server.url
    console = Console(site.folder, site.env)
    with exporting(console) as exporter:
        assert exporter.scrape()["chunkferry_up"] == 1
        server.kill()
        wait_until(lambda: exporter.scrape() == {"chunkferry_up": 0}, what="it is noticed")
        console.run("metrics", code=4)
        server.start()
        wait_until(lambda: exporter.scrape()["chunkferry_up"] == 1, what="it is back")


def test_to_measure_leaves_no_trace(console: Console, fresh_redis: FreshRedis) -> None:
    """Workers with another number of shards may still start at a Redis that was only looked at."""
    url = fresh_redis().url
    console.environment["CHUNKFERRY_REDIS_URL"] = url
    console.run("metrics")
    with connect(url) as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("listen", ["9464", "host:", ":9464", "host:99999", "host:port"])
def test_an_address_that_is_none_is_refused(console: Console, listen: str) -> None:
    """With a sentence that says what one looks like."""
    assert "127.0.0.1:9464" in console.run("metrics", "--listen", listen, code=2).err


def test_an_address_in_use_is_an_error(console: Console) -> None:
    """Instead of a traceback."""
    with exporting(console) as exporter:
        address = exporter.url.removeprefix("http://").removesuffix("/metrics")
        assert address in console.run("metrics", "--listen", address, code=2).err


@pytest.mark.parametrize("fault", ["frozen", "on another queue"])
def test_workers_that_take_nothing_are_noticed(
    site: Site, console: Console, start_worker: StartWorker, start_beat: StartBeat, fault: str
) -> None:
    """Although sweeps run and look at what is due: metric and doctor go bad, and good again."""
    sweeper = start_worker(site.env, queue=MAINTENANCE)
    start_beat(site.env)
    with exporting(console) as exporter:
        if fault == "frozen":
            worker = start_worker(site.env, queue=DRAIN)
            os.kill(worker.pid, signal.SIGSTOP)
        manager = site.manager()
        upload_id = manager.create("a/b", len(CONTENT)).upload_id
        manager.append(upload_id, 0, CONTENT)
        wait_until(
            lambda: exporter.scrape()["chunkferry_longest_wait_seconds"] > 4,
            60,
            what="the wait is noticed",
        )
        found = exporter.scrape()
        assert found["chunkferry_unanswered_wakeups"] == 1
        assert "chunkferry.sweep" in sweeper.log.read_text()
        told = console.doctor()
        assert [told[check]["verdict"] for check in ("wake-ups", "due")] == ["bad", "good"]
        if fault == "frozen":
            os.kill(worker.pid, signal.SIGCONT)
        else:
            start_worker(site.env, queue=DRAIN)
        assert manager.watch(upload_id).wait(60).code is UploadStatusCode.OK
        found = exporter.scrape()
        assert found["chunkferry_unanswered_wakeups"] == 0
        assert found["chunkferry_longest_wait_seconds"] == 0
        told = console.doctor()
        assert [told[check]["verdict"] for check in ("wake-ups", "workers")] == ["good", "good"]
