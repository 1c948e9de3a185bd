"""RabbitMQ as the broker: a real one, with workers, beat and producers over ``amqp://``."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess

import pytest
from tests.acceptance.console import Console
from tests.servers.rabbitmq import RabbitServer
from tests.servers.workers import CeleryProcess, StartBeat, StartWorker
from tests.sites import CONTENT, PART, Site, real_site
from tests.waiting import wait_until

from chunkferry import State, UploadStatusCode
from chunkferry.wakeup import DRAIN, TELL, CeleryWaker, ProducerWaker
from chunkferry_worker.application import create_app
from chunkferry_worker.settings import MAINTENANCE

site = real_site


@pytest.fixture
def rabbit(site: Site, rabbit_server: RabbitServer) -> RabbitServer:
    """The broker of the site, empty."""
    rabbit_server.remove(DRAIN, MAINTENANCE)
    site.env["CHUNKFERRY_BROKER_URL"] = rabbit_server.url
    return rabbit_server


@pytest.fixture
def frail(site: Site, fresh_rabbit: RabbitServer) -> RabbitServer:
    """A broker of the site that a test may harm."""
    site.env["CHUNKFERRY_BROKER_URL"] = fresh_rabbit.url
    return fresh_rabbit


def test_an_upload_completes_over_amqp(
    site: Site, rabbit: RabbitServer, start_worker: StartWorker
) -> None:
    """By wake-ups alone: there is no beat."""
    start_worker(site.env)
    notifier = site.manager().put_with_status("a/b", len(CONTENT), io.BytesIO(CONTENT))
    assert notifier.wait(60).code is UploadStatusCode.OK
    assert site.stored() == CONTENT
    assert site.parts_begun() == 5
    assert rabbit.messages(DRAIN) == 0


def test_tellers_are_called_over_amqp(site: Site, rabbit: RabbitServer) -> None:
    """Whether their queue is there already or not; and not without end."""
    rabbit.remove(TELL)
    app, _ = create_app(site.settings())
    with app:
        assert CeleryWaker(app).tell()
        wait_until(lambda: rabbit.messages(TELL) == 1, what="the message is there")
        for _ in range(6):
            CeleryWaker(app).tell()
        wait_until(lambda: rabbit.messages(TELL) >= 4, what="so are the others")
        assert not CeleryWaker(app).tell()
    rabbit.remove(TELL)


def test_queues_get_nothing_of_one_another(site: Site, rabbit: RabbitServer) -> None:
    """What is sent to the exchange of one queue arrives in that queue alone."""
    app, _ = create_app(site.settings())
    queues = app.amqp.queues
    with app.connection_for_write() as connection:
        for queue in queues.values():
            queue(connection.default_channel).declare()
        with connection.Producer(exchange=queues[MAINTENANCE].exchange) as producer:
            producer.publish({}, routing_key=queues[MAINTENANCE].routing_key)
    wait_until(lambda: rabbit.messages(MAINTENANCE) == 1, what="the message is there")
    assert rabbit.messages(DRAIN) == 0


def test_a_lost_wake_up_is_sent_by_the_sweep(
    site: Site, rabbit: RabbitServer, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """Beat's sweeps come by RabbitMQ as well."""
    start_worker(site.env)
    start_beat(site.env)
    manager = site.manager(lose_wake_ups=True)
    notifier = manager.put_with_status("a/b", len(CONTENT), io.BytesIO(CONTENT))
    assert notifier.wait(60).code is UploadStatusCode.OK
    assert site.stored() == CONTENT


def test_sweeps_do_not_pile_up(site: Site, rabbit: RabbitServer, start_beat: StartBeat) -> None:
    """While one waits, no other is sent."""
    beat = start_beat({**site.env, "CHUNKFERRY_SWEEP_SECONDS": "0.1"})
    wait_until(lambda: beat.log.read_text().count("Sending due task") > 20, 30, what="20 beats")
    assert rabbit.messages(MAINTENANCE) == 1


def test_wake_ups_outlive_the_broker(fresh_rabbit: RabbitServer) -> None:
    """Queues and messages are durable: a restarted RabbitMQ has them still."""
    assert ProducerWaker(fresh_rabbit.url).wake("0-" + "0" * 32)
    wait_until(lambda: fresh_rabbit.messages(DRAIN) == 1, what="the message is there")
    fresh_rabbit.stop()
    fresh_rabbit.start()
    assert fresh_rabbit.messages(DRAIN) == 1


@pytest.mark.timeout(400)
@pytest.mark.parametrize("fault", ["killed", "frozen", "emptied"])
def test_chunks_are_accepted_without_a_broker(
    site: Site, frail: RabbitServer, start_worker: StartWorker, start_beat: StartBeat, fault: str
) -> None:
    """And stored once it is back: workers and beat that were there before reconnect."""
    worker = start_worker(site.env)
    beat = start_beat(site.env)
    manager = site.manager()
    before = manager.put_with_status("before", len(CONTENT), io.BytesIO(CONTENT))
    assert before.wait(60).code is UploadStatusCode.OK
    if fault == "frozen":
        os.kill(frail.pid, signal.SIGSTOP)
    else:
        frail.kill()
    upload_id = manager.create("during", len(CONTENT)).upload_id
    for start in range(0, len(CONTENT), PART):
        manager.append(upload_id, start, CONTENT[start : start + PART])
    assert manager.get(upload_id).state is State.RECEIVED
    wait_until(lambda: has_complained(beat), 120, what="the beat has lost its broker")
    if fault == "frozen":
        os.kill(frail.pid, signal.SIGCONT)
    else:
        if fault == "emptied":
            frail.forget()
        frail.start()
    worker.supervise()
    assert manager.watch(upload_id).wait(120).code is UploadStatusCode.OK
    assert site.stored("during") == CONTENT
    after = manager.put_with_status("after", len(CONTENT), io.BytesIO(CONTENT))
    assert after.wait(60).code is UploadStatusCode.OK


def has_complained(beat: CeleryProcess) -> bool:
    """The beat could not reach its broker."""
    text = beat.log.read_text()
    return "The broker did not take a sweep" in text or "Trying again in" in text


def test_doctor_finds_nothing_wrong(
    site: Site, rabbit: RabbitServer, start_worker: StartWorker
) -> None:
    """It sees broker and workers over AMQP as well."""
    start_worker(site.env)
    console = Console(site.folder, site.env)
    with console.start("doctor", "--json", stdout=subprocess.PIPE) as process:
        out, _ = process.communicate(timeout=60)
    found = {line["check"]: line["verdict"] for line in map(json.loads, out.splitlines())}
    assert (found["broker"], found["workers"]) == ("good", "good")
