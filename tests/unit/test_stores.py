"""``from_url`` and ``Stores``: stores by URL and by name."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chunkferry.errors import ConfigError, MissingExtra, UnknownService
from chunkferry.storage import Stores, from_url
from chunkferry.storage.local import LocalStore
from chunkferry.storage.memory import MemoryStore


def named(options: dict[str, str]) -> MemoryStore:
    """A third party's factory."""
    store = MemoryStore()
    vars(named)["options"] = options
    return store


def not_a_store(options: dict[str, str]) -> object:
    """A factory of something else."""
    return options


def failing(options: dict[str, str]) -> MemoryStore:
    """A factory with a fault that nobody foresaw."""
    raise KeyError(str(options))


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("file:///tmp/objects", LocalStore),
        ("file://./objects", LocalStore),
        ("file://../objects", LocalStore),
        ("memory://one", MemoryStore),
    ],
)
def test_schemes_name_stores(url: str, kind: type) -> None:
    """The scheme decides which store it is."""
    assert isinstance(from_url(url), kind)


def test_a_url_touches_nothing(tmp_path: Path) -> None:
    """Making a store neither connects to it nor makes its folder."""
    from_url(f"file://{tmp_path}/objects")
    assert list(tmp_path.iterdir()) == []


def test_paths_in_urls_are_decoded(tmp_path: Path) -> None:
    """A folder with a question mark in its name can be written as a URL."""
    store = from_url(f"file://{tmp_path}/what%3F")
    assert isinstance(store, LocalStore)
    with (tmp_path / "text").open("w+b") as reader:
        store.put("a", reader)
    assert (tmp_path / "what?" / "a").exists()


def test_a_factory_is_called_with_its_options() -> None:
    """``module:factory?options`` hands the options over as a dict."""
    store = from_url(f"{__name__}:named?a=1&b=http%3A//x%3Fy&c=")
    assert isinstance(store, MemoryStore)
    assert vars(named)["options"] == {"a": "1", "b": "http://x?y", "c": ""}
    from_url(f"{__name__}:named?b=http://x")
    assert vars(named)["options"] == {"b": "http://x"}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host", "known: az://, file://, gs://, memory://, s3://"),
        ("nothing", "scheme://location or by module:factory"),
        ("no_such_module:factory", "no store factory 'no_such_module:factory'"),
        (f"{__name__}:absent", "no store factory"),
        (f"{__name__}:not_a_store", "returned a dict, which is no ChunkStore"),
        (f"{__name__}:failing?key=secret", "failing' failed: KeyError"),
        ("file://relative", "file://./relative/path"),
        ("file:///a?fsync=no", "no option fsync; known: base_url, "),
        ("memory://", "memory://name"),
        ("memory://x?a=1&a=2", "same option twice"),
        ("s3://", "s3://bucket/prefix"),
        ("s3://key:secret@bucket", "without credentials"),
        ("s3://bucket?regoin=x", "no option regoin; known: acl, .*region"),
        ("s3://bucket?checksums=md5", "checksums: Input should be"),
        ("s3://bucket?endpoint_url=ftp://x", "must be an http or https URL"),
        ("s3://bucket?endpoint_url=http://key:secret@x", "must hold no credentials"),
        ("s3://bucket?endpoint_url=http://x%3Fsig=secret", "must hold no credentials"),
        ("s3://bucket?sse_kms_key_id=x", "needs sse=aws:kms"),
        ("s3://bucket?connections=0", "connections: Input should be greater"),
    ],
)
def test_bad_urls_are_refused_with_the_reason(url: str, message: str) -> None:
    """The message helps, and repeats no value that could be a secret."""
    with pytest.raises(ConfigError, match=message) as caught:
        from_url(url)
    assert "secret" not in str(caught.value).replace("secret_file", "")


def test_a_missing_boto3_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says how to get it."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r"chunkferry\[s3\]"):
        from_url("s3://bucket")


def test_stores_are_made_once() -> None:
    """However many threads ask, a service has one store."""
    stores = Stores({"a": f"{__name__}:named"})
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: id(stores["a"]), range(64)))
    assert len(found) == 1


def test_stores_are_made_when_asked_for() -> None:
    """An unusable URL fails the service that has it, not the others."""
    stores = Stores({"good": "memory://good", "bad": "ftp://host"})
    assert isinstance(stores["good"], MemoryStore)
    assert stores.names == ["bad", "good"]
    assert "bad" in stores
    with pytest.raises(ConfigError):
        stores["bad"]


def test_an_unknown_service_is_named() -> None:
    """The error lists what there is."""
    stores = Stores({"a": "memory://a"})
    assert "b" not in stores
    with pytest.raises(UnknownService, match="no service named 'b'; configured: a"):
        stores["b"]
