"""Celery's visibility timeout, shorter than a drain: nothing is delivered twice."""

from __future__ import annotations

import re
from collections import Counter

from tests.servers.workers import CeleryProcess, StartBeat, StartWorker
from tests.sites import CONTENT, PART, Site, real_site
from tests.waiting import wait_until

from chunkferry import UploadStatusCode

site = real_site

IMPATIENT = "tests.servers.impatient"


def deliveries(worker: CeleryProcess) -> Counter[str]:
    """How often each drain was received, by the id of its task."""
    found = re.findall(r"Task chunkferry\.drain\[([\w-]+)\] received", worker.log.read_text())
    return Counter(found)


def begin(site: Site) -> str:
    """An upload of one part, whose drain takes several times the visibility timeout."""
    site.witness(seconds="6")
    manager = site.manager()
    upload_id = manager.create("a/b", PART).upload_id
    manager.append(upload_id, 0, CONTENT[:PART])
    return upload_id


def test_a_drain_longer_than_the_visibility_timeout_is_delivered_once(
    site: Site, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """Its message was acknowledged before it began: there is nothing to take back."""
    site.witness(seconds="6")
    workers = [start_worker(site.env, app=IMPATIENT) for _ in range(2)]
    start_beat(site.env)
    upload_id = begin(site)
    assert site.manager().watch(upload_id).wait(60).code is UploadStatusCode.OK
    assert site.stored() == CONTENT[:PART]
    assert site.parts_begun() == 1
    assert (deliveries(workers[0]) + deliveries(workers[1])).most_common(1)[0][1] == 1


def test_late_acknowledgement_would_deliver_it_again(site: Site, start_worker: StartWorker) -> None:
    """So the test above could fail. Even then each part is stored once: the lease sees to it."""
    site.witness(seconds="6")
    worker = start_worker({**site.env, "IMPATIENT_ACKS_LATE": "1"}, app=IMPATIENT)
    upload_id = begin(site)
    wait_until(lambda: max(deliveries(worker).values(), default=0) > 1, 60, what="a second time")
    assert site.manager().watch(upload_id).wait(60).code is UploadStatusCode.OK
    assert site.parts_begun() == 1
