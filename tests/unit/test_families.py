"""What is counted: fields of one hash, and back to counters and histograms."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkferry import families
from chunkferry.families import Family

COUNTER = Family(name="things", help="Things.", labels=("service", "code"))
HISTOGRAM = Family(name="spans", help="Spans.", labels=("service",), bounds=(0.1, 1, 10))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def test_families_have_names_of_their_own() -> None:
    """Such as Prometheus takes, none of which is another's beginning with a bar behind it."""
    names = [family.name for family in families.ALL]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z_]+", name)] == []


def test_all_families_are_listed() -> None:
    """One that is left out would be counted and never shown."""
    defined = [value for value in vars(families).values() if isinstance(value, Family)]
    assert defined == list(families.ALL)


@given(service=texts, code=texts, count=st.integers(1, 2**53))
def test_a_count_comes_back_with_its_labels(service: str, code: str, count: int) -> None:
    """Whatever they are; a label cannot pass for another field."""
    totals = {COUNTER.field(service, code): count, "things_else|a|b": 7, "other": 8}
    assert list(families.counts(COUNTER, totals)) == [((service, code), count)]


def test_a_counter_without_labels_is_there_from_the_beginning() -> None:
    """A rate needs its first value before something happens."""
    assert list(families.counts(families.TAKEOVERS, {})) == [((), 0)]


def test_labels_are_not_forgotten() -> None:
    """A count without one of them would be nobody's."""
    with pytest.raises(ValueError, match="things has the labels"):
        COUNTER.field("service")


@given(st.lists(st.floats(0, 20)))
def test_a_histogram_adds_up(spans: list[float]) -> None:
    """Each bucket holds all that is not above its bound, the last one everything."""
    totals = Counter[str]()
    for span in spans:
        totals.update(HISTOGRAM.observed(span, "s"))
    found = list(families.distributions(HISTOGRAM, totals))
    if not spans:
        assert found == []
        return
    ((labels, distribution),) = found
    assert labels == ("s",)
    assert distribution.buckets == {
        bound: sum(span <= bound for span in spans) for bound in (0.1, 1, 10, float("inf"))
    }
    assert distribution.total == pytest.approx(sum(spans), abs=1e-6 * len(spans))


def test_bounds_of_another_version_are_bounds_as_well() -> None:
    """Old workers run beside new ones: nothing they observed gets lost."""
    totals = {"spans|s|0.1": 1, "spans|s|0.5": 2, "spans|s|inf": 4, "spans|s|sum": 3_000_000}
    ((_, found),) = families.distributions(HISTOGRAM, totals)
    assert found.buckets == {0.1: 1, 0.5: 3, 1: 3, 10: 3, float("inf"): 7}
    assert found.total == 3.0
