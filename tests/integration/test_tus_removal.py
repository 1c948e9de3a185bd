"""tus 1.0.0, expiration and termination: a test for each sentence about servers.

``docs/tus.md`` is made of these docstrings.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import pytest
from tests.servers.front import BYTES, TUS, StartFront, begun, sent
from tests.servers.workers import StartBeat, StartWorker
from tests.sites import Site
from tests.waiting import wait_until

GONE = 410


def complete(site: Site, web: httpx.Client) -> str:
    """An upload whose object is in the store; a worker has to run."""
    url = begun(web, 4)
    sent(web, url, 0, b"abcd")
    wait_until(lambda: site.manager().get(url.rpartition("/")[2]).is_complete)
    return url


def removed(web: httpx.Client, url: str) -> int:
    """The status of a DELETE."""
    return web.delete(url, headers=TUS).status_code


def statuses(web: httpx.Client, url: str) -> dict[str, int]:
    """What each request to an upload is answered with."""
    return {
        "HEAD": web.head(url, headers=TUS).status_code,
        "PATCH": sent(web, url, 0, b"a").status_code,
        "DELETE": removed(web, url),
    }


# --- expiration -------------------------------------------------------------------------------


def test_expiration_is_announced(shared_web: httpx.Client) -> None:
    """Expiration, MUST: Tus-Extension names it."""
    assert "expiration" in shared_web.options("/files").headers["tus-extension"].split(",")


def test_a_new_upload_tells_when_it_expires(shared_web: httpx.Client) -> None:
    """Upload-Expires, MUST: the answer to the POST has it."""
    answer = shared_web.post("/files", headers={**TUS, "Upload-Length": "4"})
    assert parsedate_to_datetime(answer.headers["upload-expires"]) > datetime.now(UTC)


def test_patch_tells_when_the_upload_expires(shared_web: httpx.Client) -> None:
    """Upload-Expires, MUST: the answer to every PATCH has it if the upload is going to expire."""
    url = begun(shared_web, 4)
    answers = [sent(shared_web, url, offset, b"a") for offset in range(3)]
    assert all("upload-expires" in answer.headers for answer in answers)


def test_what_is_received_does_not_expire(shared_web: httpx.Client) -> None:
    """Upload-Expires, MUST: it is there if the upload is going to expire; received ones are not."""
    answer = sent(shared_web, begun(shared_web, 4), 0, b"abcd")
    assert "upload-expires" not in answer.headers


def test_an_expiry_is_a_date_of_http(shared_web: httpx.Client) -> None:
    """Upload-Expires, MUST: it is a date as RFC 7231 has it."""
    told = shared_web.head(begun(shared_web, 4), headers=TUS).headers["upload-expires"]
    moment = datetime.strptime(told, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert timedelta(hours=23) < moment - datetime.now(UTC) <= timedelta(hours=24)


def test_an_expiry_slides_up_to_its_cap(real_site: Site, start_front: StartFront) -> None:
    """Upload-Expires, MAY: it changes: with each PATCH, up to the upload's greatest age."""
    env = {
        "CHUNKFERRY_INCOMPLETE_UPLOAD_EXPIRY": "PT1H",
        "CHUNKFERRY_HTTP_MAX_UPLOAD_AGE": "PT30M",
    }
    with start_front({**real_site.env, **env}).client() as web:
        told = sent(web, begun(web, 4), 0, b"a").headers["upload-expires"]
        left = parsedate_to_datetime(told) - datetime.now(UTC)
        assert timedelta(minutes=29) < left <= timedelta(minutes=30)


