"""The line to a real server. What is said over it stands in `test_contract_*.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labelwheel.errors import LabelStudioError, LabelStudioUnreachable
from labelwheel.labelstudio import LabelStudio

TASK = {"data": {"image": "/data/local-files/?d=images/k.png", "labelwheel_key": "k"}}
PREDICTION = {"task": 1, "model_version": "m@1", "score": 0.5, "result": []}


def test_it_knows_the_server_and_itself(label_studio: LabelStudio) -> None:
    assert label_studio.version() == "1.23.2"
    assert label_studio.me()["email"] == "admin@labelwheel.local"


def test_a_wrong_token_is_told_from_a_dead_server(label_studio: LabelStudio) -> None:
    with pytest.raises(LabelStudioError, match="LABELWHEEL_LABEL_STUDIO_TOKEN") as refused:
        LabelStudio(label_studio.url, "0" * 40).me()
    assert not isinstance(refused.value, LabelStudioUnreachable)
    with pytest.raises(LabelStudioUnreachable, match="LABELWHEEL_LABEL_STUDIO_URL"):
        LabelStudio("http://127.0.0.1:9", "0" * 40).me()


@pytest.mark.parametrize(
    ("act", "requests"),
    [
        (lambda client: client.import_tasks(1, [TASK]), 1),
        (lambda client: client.import_predictions(1, [PREDICTION]), 1),
        (lambda client: client.create_annotation(1, []), 1),
        (lambda client: client.me(), 3),
    ],
    ids=["import tasks", "import predictions", "annotate", "read"],
)
def test_only_reads_are_repeated(tiny_backend: Any, act: Callable[[LabelStudio], object], requests: int) -> None:
    tiny_backend.answer = lambda path, body: (503, {"detail": "starting"})
    with pytest.raises(LabelStudioUnreachable):
        act(LabelStudio(tiny_backend.url, "0" * 40))
    assert len(tiny_backend.asked) == requests


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"task_ids": [5], "prediction_count": 1}, "created 1 of 2 tasks"),
        ({"task_ids": [5, 6], "prediction_count": 0}, "stored 0 of 1 predictions"),
        ({"task_ids": [5, 6]}, "stored None of 1 predictions"),
    ],
)
def test_what_an_import_leaves_out_is_an_error(tiny_backend: Any, answer: dict[str, Any], said: str) -> None:
    tiny_backend.answer = lambda path, body: (201, answer)
    with pytest.raises(LabelStudioError, match=said):
        LabelStudio(tiny_backend.url, "0" * 40).import_tasks(1, [TASK, {**TASK, "predictions": [PREDICTION]}])


def test_a_server_that_is_not_label_studio_is_named(tiny_backend: Any) -> None:
    with pytest.raises(LabelStudioError, match="404"):
        LabelStudio(tiny_backend.url, "0" * 40).me()


@pytest.mark.parametrize(
    "look",
    [
        lambda client: list(client.stamps(1)),
        lambda client: client.find_tasks(1, ["k"]),
        lambda client: list(client.open_tasks(1)),
        lambda client: list(client.changed_tasks(1, None)),
        lambda client: client.find_project("Labelwheel"),
    ],
)
@pytest.mark.parametrize("body", ["default backend - 404", {"detail": "Not found."}])
def test_a_404_is_no_empty_list(tiny_backend: Any, look: Callable[[LabelStudio], object], body: object) -> None:
    tiny_backend.answer = lambda path, _: (404, body)
    with pytest.raises(LabelStudioError, match="404"):
        look(LabelStudio(tiny_backend.url, "0" * 40))


def test_tasks_far_apart_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    client, asked = LabelStudio("http://127.0.0.1:9", "0" * 40), list[str]()

    def read(path: str, **query: Any) -> Any:
        asked.append(query["query"])
        return {"tasks": [{"id": 5}, {"id": 19_990}]}

    monkeypatch.setattr(client.connection, "read", read)
    assert sorted(client.tasks(1, [19_990, 5])) == [5, 19_990]
    [query] = asked
    assert "[5, 19990]" in query, "what lies between is not read"
