"""What is left to spend: never more than any bound, and what was chosen counts once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from labelwheel.settings import Settings
from labelwheel.shares import read_shares, share_of
from labelwheel.vision.class_map import ClassMap
from sync.selection.budget import Spent, first_rules, rooms, rules

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
names = st.sampled_from(("line-1", "line-2", "line 3"))
shares = st.dictionaries(names | st.just("*"), st.floats(0, 1), max_size=4)
spent = st.builds(
    Spent, st.integers(1, 24 * 60 - 1).map(lambda minutes: NOW - timedelta(minutes=minutes)),
    st.sampled_from(("low_confidence", "drift", "novelty")), names, st.sampled_from(("open", "short", "")),
)  # fmt: skip


@given(st.lists(spent, max_size=30), st.integers(0, 20), st.integers(0, 10), st.floats(0, 1))
def test_no_bound_is_passed_by_what_was_and_what_may_be_chosen(items: list[Spent], day: int, hour: int, drift: float) -> None:
    found = rules(Settings(budget_per_day=day, budget_per_hour=hour, drift_share=drift), items, NOW)
    assert 0 <= found.budget <= max(day - len(items), 0)
    recent = sum(item.at > NOW - timedelta(hours=1) for item in items)
    assert hour == 0 or found.budget <= max(hour - recent, 0)
    drifted = sum(item.reason == "drift" for item in items)
    assert found.drift == 0 or found.drift + drifted <= drift * day + 1


@given(shares, st.integers(0, 50), st.lists(names, max_size=30))
def test_what_a_source_took_is_no_longer_there_for_it(given_shares: dict[str, float], budget: int, taken: list[str]) -> None:
    left = rooms(given_shares, budget, taken)
    used = Counter(taken)
    for name in {*taken, "line-9"}:
        share = share_of(given_shares, name)
        room = left.get(name, left.get("*"))
        assert (room is None) == (share is None)
        if share is not None and room is not None:
            assert 0 <= room <= budget
            assert room == 0 or room + used[name] <= share * budget + 1


def test_what_is_said_of_a_class_under_a_former_name_counts_under_its_name_of_today() -> None:
    classes = ClassMap(("gap", "short", "hole"), {2: None}, {"open": 0})
    told = Settings(budget_per_day=10, class_weights="open=0.5 *=0.3", quota_labels="open=0.5 hole=0.2")
    found = rules(told, [Spent(NOW, "low_confidence", "line-1", name) for name in ("open", "gap", "hole")], NOW, classes)
    assert (found.weights, found.labels) == ({"gap": 0.5, "*": 0.3}, {"gap": 3, "hole": 1})
    assert rules(Settings(class_weights="open=0.5 gap=0.9"), [], NOW, classes).weights == {"gap": 0.9}, "today's name goes before"
    assert rules(Settings(class_weights="gap=0.9 open=0.5"), [], NOW, classes).weights == {"gap": 0.9}


def test_a_first_batch_is_counted_apart() -> None:
    items = [Spent(NOW, "novelty", "line-1", "")] * 30
    assert first_rules(Settings(first_batch=100, quota_sources="line-1=0.5"), items).budget == 70
    assert first_rules(Settings(first_batch=100, quota_sources="line-1=0.5"), items).sources == {"line-1": 20}


@given(shares)
def test_shares_are_read_as_they_are_written(given_shares: dict[str, float]) -> None:
    assert read_shares(" ".join(f'"{name}"={share!r}' for name, share in given_shares.items())) == given_shares


@pytest.mark.parametrize("text", ["line-1", "line-1=", "line-1=1.5", "line-1=-1", "=0.5", "line-1=half", "line-1=nan"])
def test_what_is_no_share_is_named(text: str) -> None:
    with pytest.raises(ValidationError, match="is no name with a share"):
        Settings(quota_sources=text)
