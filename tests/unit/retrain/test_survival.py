"""Attempts, disk and pruning: the pure parts of how a run survives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.database.tables import ModelVersion
from retrain.run.attempts import MOST_FRUITLESS, WORTH, Stood
from retrain.run.close import superfluous
from retrain.run.space import NoSpace, need_of, parameters_of
from retrain.training.spec import thinned

MODELS = st.lists(
    st.builds(ModelVersion, training_run_id=st.none() | st.integers(1, 9), weights_uri=st.sampled_from(("", "m.pt"))), max_size=12
)


@given(st.lists(st.floats(0, 100), max_size=60))
def test_a_run_ends_after_few_attempts_that_bring_nothing_and_never_before(percents: list[float]) -> None:
    """`percents`: where the run stands when each attempt begins."""
    stood, since, best = Stood(), 0, 0.0
    for attempts, percent in enumerate(percents):
        stood = Stood.of({"stood": stood.now(percent, attempts).as_dict()})
        since, best = (0, percent) if percent >= best + WORTH else (since, best)
        assert stood.fruitless(attempts) == since
        since += 1
    assert stood.attempts <= len(percents)


def test_an_attempt_of_an_old_row_counts() -> None:
    assert Stood.of({}).fruitless(MOST_FRUITLESS) == MOST_FRUITLESS


@given(MODELS, st.sets(st.integers(1, 12)), st.integers(0, 5))
def test_only_old_trained_models_that_nobody_needs_are_pruned(models: list[ModelVersion], needed: set[int], keep: int) -> None:
    for number, model in enumerate(models, start=1):
        model.id = number
    going = superfluous(models, needed, keep)
    idle = [model for model in models if model.training_run_id and model.weights_uri and model.id not in needed]
    assert not {model.id for model in going} & needed
    assert all(model.training_run_id and model.weights_uri for model in going)
    assert len(going) == max(0, len(idle) - keep)
    assert all(kept.id > gone.id for kept in idle if kept not in going for gone in going)


@given(st.integers(0, 10**12), st.integers(0, 10**6), st.floats(0, 1e9), st.integers(0, 10**10))
def test_a_run_waits_exactly_while_the_disk_has_too_little(image_bytes: int, images: int, parameters: float, reserve: int) -> None:
    need = need_of(image_bytes, images, parameters, reserve)
    assert need.total >= 2 * image_bytes + reserve
    need.demand(need.total)
    if need.total:
        with pytest.raises(NoSpace, match="are free"):
            need.demand(need.total - 1)


def test_parameters_are_told_by_the_architecture() -> None:
    assert parameters_of(None, "yolov8n") < parameters_of(None, "yolo11s") < parameters_of(None, "yolo11x") == parameters_of(None, "rtdetr")


@given(st.lists(st.floats(0, 1), max_size=300), st.integers(2, 60))
def test_a_thinned_history_keeps_its_ends_and_its_order(values: list[float], most: int) -> None:
    history = [(epoch, {"train/box_loss": value}) for epoch, value in enumerate(values, start=1)]
    thin = thinned(history, most)
    assert len(thin) == min(len(history), most)
    assert thin == sorted({epoch: (epoch, losses) for epoch, losses in thin}.values(), key=lambda pair: pair[0])
    assert not history or (thin[0], thin[-1]) == (history[0], history[-1])
