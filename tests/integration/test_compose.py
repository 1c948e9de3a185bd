"""``docker-compose.yml`` against the code: its promises, and each service's command at work."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import redis
from moto.server import ThreadedMotoServer
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.servers import compose
from tests.servers.redis import server_program
from tests.waiting import wait_until

from chunkferry import config

CHECKOUT = compose.CHECKOUT
SECRETS = {
    "REDIS_PASSWORD": "redis-secret",
    "BROKER_PASSWORD": "broker-secret",
    "S3_ACCESS_KEY": "access",
    "S3_SECRET_KEY": "store-secret",
    "FLOWER_BASIC_AUTH": "operator:flower-secret",
    "HTTP_TOKENS": '{"operator": "web-secret"}',
}
SERVICES: dict[str, Any] = compose.load(SECRETS)["services"]
ONE_SHOT = {name for name, service in SERVICES.items() if service["restart"] == "no"}
OURS = {name for name, service in SERVICES.items() if service["image"] == "chunkferry"}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[compose.Stack]:
    """The file's services, with an S3 server of moto in place of the s3 container."""
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    host, port = s3.get_host_and_port()
    with compose.Stack(SECRETS, tmp_path) as stack:
        stack.replaced = {
            "http://s3:8333": f"http://{host}:{port}",
            "valkey-server": str(server_program()),
            "/data": str(tmp_path),
            "/tmp": str(tmp_path),
            "5555": str(compose.free_port()),
            "8080": str(compose.free_port()),
        }
        yield stack
    s3.stop()


def start_redis(stack: compose.Stack, name: str) -> redis.Redis:
    """Start a Redis service of the file and wait for it; other services then find it."""
    port = compose.free_port()
    stack.replaced[f"{name}:6379"] = f"127.0.0.1:{port}"
    process = stack.start(name, "--port", str(port), "--bind", "127.0.0.1")
    password = stack.services[name]["environment"]["REDISCLI_AUTH"]
    client = redis.Redis(port=port, password=password, decode_responses=True)
    wait_until(lambda: process.alive() and answers(client), what=f"{name} answers")
    return client


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture
def data(stack: compose.Stack) -> Iterator[redis.Redis]:
    with start_redis(stack, "redis") as client:
        yield client


@pytest.fixture
def broker(stack: compose.Stack) -> Iterator[redis.Redis]:
    with start_redis(stack, "broker") as client:
        yield client


# --- what the file promises --------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str) -> None:
    """No root, no capabilities, no new privileges, a read-only root file system."""
    service = SERVICES[name]
    assert int(service["user"].partition(":")[0]) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert True is service["read_only"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_every_lasting_service_is_watched_and_restarted(name: str) -> None:
    """Each has a healthcheck, a restart policy and a time to end in."""
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert service["stop_grace_period"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - OURS))
def test_foreign_images_have_a_version(name: str) -> None:
    """No image changes by itself."""
    assert re.search(r":\d+\.\d+", SERVICES[name]["image"])


def test_a_worker_can_be_scaled_and_has_time_to_hand_over() -> None:
    """Neither name nor port is fixed, and the grace period is longer than a slice."""
    worker = SERVICES["worker"]
    assert not {"container_name", "ports"} & set(worker)
    assert int(worker["stop_grace_period"].removesuffix("s")) > 2 * config.load().slice_seconds


def test_what_is_published_is_for_this_host_only() -> None:
    """The front door and Flower; no other service can be reached from outside."""
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"web": ["127.0.0.1:8080:8080"], "flower": ["127.0.0.1:5555:5555"]}


def test_a_body_with_a_checksum_has_room_to_wait() -> None:
    """What the front door takes of one fits into its /tmp."""
    web = SERVICES["web"]
    (size,) = re.findall(r"^/tmp:.*size=(\d+)m$", "\n".join(web["tmpfs"]), re.M)
    assert int(web["environment"]["CHUNKFERRY_HTTP_CHECKSUM_LIMIT"]) * 2 <= int(size) * 2**20


def test_each_secret_is_required() -> None:
    """Without any one of its secrets the file is refused, instead of starting unprotected."""
    for name in SECRETS:
        with pytest.raises(KeyError, match=name):
            compose.load({**SECRETS, name: ""})


