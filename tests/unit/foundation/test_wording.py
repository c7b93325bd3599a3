"""No word of pydantic's reaches a person: whatever comes in, and whatever it comes into."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from console.api.inspection_logs import LogQuery
from console.api.labeling_queue import ExportQuery, Label, QueueQuery, Said
from labelwheel.settings import Settings
from labelwheel.wording import faults
from ml_backend.inspect import Arrival, Question
from retrain.training.asked import Asked

MODELS = (Label, Said, QueueQuery, LogQuery, ExportQuery, Arrival, Question, Settings, Asked)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300)
VALUE = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5), max_leaves=10
)
THEIRS = ("Input should", "should be", "should have", "Value error", "pattern", "Extra inputs", "Field required", "cannot be used")


@given(st.data())
def test_whatever_does_not_fit_is_told_in_our_words(data: st.DataObject) -> None:
    model: type[BaseModel] = data.draw(st.sampled_from(MODELS))
    names = sorted(name for name in model.model_fields if name not in ("image_sources", "image_networks"))  # they raise errors of ours
    given = data.draw(st.dictionaries(st.sampled_from([*names, "unknown"]), VALUE, max_size=4))
    try:
        model.model_validate(given)
    except ValidationError as error:
        said = faults(error, lambda place: ".".join(map(str, place)) or "it")
        assert said
        assert not [word for word in THEIRS if word in said and word not in str(given)], said


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (QueueQuery, {"limit": "many"}, "limit must be a whole number, not 'many'"),
        (QueueQuery, {"limit": "0"}, "limit must be 1 or more, not '0'"),
        (QueueQuery, {"sort": "asc"}, "sort is not known"),
        (Said, {}, "who is missing"),
        (Said, {"who": 7}, "who must be text, not 7"),
        (Label, {"who": "a", "boxes": [{"label": "x", "box": [1]}]}, "boxes.0.box must have 4 entries or more"),
        (LogQuery, {"since": "soon"}, "since must be a date and time, such as 2026-11-27T08:00:00Z, not 'soon'"),
    ],
)
def test_a_fault_is_told_by_what_is_wanted_and_what_was_given(model: type[BaseModel], given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(given)
    assert said in faults(caught.value, lambda place: ".".join(map(str, place)))
