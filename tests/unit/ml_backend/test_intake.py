"""Which tasks a webhook is about, in all the spellings that Label Studio 1.23 was seen to send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.intake import task_ids

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "task", "tasks", "x"]), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"annotation": {"id": 4, "task": 9}, "task": {"id": 9}}, [9]),  # ANNOTATION_CREATED, ANNOTATION_UPDATED
        ({"annotation": [{"id": 4}, {"id": 5}], "task": [{"id": 9}, {"id": 3}]}, [3, 9]),  # ANNOTATIONS_CREATED
        ({"annotations": [{"id": 4}]}, []),  # ANNOTATIONS_DELETED
        ({"tasks": [{"id": 9}, {"id": 9}]}, [9]),  # TASKS_DELETED
        ({"project": {"id": 6}}, []),  # PROJECT_UPDATED
    ],
)
def test_the_tasks_of_a_webhook(body: dict[str, Any], expected: list[int]) -> None:
    assert task_ids(body) == expected


@given(st.dictionaries(st.sampled_from(["task", "tasks", "annotation"]), json_values))
def test_any_body_is_read(body: dict[str, Any]) -> None:
    assert all(isinstance(value, int) for value in task_ids(body))