def test_the_example_environment_is_complete() -> None:
    """``.env.example`` sets what the file requires and mentions all else it reads."""
    example = (CHECKOUT / ".env.example").read_text()
    variables = {match[2] for match in compose.VARIABLE.finditer(compose.FILE.read_text())}
    assert set(SECRETS) == set(re.findall(r"^(\w+)=", example, re.M))
    assert variables - {None} == set(re.findall(r"^#?(\w+)=", example, re.M))


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_setting_exists(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ``CHUNKFERRY_…`` variable of a service is one that the code reads."""
    environment = SERVICES[name]["environment"]
    ours = {key: value for key, value in environment.items() if key.startswith("CHUNKFERRY_")}
    for key, value in ours.items():
        monkeypatch.setenv(key, value)
    settings = config.load()
    assert ours["CHUNKFERRY_REDIS_URL"] == settings.redis_url
    assert ours["CHUNKFERRY_BROKER_URL"] == settings.broker_url
    assert json.loads(ours["CHUNKFERRY_SERVICES"]) == settings.services
    of_the_front_door = {key for key in ours if key.startswith("CHUNKFERRY_HTTP_")}
    assert bool(of_the_front_door) == (name == "web")
    assert set(ours) - of_the_front_door - {"CHUNKFERRY_BEAT_FILE"} == {
        "CHUNKFERRY_REDIS_URL",
        "CHUNKFERRY_BROKER_URL",
        "CHUNKFERRY_SERVICES",
    }


def test_the_image_has_what_the_commands_need() -> None:
    """The Dockerfile's user is the services' user, and its CMD is the worker's program."""
    dockerfile = (CHECKOUT / "Dockerfile").read_text()
    user = re.search(r"^USER (\S+)$", dockerfile, re.M)
    command = re.search(r"^CMD (.+)$", dockerfile, re.M)
    assert user is not None
    assert command is not None
    assert {user[1]} == {SERVICES[name]["user"] for name in OURS}
    assert SERVICES["worker"]["command"][:4] == json.loads(command[1])[:4]


# --- each command at work ----------------------------------------------------------------------


def test_redis_keeps_accepted_bytes(data: redis.Redis) -> None:
    """The data Redis writes every second, never evicts, has a limit and asks for a password."""
    facts = data.config_get("appendonly", "appendfsync", "save", "maxmemory*")
    assert facts | {"maxmemory-policy": "noeviction", "appendonly": "yes", "save": ""} == facts
    assert facts["appendfsync"] == "everysec"
    assert int(facts["maxmemory"] or 0) == 2**30
    refused_without_password(data)


def test_the_broker_keeps_nothing_and_evicts_nothing(broker: redis.Redis) -> None:
    """The broker writes no file, never evicts, has a limit and asks for a password."""
    facts = broker.config_get("appendonly", "save", "maxmemory*")
    assert facts | {"maxmemory-policy": "noeviction", "appendonly": "no", "save": ""} == facts
    assert int(facts["maxmemory"] or 0) == 256 * 2**20
    refused_without_password(broker)


def refused_without_password(client: redis.Redis) -> None:
    port = client.get_connection_kwargs()["port"]
    once = Retry(NoBackoff(), 0)
    with (
        redis.Redis(port=port, retry=once) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


@pytest.mark.parametrize("name", ["redis", "broker"])
def test_a_redis_healthcheck_tells_ready_from_gone(stack: compose.Stack, name: str) -> None:
    """The healthcheck succeeds once the server answers, and fails when it does not."""
    if not (cli := shutil.which("redis-cli")):
        if os.environ.get("CI"):
            pytest.fail("CI must have redis-cli")
        pytest.skip("the healthcheck's program, valkey-cli or redis-cli, is not here")
    with start_redis(stack, name):
        port = stack.replaced[f"{name}:6379"].rpartition(":")[2]
        shim = stack.folder / "valkey-cli"
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(cli)} -p {port} "$@"\n')
        shim.chmod(0o755)
        assert stack.healthy(name)
        stack.services[name]["environment"]["REDISCLI_AUTH"] = "wrong"
        assert not stack.healthy(name)


def test_the_bucket_is_made_once(stack: compose.Stack) -> None:
    """The one-shot service makes the bucket, and ends as well where it exists."""
    for _ in range(2):
        done = stack.run("bucket")
        assert (done.returncode, done.stderr) == (0, "")
    assert [bucket.name for bucket in store(stack).buckets.all()] == ["chunkferry"]


def store(stack: compose.Stack) -> Any:
    """The S3 server as the ``bucket`` service sees it."""
    environment = stack.environment("bucket")
    return boto3.resource(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )


@pytest.mark.usefixtures("data", "broker")
def test_the_front_door_gets_healthy_and_asks_for_a_token(stack: compose.Stack) -> None:
    """Its command answers its healthcheck, takes uploads of its principals only, and ends."""
    stack.run("bucket")
    web = stack.start("web")
    wait_until(lambda: web.alive() and stack.healthy("web"), 60, what="web healthy")
    files = f"http://127.0.0.1:{stack.replaced['8080']}/files"
    version = {"Tus-Resumable": "1.0.0", "Upload-Length": "3"}
    assert httpx.post(files, headers=version).status_code == httpx.codes.UNAUTHORIZED
    token = {"Authorization": "Bearer web-secret"}
    begun = httpx.post(files, headers={**version, **token})
    assert begun.status_code == httpx.codes.CREATED, web.log
    assert web.stop() in {0, -signal.SIGTERM}, web.log


@pytest.mark.usefixtures("data", "broker")
def test_a_worker_gets_healthy_stores_a_file_and_ends_on_sigterm(stack: compose.Stack) -> None:
    """The worker's command answers its healthcheck, ferries a file to S3 and ends by itself."""
    stack.run("bucket")
    worker = stack.start("worker")
    wait_until(lambda: worker.alive() and stack.healthy("worker"), 60, what="worker healthy")
    content = bytes(range(256)) * 4096 * 7
    source = stack.folder / "source.bin"
    source.write_bytes(content)
    put = ["chunkferry", "put", str(source), "--as", "a/b.bin", "--json"]
    done = stack.run("worker", put)
    assert done.returncode == 0, done.stderr + worker.log
    assert json.loads(done.stdout.splitlines()[-1])["state"] == "complete"
    assert content == store(stack).Object("chunkferry", "a/b.bin").get()["Body"].read()
    assert worker.stop() == 0, worker.log


@pytest.mark.usefixtures("data")
def test_beat_sends_the_sweep_and_gets_healthy(stack: compose.Stack, broker: redis.Redis) -> None:
    """Beat's command puts sweeps where the workers look for them."""
    assert not stack.healthy("beat")
    beat = stack.start("beat")
    wait_until(
        lambda: beat.alive() and broker.llen("chunkferry.maintenance"), 60, what="a sweep is sent"
    )
    message = json.loads(broker.lindex("chunkferry.maintenance", -1) or "")
    assert message["headers"]["task"] == "chunkferry.sweep"
    assert broker.llen("chunkferry.drain") == 0
    wait_until(lambda: stack.healthy("beat"), 30, what="a sign of life")
    assert beat.stop() == 0, beat.log


@pytest.mark.usefixtures("data", "broker")
def test_flower_asks_for_a_password(stack: compose.Stack) -> None:
    """Flower's command answers 401 to strangers, 200 to its operator, and its healthcheck."""
    flower = stack.start("flower")
    wait_until(lambda: flower.alive() and stack.healthy("flower"), 60, what="flower healthy")
    url = f"http://127.0.0.1:{stack.replaced['5555']}/api/workers"
    assert status(url, None) == 401
    assert status(url, "operator:guess") == 401
    assert status(url, SECRETS["FLOWER_BASIC_AUTH"]) == 200
    assert flower.stop() == 0, flower.log


def status(url: str, credentials: str | None) -> int:
    """The answer's status; ``credentials`` are ``user:password``."""
    request = urllib.request.Request(url)
    if credentials:
        encoded = base64.b64encode(credentials.encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            code: int = answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    return code


def test_the_s3_server_is_the_documented_one(stack: compose.Stack) -> None:
    """Image, credentials and network agree with the documentation and the workers.

    Its command cannot be run here: no package index or distribution has its program.
    """
    service = stack.services["s3"]
    assert service["image"] in (CHECKOUT / "docs" / "deployment.md").read_text()
    workers = stack.environment("worker")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert service["environment"][name] == workers[name]
    assert set(service["networks"]) <= set(stack.services["worker"]["networks"])
