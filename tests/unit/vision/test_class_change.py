"""Classes change in the middle of a project: whatever was drawn or detected under any name stays readable, and no id changes its meaning."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.errors import InputError
from labelwheel.vision import class_change
from labelwheel.vision.class_change import Changed
from labelwheel.vision.class_map import ClassMap, Common, common

NAMES = "abcdefgh"
name = st.sampled_from(NAMES)
acts = st.one_of(
    st.tuples(st.just("add"), name),
    st.tuples(st.just("rename"), name, name),
    st.tuples(st.just("merge"), st.lists(name, min_size=1, max_size=3), name),
    st.tuples(st.just("remove"), name),
    st.tuples(st.just("restore"), name),
)


def step(classes: ClassMap, changes: list[dict], act: tuple) -> tuple[ClassMap, list[dict]]:  # type: ignore[type-arg]
    """One act of a person; what is refused changes nothing."""
    what, *given = act
    try:
        if what == "add":
            after = list(classes.extended(given).labels)
            done = [Changed(after, change) for change in class_change.added(classes.labels, after)]
        else:
            done = [getattr(class_change, what)(classes, *given)]
    except InputError:
        return classes, changes
    changes = [*changes, *(one.change for one in done)]
    return (ClassMap.of(done[-1].labels, changes), changes) if done else (classes, changes)


@given(st.lists(acts, max_size=12))
def test_names_and_ids_never_change_their_meaning(history: list[tuple]) -> None:  # type: ignore[type-arg]
    classes, changes = ClassMap(("a", "b", "c")), []
    meant: dict[str, set[int]] = {}
    for act in history:
        before = classes
        classes, changes = step(classes, changes, act)
        assert len(classes) >= len(before) and len(classes.active) >= 1
        assert {label for label in NAMES if before.knows(label)} <= {label for label in NAMES if classes.knows(label)}
        for label in filter(classes.knows, NAMES):
            meant.setdefault(label, set()).add(classes.id_of(classes.named(label)))
            seen = classes.read(label)
            assert seen is None or (seen in classes.active and classes.read(seen) == seen)
        assert all(classes.read(label) == label for label in classes.active)
        assert classes.extended(filter(before.knows, NAMES)) == classes  # a label config that still has the old names adds nothing
        assert ClassMap.from_dict(json.loads(json.dumps(classes.as_dict()))) == classes
        assert all(class_change.told(change) for change in changes)
    assert all(len(ids) == 1 for ids in meant.values())


def test_renamed_merged_removed_restored() -> None:
    classes = ClassMap(("scratch", "dent", "dust", "hair"))
    renamed = class_change.rename(classes, "dent", "bump")
    assert renamed.labels == ["scratch", "bump", "dust", "hair"]
    classes = ClassMap.of(renamed.labels, changes := [renamed.change])
    assert (classes.read("dent"), classes.read("bump")) == ("bump", "bump")
    merged = class_change.merge(classes, ["dust", "hair"], "dirt")
    classes = ClassMap.of(merged.labels, changes := [*changes, merged.change])
    assert classes.labels == ("scratch", "bump", "dirt", "hair") and classes.active == ("scratch", "bump", "dirt")
    assert {classes.read(label) for label in ("dust", "hair", "dirt")} == {"dirt"}
    removed = class_change.remove(classes, "dirt")
    classes = ClassMap.of(removed.labels, changes := [*changes, removed.change])
    assert classes.active == ("scratch", "bump")
    assert [classes.read(label) for label in ("dust", "hair", "dirt", "never")] == [None] * 4
    assert classes.why_not("hair") == "class 'hair' was removed" and "not in the class map" in classes.why_not("never")
    restored = class_change.restore(classes, "dirt")
    assert ClassMap.of(restored.labels, [*changes, restored.change]).read("hair") == "dirt"


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (("rename", "nothing", "x"), "no class 'nothing'"),
        (("rename", "scratch", "dust"), "taken"),
        (("rename", "scratch", "bump"), "taken"),
        (("rename", "scratch", " "), "needs a name"),
        (("rename", "bump", "x"), "called 'dent' now"),
        (("merge", ["scratch"], "scratch"), "with itself"),
        (("merge", ["scratch", "dent"], "hair"), "taken"),
        (("remove", "hair"), "no class 'hair'"),
        (("restore", "dent"), "no class that was removed"),
    ],
)
def test_what_cannot_be_is_refused_with_a_cure(act: tuple[str, ...], message: str) -> None:
    classes = ClassMap(("scratch", "dent", "dust", "hair"), {3: None}, {"bump": 1})
    what, *given = act
    with pytest.raises(InputError) as refused:
        getattr(class_change, what)(classes, *given)
    assert message in f"{refused.value.message} {refused.value.cure}"


def test_a_name_may_be_taken_back_by_its_own_class() -> None:
    classes = ClassMap(("scratch", "dent"), {}, {"bump": 1})
    back = class_change.rename(classes, "dent", "bump")
    after = ClassMap.of(back.labels, [back.change])
    assert (after.labels, after.read("dent")) == (("scratch", "bump"), "bump")


def test_two_models_are_compared_on_what_both_know_under_todays_names() -> None:
    classes = ClassMap(("scratch", "bump", "dirt", "hair", "crack"), {3: 2}, {"dent": 1, "dust": 2})
    old, new = ("scratch", "dent", "dust", "hair"), ("scratch", "bump", "dirt", "hair", "crack")
    assert common(classes, old, new) == Common(("scratch", "bump", "dirt"), (), ("crack",))
    assert common(classes, new, ("scratch", "stranger")) == Common(("scratch",), ("bump", "dirt", "crack"), ())
