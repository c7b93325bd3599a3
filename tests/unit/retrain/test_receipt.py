"""The account of a batch of labels: what it bought, what it cost, and what is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.run.preview import estimate
from retrain.run.receipt import Batch, Settled, account

METRICS: dict[str, Any] = {
    "challenger": {"map50": 0.55, "images": 90, "per_class": {"dent": 0.6, "scratch": 0.5}, "per_source": {"line-1": 0.55}},
    "champion": {"map50": 0.45, "images": 90, "per_class": {"dent": 0.4, "scratch": 0.5}, "per_source": {"line-1": 0.45}},
    "gate": {"lower": 0.04, "upper": 0.16, "confidence": 0.9},
    "training": {"warm": True},
}
CONTROL: dict[str, Any] = {
    "state": "done",
    "map50": 0.5,
    "per_class": {"dent": 0.5, "scratch": 0.5},
    "per_source": {"line-1": 0.5},
    "against": {
        "gain": 0.05, "lower": 0.01, "upper": 0.09, "confidence": 0.9,
        "slices": [{"slice": "class dent", "before": 0.5, "after": 0.6, "standard_error": 0.02, "images": 30, "boxes": 60}],
    },
}  # fmt: skip
SLICES = [{"slice": "class dent", "before": 0.4, "after": 0.6, "standard_error": 0.02, "images": 7, "boxes": 60}]
RUN = Settled(4, "promoted", "new_labels", None, "m@1", "m@2", METRICS, CONTROL, 20, SLICES)
BATCH = Batch([("line-1", ("dent", "dent")), ("line-1", ("scratch",)), ("line-2", ())], [30.0, 60.0])


def test_the_labels_own_gain_is_that_over_the_control() -> None:
    found = account(RUN, BATCH)
    assert found["labels"] == {"images": 3, "boxes": 3, "background": 1, "seconds": 90.0, "timed_images": 2}
    assert found["over_champion"] == {"gain": 0.1, "lower": 0.04, "upper": 0.16, "confidence": 0.9}
    assert found["over_control"] == {"gain": 0.05, "lower": 0.01, "upper": 0.09, "confidence": 0.9}
    assert found["cost"] == {"against": "control", "images_per_point": 0.6, "seconds_per_point": 27.0}
    dent = next(row for row in found["per_class"] if row["name"] == "dent")
    assert (dent["images"], dent["over_control"]) == (1, {"gain": 0.1, "lower": 0.0738, "upper": 0.1262})
    assert dent["over_champion"] == {"gain": 0.2, "lower": None, "upper": None}, "seven images tell too little"
    assert {row["name"]: row["images"] for row in found["per_source"]} == {"line-1": 2, "line-2": 1}
    words = " ".join(found["lines"])
    assert "80% interval +0.010 to +0.090" in words and "1.5 minutes of people's time (2 of them are timed)" in words
    assert found["caveats"] == ["One control is one draw of the training's chance: small differences are noise."]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (replace(RUN, control=None), "No control was trained (LABELWHEEL_TRAIN_CONTROL)"),
        (replace(RUN, control={"state": "due"}), "still to be trained"),
        (replace(RUN, control={"state": "failed", "error": "no memory"}), "The control failed (no memory)"),
        (replace(RUN, control=None, metrics={**METRICS, "training": {"warm": False}}), "started from scratch"),
        (replace(RUN, metrics={**METRICS, "gate": {**METRICS["gate"], "gain": 0.08}}), "do not know the same classes"),
        (replace(RUN, min_images=91), "90 images: too few"),
        (replace(RUN, metrics={**METRICS, "judged_on": "train"}), "no holdout"),
        (replace(RUN, control={**CONTROL, "against": {"lower": -0.01, "upper": 0.11, "confidence": 0.9}}), "may all be chance"),
        (replace(RUN, control={**CONTROL, "map50": 0.6, "against": None}), "bought nothing"),
    ],
)
def test_what_is_not_known_is_said(run: Settled, said: str) -> None:
    found = account(run, BATCH)
    assert any(said in caveat for caveat in found["caveats"]) and set(found["caveats"]) <= set(found["lines"])


def test_without_a_gain_there_is_no_cost() -> None:
    assert account(replace(RUN, control={**CONTROL, "map50": 0.6, "against": None}), BATCH)["cost"] is None
    assert account(replace(RUN, champion=None, control=None, metrics={"challenger": {"map50": 0.5, "images": 90}}), BATCH)["cost"] is None


scores = st.none() | st.builds(lambda value: {"map50": value, "images": 50, "per_class": {"dent": value}}, st.floats(0, 1))
batches = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.lists(st.sampled_from(["dent", "scratch"]), max_size=3).map(tuple)), max_size=5
)


@given(scores, scores, scores, batches, st.lists(st.floats(0, 1e4), max_size=5))
def test_any_run_has_an_account_in_json(before: Any, after: Any, control: Any, images: Any, seconds: list[float]) -> None:
    metrics = {"champion": before, "challenger": after}
    found = account(replace(RUN, metrics=metrics, control={"state": "done", **control} if control else None), Batch(images, seconds))
    assert json.loads(json.dumps(found)) == found
    assert found["lines"]
    cost = found["cost"]
    assert cost is None or cost["images_per_point"] >= 0
    assert sum(row["images"] for row in found["per_source"]) == len(images)


runs = st.lists(
    st.fixed_dictionaries({"updates": st.integers(0, 50), "seconds": st.floats(0, 100), "warm": st.booleans()}), max_size=5
).map(lambda rows: [{**row, "run": number} for number, row in enumerate(rows)])


@given(runs, st.integers(1, 100), st.booleans())
def test_an_estimate_keeps_the_pace_of_the_newest_like_training(rows: list[dict[str, Any]], updates: int, warm: bool) -> None:
    found = estimate(rows, updates, warm=warm)
    timed = [row for row in rows if row["updates"] and row["seconds"]]
    if found["paced_by"] is None:
        assert not timed
        return
    pace = rows[found["paced_by"]]
    assert found["seconds"] == pytest.approx(pace["seconds"] / pace["updates"] * updates, abs=1)
    assert pace["warm"] == warm or all(row["warm"] != warm for row in timed)
