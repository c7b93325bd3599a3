"""What a run may be asked for, and what the settings say where nothing was asked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.retraining import option
from labelwheel.architectures import known, read_architecture
from labelwheel.augmentations import RANGES, read_augmentations
from labelwheel.errors import InputError, SettingsError
from labelwheel.settings import Settings, load_settings
from retrain.training.asked import Asked, read_asked
from retrain.training.recipe import recipe_for
from retrain.training.spec import Spec
from retrain.training.train import recipe

STRENGTHS = st.dictionaries(st.sampled_from(sorted(RANGES)), st.floats(0, 1), max_size=4).map(
    lambda shares: {name: share * RANGES[name] for name, share in shares.items()}
)
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "updates": st.integers(1, 9999),
        "image_size": st.integers(1, 64).map(lambda n: 32 * n),
        "batch_size": st.integers(1, 64),
        "learning_rate": st.floats(1e-5, 1),
        "freeze": st.integers(0, 30),
        "augmentations": STRENGTHS.map(lambda found: " ".join(f"{name}={value!r}" for name, value in found.items())),
    },
)


@given(ASKED)
def test_what_was_asked_comes_back_from_the_row_and_wins_over_the_settings(asked: dict[str, Any]) -> None:
    kept = read_asked(asked).stored() | {"who": "anna", "why": "a new board"}
    spec = recipe_for(SETTINGS, Path(), Path("data.yaml"), 100, "best.pt", 1, Asked.of(kept))
    plain = recipe_for(SETTINGS, Path(), Path("data.yaml"), 100, "best.pt", 1)
    for name in ("updates", "image_size", "batch_size", "learning_rate", "freeze"):
        assert getattr(spec, name) == asked.get(name, getattr(plain, name))
    assert spec.augmentations == read_augmentations(asked.get("augmentations", ""))
    told = recipe(spec)
    assert all(told[name] == value for name, value in spec.augmentations.items())


@pytest.mark.parametrize(
    "asked",
    [
        {"updats": 5}, {"updates": 0}, {"image_size": 100}, {"learning_rate": 2}, {"augmentations": "flip=1"}, {"augmentations": "fliplr=2"},
        {"architecture": "foo", "start": "scratch"}, {"architecture": "../x", "start": "scratch"}, {"learning_rate": math.nan},
        {"freeze": -1}, {"updates": "many"},
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(asked: dict[str, Any]) -> None:
    with pytest.raises(InputError) as told:
        read_asked(asked)
    assert told.value.cure


def test_each_door_is_told_by_the_names_that_it_has() -> None:
    with pytest.raises(InputError, match="image_size must be a multiple of 32"):
        read_asked({"image_size": 100})
    with pytest.raises(InputError, match="--image-size must be a multiple of 32") as told:
        read_asked({"image_size": 100}, option)
    assert "--from, --updates, --image-size" in told.value.cure and "image_size" not in str(told.value)
    with pytest.raises(InputError, match="learning_rate must be a finite number"):
        read_asked({"learning_rate": math.nan})


def test_architectures_that_are_known_are_those_that_ultralytics_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    from ultralytics.nn.tasks import yaml_model_load

    names = [family + size for family, sizes in known().items() for size in sizes or ("",)]
    assert {"yolov8n", "yolo11s"} <= set(names)
    for name in names:
        assert yaml_model_load(f"{name}.yaml")["backbone"] and read_architecture(name) == name
    monkeypatch.setenv("LABELWHEEL_ARCHITECTURE", "foo")
    with pytest.raises(SettingsError, match=r"known are .*yolov8n/s/m/l/x"):
        load_settings()


def test_a_recipe_without_wishes_is_as_it_was() -> None:
    scratch, warm = (recipe(_spec(start)) for start in ("yolov8n.yaml", "best.pt"))
    assert (scratch["mosaic"], warm["mosaic"], warm["fliplr"], warm["hsv_h"], warm["freeze"]) == (1.0, 0.0, 0.5, 0.0, None)


def _spec(start: str) -> Spec:
    return Spec("", "", start, 10, 10, 4, 64, 0.001, 1, 1, 0)


SETTINGS = Settings(home=Path("/nowhere"))