def test_expired_uploads_are_gone(
    real_site: Site, start_front: StartFront, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """Expiration, MAY: unfinished uploads are removed; SHOULD: they are 410, as they are known."""
    env = {**real_site.env, "CHUNKFERRY_INCOMPLETE_UPLOAD_EXPIRY": "PT1S"}
    start_worker(env)
    start_beat(env)
    with start_front(env).client() as web:
        url = begun(web, 4)
        wait_until(lambda: web.head(url, headers=TUS).status_code != 200, 20)
        assert statuses(web, url) == {"HEAD": GONE, "PATCH": GONE, "DELETE": GONE}
        assert "upload-offset" not in web.head(url, headers=TUS).headers


# --- termination ------------------------------------------------------------------------------


def test_termination_is_announced(shared_web: httpx.Client) -> None:
    """Termination, MUST: Tus-Extension names it."""
    assert "termination" in shared_web.options("/files").headers["tus-extension"].split(",")


@pytest.mark.parametrize("received", [b"", b"ab", b"abcd"])
def test_an_unfinished_upload_is_terminated(shared_web: httpx.Client, received: bytes) -> None:
    """DELETE, MUST: the answer is 204 with an empty body."""
    url = begun(shared_web, 4)
    sent(shared_web, url, 0, received)
    answer = shared_web.delete(url, headers=TUS)
    assert (answer.status_code, answer.content) == (204, b"")


def test_terminated_uploads_are_gone(shared_web: httpx.Client) -> None:
    """DELETE, SHOULD: every later request is answered with 410, and no offset is told."""
    url = begun(shared_web, 4)
    removed(shared_web, url)
    assert statuses(shared_web, url) == {"HEAD": GONE, "PATCH": GONE, "DELETE": GONE}
    assert "upload-offset" not in shared_web.head(url, headers=TUS).headers


def test_termination_frees_what_was_received(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """DELETE, SHOULD: what the upload took up is freed, in Redis at once and then at the store."""
    url = begun(web, 8 << 20)
    sent(web, url, 0, bytes(6 << 20))
    upload = real_site.manager().get(url.rpartition("/")[2])
    assert removed(web, url) == 204
    start_worker(real_site.env)
    wait_until(lambda: real_site.manager().get(upload.upload_id).has_ended)
    objects = real_site.folder / "objects"
    assert [path for path in objects.rglob("*") if path.is_file()] == []


def test_termination_ends_a_request_under_way(web: httpx.Client) -> None:
    """DELETE, SHOULD: every later request is 410, and so is the rest of one that had begun."""
    url = begun(web, 4 << 20)

    def body() -> object:
        yield bytes(1 << 20)
        wait_until(lambda: web.head(url, headers=TUS).headers.get("upload-offset") == str(1 << 20))
        removed(web, url)
        yield bytes(1 << 20)

    answer = web.patch(url, headers={**BYTES, "Upload-Offset": "0"}, content=body())  # type: ignore[arg-type]  # a generator
    assert answer.status_code == GONE


@pytest.fixture
def deletable(real_site: Site) -> Site:
    """A site whose store is a plain folder: that of ``real_site`` deletes nothing."""
    real_site.service(f"file://{real_site.folder}/objects")
    return real_site


def test_a_complete_upload_is_terminated(
    deletable: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """Termination, MUST: complete uploads can be terminated as well; the object is deleted."""
    start_worker(deletable.env)
    with start_front(deletable.env).client() as web:
        url = complete(deletable, web)
        filepath = deletable.manager().get(url.rpartition("/")[2]).filepath
        assert deletable.stored(filepath) == b"abcd"
        assert removed(web, url) == 204
        assert not (deletable.folder / "objects" / filepath).exists()
        assert statuses(web, url) == {"HEAD": GONE, "PATCH": GONE, "DELETE": GONE}


def test_a_termination_that_broke_off_is_gone_on_with(
    deletable: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """DELETE, MUST: asked again after a crash, it is answered with 204, by any replica."""
    start_worker(deletable.env)
    with start_front(deletable.env).client() as web:
        url = complete(deletable, web)
        upload = deletable.manager().get(url.rpartition("/")[2])
        deletable.manager().terminate(upload, deleted=False)
        assert web.head(url, headers=TUS).status_code == GONE
        assert removed(web, url) == 204
        assert not (deletable.folder / "objects" / upload.filepath).exists()
        assert removed(web, url) == GONE


def test_the_object_of_another_upload_stays(
    deletable: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """DELETE, MUST: this upload is terminated, and no other one that has replaced its object."""
    start_worker(deletable.env)
    with start_front(deletable.env).client() as web:
        url = complete(deletable, web)
        manager = deletable.manager()
        filepath = manager.get(url.rpartition("/")[2]).filepath
        newer = manager.create(filepath, 5)
        assert removed(web, url) == 409
        manager.append(newer.upload_id, 0, b"newer")
        wait_until(lambda: manager.get(newer.upload_id).is_complete)
        assert removed(web, url) == 204
        assert deletable.stored(filepath) == b"newer"


def test_a_store_that_cannot_delete_says_so(
    real_site: Site, web: httpx.Client, start_worker: StartWorker
) -> None:
    """DELETE, SHOULD: resources are freed; where the store cannot, 405, and the upload stays."""
    start_worker(real_site.env)
    url = complete(real_site, web)
    answer = web.delete(url, headers=TUS)
    assert (answer.status_code, "DELETE" in answer.headers["allow"]) == (405, False)
    assert answer.json()["code"] == "not_deletable"
    assert web.head(url, headers=TUS).headers["upload-offset"] == "4"


def test_a_termination_waits_for_a_completion(
    deletable: Site, start_front: StartFront, start_worker: StartWorker
) -> None:
    """DELETE, MUST: an upload that is just being completed is terminated once that is over."""
    with start_front(deletable.env).client() as web:
        url = begun(web, 4)
        sent(web, url, 0, b"abcd")
        start_worker(deletable.env)
        assert removed(web, url) == 204
        wait_until(lambda: web.head(url, headers=TUS).status_code == GONE)
    objects = deletable.folder / "objects"
    wait_until(lambda: [path for path in objects.rglob("*") if path.is_file()] == [])
