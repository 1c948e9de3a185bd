"""What the metrics count of real workers, whose processes come and go: asked at another one."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.servers.front import Front, StartFront, begun, sent
from tests.servers.workers import StartBeat, StartWorker
from tests.sites import CONTENT, PART, Site
from tests.waiting import wait_until


def scraped(text: str) -> dict[str, float]:
    """The samples of a scrape: name, with the labels' values -> number; zeros are left out."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.value
    }


def metrics(web: httpx.Client) -> dict[str, float]:
    """As they are now."""
    answer = web.get("/metrics")
    assert answer.status_code == httpx.codes.OK, answer.text
    return scraped(answer.text)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_all_that_an_upload_does_is_counted(
    real_site: Site, start_worker: StartWorker, front: Front, web: httpx.Client, pool: str
) -> None:
    """By the front door, and by the worker's processes, together."""
    start_worker(real_site.env, pool=pool)
    url = begun(web, len(CONTENT))
    assert sent(web, url, 0, CONTENT).status_code == httpx.codes.NO_CONTENT
    wait_until(
        lambda: "chunkferry_uploads_ended_total default complete" in metrics(web), 30, what="ended"
    )
    found = metrics(web)
    assert {
        name: found[name]
        for name in (
            "chunkferry_up",
            "chunkferry_uploads_created_total default",
            "chunkferry_bytes_received_total",
            "chunkferry_parts_stored_total default",
            "chunkferry_bytes_stored_total default",
            "chunkferry_part_seconds_count default",
            "chunkferry_uploads_ended_total default complete",
            "chunkferry_http_bytes_received_total",
            "chunkferry_http_requests_total POST 2xx",
            "chunkferry_http_requests_total PATCH 2xx",
            "chunkferry_http_answer_seconds_count PATCH",
        )
    } == {
        "chunkferry_up": 1,
        "chunkferry_uploads_created_total default": 1,
        "chunkferry_bytes_received_total": len(CONTENT),
        "chunkferry_parts_stored_total default": 5,
        "chunkferry_bytes_stored_total default": len(CONTENT),
        "chunkferry_part_seconds_count default": 5,
        "chunkferry_uploads_ended_total default complete": 1,
        "chunkferry_http_bytes_received_total": len(CONTENT),
        "chunkferry_http_requests_total POST 2xx": 1,
        "chunkferry_http_requests_total PATCH 2xx": 1,
        "chunkferry_http_answer_seconds_count PATCH": 1,
    }
    assert found["chunkferry_wakeups_total producer yes"] >= 1


def test_a_takeover_and_a_fence_are_counted(
    real_site: Site, start_worker: StartWorker, start_beat: StartBeat, web: httpx.Client
) -> None:
    """A call that hung lost its lease: one worker took over, the other came too late."""
    hang = real_site.folder / "hang"
    hang.touch()
    real_site.witness(hang=str(hang))
    start_worker(real_site.env)
    start_beat(real_site.env)
    manager = real_site.manager()
    # Not all of it: a worker that comes too late for a whole object ends well.
    manager.append(manager.create("a/b", len(CONTENT)).upload_id, 0, CONTENT[: 2 * PART])
    wait_until(lambda: "chunkferry_turns_total lost" in metrics(web), 40, what="it came back")
    found = metrics(web)
    assert found["chunkferry_lease_takeovers_total"] == 1
    assert found["chunkferry_fence_rejections_total"] == 1
    assert found["chunkferry_wakeups_total sweep yes"] >= 1
    assert found["chunkferry_sweeps_total"] > 1


def test_an_expired_upload_and_a_store_error_are_counted(
    real_site: Site, start_worker: StartWorker, start_beat: StartBeat, web: httpx.Client
) -> None:
    """With what the store said."""
    real_site.env["CHUNKFERRY_INCOMPLETE_UPLOAD_EXPIRY"] = "2"
    wall = real_site.folder / "wall"
    real_site.service(f"file://{wall}/objects")
    wall.touch()  # where a folder should be
    worker = start_worker(real_site.env)
    start_beat(real_site.env)
    manager = real_site.manager()
    manager.append(manager.create("silent", len(CONTENT)).upload_id, 0, CONTENT[: PART - 1])
    manager.append(manager.create("failing", len(CONTENT)).upload_id, 0, CONTENT[:PART])
    wait_until(lambda: any("store_errors" in name for name in metrics(web)), 30, what="an error")
    found = metrics(web)
    assert found["chunkferry_store_errors_total store_refused default"] == 1
    assert found["chunkferry_uploads_failed_total init_failed"] == 1
    worker.stop()
    wall.unlink()
    start_worker(real_site.env)
    wait_until(
        lambda: "chunkferry_uploads_ended_total default expired" in metrics(web),
        30,
        what="it expired",
    )


def test_every_replica_shows_the_same(
    real_site: Site, front: Front, web: httpx.Client, start_front: StartFront
) -> None:
    """Whichever is asked, and whichever counted; a front door that ends tells what it has left."""
    other = start_front(real_site.env)
    with other.client() as client:
        begun(client, 10)
        begun(web, 20)
    other.stop()
    wait_until(lambda: metrics(web).get("chunkferry_uploads_created_total default") == 2)
