"""tus-js-client and tuspy while replicas, workers and they themselves are killed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.acceptance.replicas import SECONDS, Replicas, replicas
from tests.clients.either import NAMES, Sender
from tests.clients.process import Client
from tests.clients.tusjs import StartTusJs
from tests.clients.tuspy import StartTuspy
from tests.servers.front import StartFront
from tests.servers.workers import StartBeat, StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry.parts import MIB

#: Nothing goes on without a worker once so much waits in Redis: the middle of a request lasts.
WINDOW = 13 * MIB
CONTENT = os.urandom(3 * WINDOW + 12_345)
#: Uploads at one time.
CROWD = 8


@pytest.fixture
def door(real_site: Site, start_front: StartFront, tmp_path: Path) -> Iterator[Replicas]:
    """The front door; without a worker, unless the test starts one."""
    real_site.env["CHUNKFERRY_WINDOW"] = str(WINDOW)
    with replicas(real_site, start_front, tmp_path) as found:
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with ``CONTENT``."""
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def sender(
    start_tusjs: StartTusJs, start_tuspy: StartTuspy, door: Replicas
) -> Callable[[str], Sender]:
    """Each client by its name, sending to the proxy."""
    return lambda name: Sender(name, start_tusjs, start_tuspy, door.endpoint)


@pytest.fixture(params=NAMES)
def send(request: pytest.FixtureRequest, sender: Callable[[str], Sender]) -> Sender:
    """Each client, sending to the proxy."""
    return sender(request.param)


def wait_for_the_middle(door: Replicas, client: Client) -> None:
    """Wait until a part of ``CONTENT`` is there, and its request waits for room."""
    wait_until(
        lambda: WINDOW // 2 <= door.upload(client.upload_id).received < len(CONTENT),
        SECONDS,
        what="the window is full",
    )


def _have_begun(door: Replicas, parts: int) -> bool:
    return door.site.parts_begun() > parts


def test_a_replica_is_killed_and_never_comes_back(
    door: Replicas, start_worker: StartWorker, send: Sender, file: Path
) -> None:
    """Its upload goes on at the other one."""
    client = send(file)
    wait_for_the_middle(door, client)
    # nginx asks them in turn: the first one began the upload, the second one has its bytes.
    first, second = door.fronts
    second.close()
    start_worker(door.site.env)
    assert client.outcome().error is None
    broken, *others = door.served("PATCH", client.upload_id)
    assert (broken.status, broken.upstreams) == (503, second.address)
    taken = [entry for entry in others if entry.status == 204]
    assert {entry.upstreams.rpartition(", ")[2] for entry in taken} == {first.address}
    assert door.stored(client.upload_id) == CONTENT


def test_a_worker_is_killed_in_the_middle(
    door: Replicas, start_worker: StartWorker, start_beat: StartBeat, send: Sender, file: Path
) -> None:
    """The client sees a server that is slow for a while."""
    door.site.witness(seconds="0.5")
    worker = start_worker(door.site.env)
    start_beat(door.site.env)
    client = send(file)
    wait_until(lambda: door.site.parts_begun() > 1, SECONDS)
    worker.kill()
    assert not door.upload(client.upload_id).is_complete
    worker.start(" ready.")
    assert client.outcome().error is None
    assert door.stored(client.upload_id) == CONTENT


def test_everything_is_killed_again_and_again(
    door: Replicas,
    start_worker: StartWorker,
    start_beat: StartBeat,
    sender: Callable[[str], Sender],
    file: Path,
) -> None:
    """Both replicas and the worker at once, while eight uploads are on their way."""
    door.site.witness(seconds="0.3")
    worker = start_worker(door.site.env)
    start_beat(door.site.env)
    clients = [sender(NAMES[number % 2])(file) for number in range(CROWD)]
    ids = [client.upload_id for client in clients]
    for parts in (6, 18, 30):
        wait_until(partial(_have_begun, door, parts), SECONDS)
        worker.kill()
        for front in door.fronts:
            front.kill()
        for front in door.fronts:
            front.start()
        worker.start(" ready.")
    assert [client.outcome().error for client in clients] == CROWD * [None]
    assert [door.stored(upload_id) == CONTENT for upload_id in ids] == CROWD * [True]


def test_a_client_is_killed_and_goes_on(
    door: Replicas, start_worker: StartWorker, send: Sender, file: Path, tmp_path: Path
) -> None:
    """By the URL that it wrote down, from where its bytes end; no second upload is begun."""
    storage = tmp_path / "urls.json"
    client = send(file, storage=storage)
    wait_for_the_middle(door, client)
    client.kill()
    start_worker(door.site.env)
    again = send(file, storage=storage).outcome()
    assert (again.error, again.upload_id) == (None, client.upload_id)
    assert len(door.served("POST")) == 1
    assert door.stored(client.upload_id) == CONTENT


def test_no_replica_is_there_for_a_while(
    door: Replicas, start_worker: StartWorker, start_tusjs: StartTusJs, file: Path
) -> None:
    """For the first three of the four times that tus-js-client tries again: about 4 s."""
    client = start_tusjs(file, endpoint=door.endpoint)
    wait_for_the_middle(door, client)
    for front in door.fronts:
        front.close()
    wait_until(
        lambda: len(door.served("HEAD", client.upload_id)) == 3, SECONDS, what="it tried thrice"
    )
    for front in door.fronts:
        front.start()
    start_worker(door.site.env)
    found = client.outcome()
    assert (found.error, found.upload_id) == (None, client.upload_id)
    assert door.stored(client.upload_id) == CONTENT


def test_a_half_dead_connection_is_in_nobodys_way(
    door: Replicas, start_worker: StartWorker, start_tusjs: StartTusJs, file: Path
) -> None:
    """Its client goes on by a new one, and ends within the 9 s that it tries again."""
    frozen = start_tusjs(file, endpoint=door.endpoint)
    wait_for_the_middle(door, frozen)
    frozen.freeze()
    client = start_tusjs(file, endpoint=door.endpoint, uploadUrl=frozen.url)
    start_worker(door.site.env)
    assert client.outcome().error is None
    assert door.stored(frozen.upload_id) == CONTENT
    frozen.thaw()
    assert frozen.outcome().upload_id == frozen.upload_id
    assert door.stored(frozen.upload_id) == CONTENT


def test_success_is_told_once_the_object_is_stored(
    door: Replicas, start_worker: StartWorker, send: Sender, tmp_path: Path
) -> None:
    """Where acknowledgement means that: a slow store makes the client wait."""
    for front in door.fronts:
        front.restart_with({"CHUNKFERRY_HTTP_ACK": "stored"})
    door.site.witness(seconds="1")
    start_worker(door.site.env)
    small = tmp_path / "small.bin"
    small.write_bytes(CONTENT[:MIB])
    found = send(small, look=door.site.folder / "objects").outcome()
    assert (found.error, found.found) == (None, [hashlib.sha256(CONTENT[:MIB]).hexdigest()])
