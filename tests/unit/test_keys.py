"""The names of all Redis keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkferry import keys
from chunkferry.errors import UploadNotFound

shards = st.integers(1, 16384)
texts = st.text(max_size=20)


@given(service=texts, filepath=texts, count=shards)
def test_a_path_has_one_shard(service: str, filepath: str, count: int) -> None:
    """The same for everybody, and one that exists."""
    shard = keys.shard_of_path(service, filepath, count)
    assert 0 <= shard < count
    assert keys.shard_of_path(service, filepath, count) == shard


def test_paths_spread_over_the_shards() -> None:
    """No shard is left out."""
    found = {keys.shard_of_path("default", f"file{number}", 64) for number in range(2000)}
    assert found == set(range(64))


@given(shard=st.integers(0, 16383))
def test_an_id_tells_its_shard(shard: int) -> None:
    """So its keys follow from it alone."""
    upload_id = keys.new_upload_id(shard)
    assert keys.shard_of(upload_id) == shard


def test_ids_cannot_be_guessed() -> None:
    """128 random bits each."""
    ids = {keys.new_upload_id(3) for _ in range(100)}
    assert {len(upload_id) for upload_id in ids} == {len("3-") + 32}
    assert len(ids) == 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "3-",
        f"-{'0' * 32}",
        f"3-{'0' * 31}",
        f"3-{'0' * 33}",
        f"3-{'A' * 32}",
        f"3-{'0' * 32}\n",
        f"123456-{'0' * 32}",
        f"٣-{'0' * 32}",
        f"3}}:x:{{-{'0' * 32}",
        "../../etc/passwd",
    ],
)
def test_what_never_was_an_id_is_not_found(text: str) -> None:
    """Nothing a caller sends reaches a key's name unchecked."""
    with pytest.raises(UploadNotFound):
        keys.intake(text)


def test_all_keys_of_an_upload_carry_its_shard_as_hash_tag() -> None:
    """One cluster slot per script."""
    shard = keys.shard_of_path("default", "a/b", 64)
    upload_id = keys.new_upload_id(shard)
    names = [
        keys.intake(upload_id),
        keys.work(upload_id),
        keys.parts(upload_id),
        keys.receipts(upload_id),
        keys.events(upload_id),
        keys.path(shard, "default", "a/b"),
        keys.due(shard),
        keys.filling(shard),
        keys.ended(shard),
        keys.graves(shard),
        keys.telling(shard),
        keys.joins(shard),
        keys.partials(shard),
    ]
    assert {name.partition(":")[0] for name in names} == {"{cf"}
    assert {name.partition("}")[0] for name in names} == {f"{{cf:{shard}"}
    assert len(set(names)) == len(names)


def test_service_and_path_cannot_be_mixed_up() -> None:
    """Fault of the original: one path's key overwriting another's entry."""
    assert keys.path(1, "a", "b/c") != keys.path(1, "a/b", "c")
    assert keys.path(1, "a", "b") != keys.path(1, "ab", "")
