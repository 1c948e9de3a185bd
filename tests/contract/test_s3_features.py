"""What servers can do, found out by trying: a real gateway, and an imitation of AWS."""

from __future__ import annotations

import secrets

import pytest
from tests.servers.faulty_s3 import FaultyS3, answer, error, running
from tests.servers.s3 import S3Server

from chunkferry.errors import StoreRefused
from chunkferry.services import Probing
from chunkferry.storage import Stores, from_url
from chunkferry_worker.cli import abilities
from chunkferry_worker.cli.checks import Finding, Verdict


def findings(server: S3Server, **options: str) -> tuple[list[Finding], list[str]]:
    """What doctor says of the server's features, and what it left behind."""
    prefix = secrets.token_hex(8)
    found = list(abilities.of_store(Stores({"s": server.url(prefix, **options)}), "s"))
    client = server.client()
    left = client.list_objects_v2(Bucket=server.bucket, Prefix=prefix).get("Contents", [])
    sessions = client.list_multipart_uploads(Bucket=server.bucket, Prefix=prefix)
    keys = [item["Key"] for item in left] + [s["Key"] for s in sessions.get("Uploads", [])]
    return [finding for finding in found if finding.check == "server s"], keys


@pytest.mark.s3
@pytest.mark.parametrize(
    ("options", "verdicts"),
    [
        ({"profile": "ceph"}, [Verdict.GOOD, Verdict.GOOD]),
        ({}, [Verdict.WARNING, Verdict.GOOD]),
        ({"profile": "aws"}, [Verdict.GOOD, Verdict.BAD]),
    ],
)
def test_ceph_knows_conditions_and_no_checksums(
    rgw: S3Server, options: dict[str, str], verdicts: list[Verdict]
) -> None:
    """The options are held against what RGW 16.2 does, and nothing stays there."""
    found, left = findings(rgw, **options)
    assert verdicts == [finding.verdict for finding in found]
    assert left == []


@pytest.mark.parametrize(
    ("options", "verdicts"),
    [
        ({"profile": "aws"}, [Verdict.GOOD, Verdict.GOOD]),
        ({}, [Verdict.WARNING, Verdict.WARNING]),
    ],
)
def test_moto_knows_both(
    moto_s3: S3Server, options: dict[str, str], verdicts: list[Verdict]
) -> None:
    """A feature that is not made use of is worth a word."""
    found, left = findings(moto_s3, **options)
    assert verdicts == [finding.verdict for finding in found]
    assert left == []


def test_advice_names_the_option(moto_s3: S3Server) -> None:
    """Whoever reads it knows what to change."""
    found, _ = findings(moto_s3)
    assert [finding.advice for finding in found] == [
        "add conditional_writes=true to the store's URL",
        "add checksums=when_supported to the store's URL",
    ]


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> FaultyS3:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return FaultyS3()


@pytest.mark.usefixtures("refusing")
def test_an_older_server_is_found_out() -> None:
    """One that answers 501 to what it does not know, or ignores it."""
    with running() as server:
        server.on("PUT", answer(ETag='"x"'))
        server.on("POST uploads", error(501, "NotImplemented"))
        server.on("DELETE", answer(204))
        store = from_url(f"s3://bucket?endpoint_url={server.endpoint}&profile=aws")
        assert isinstance(store, Probing)
        assert [(seen.present, seen.used) for seen in store.probe()] == [(False, True)] * 2


@pytest.mark.usefixtures("refusing")
def test_what_may_not_be_tried_is_not_guessed() -> None:
    """Without permission nothing is known."""
    with running() as server:
        server.on("PUT", error(403, "AccessDenied"))
        server.on("DELETE", error(403, "AccessDenied"))
        url = f"s3://bucket?endpoint_url={server.endpoint}"
        store = from_url(url)
        assert isinstance(store, Probing)
        with pytest.raises(StoreRefused):
            store.probe()
        (_, finding) = abilities.of_store(Stores({"s": url}), "s")
        assert finding.verdict is Verdict.WARNING
