"""What the label config shows of a model is a view on what is stored: an edit gives open tasks other boxes and costs no inference."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from sqlalchemy import func, select

from labelwheel.database.tables import Deployment, Image, Prediction, Project
from labelwheel.serving import newest_deployment
from retrain.model.deploy import renew
from tests.fixtures.line import BASIC_PASSWORD, LS_PROJECT, Line

BASIC = {"Authorization": "Basic " + base64.b64encode(f"label-studio:{BASIC_PASSWORD}".encode()).decode()}
IMAGE = '<Image name="image" value="$image"/>'
SEEN = (0.9, 0.5, 0.1)  # confidences of three boxes, all "open"


def config(tag: str = "", label: str = "", more: str = "") -> str:
    labels = f'<Label value="open" {label}/><Label value="short"/>'
    return f'<View>{IMAGE}<RectangleLabels name="label" toName="image" {tag}>{labels}</RectangleLabels>{more}</View>'


def edit(line: Line, label_config: str) -> None:
    """What `labelwheel connect` reads of Label Studio."""
    with line.database.write() as session:
        session.get_one(Project, line.project.id).label_config = label_config


def shown(line: Line, label_config: str) -> list[tuple[str, str, float]]:
    with line.database.read() as session:
        uri = session.scalars(select(Image.uri)).one()
    body = {"tasks": [line.task(1, uri)], "project": f"{LS_PROJECT}.1", "label_config": label_config}
    [[prediction]] = line.client.post("/predict", json=body, headers=BASIC).json["results"]
    regions: list[dict[str, Any]] = prediction["result"]
    return [(region["from_name"], region["value"]["rectanglelabels"][0], region["score"]) for region in regions]


def served_as(line: Line) -> str:
    with line.database.read() as session:
        row = newest_deployment(session, line.project.id)
    assert row is not None
    return row.served_as


@pytest.mark.parametrize(
    ("label_config", "boxes"),
    [
        (config(), [("label", "open", 0.9), ("label", "open", 0.5)]),
        (config('model_score_threshold="0.6"'), [("label", "open", 0.9)]),
        (config('model_score_threshold="0.6"', 'model_score_threshold="0.05"'), [("label", "open", value) for value in SEEN]),
        (
            config(more='<RectangleLabels name="b" toName="image"><Label value="gap" predicted_values="OPEN"/></RectangleLabels>'),
            [("label", "open", 0.9), ("b", "gap", 0.9), ("label", "open", 0.5), ("b", "gap", 0.5)],
        ),
    ],
)
def test_boxes_follow_the_label_config(line: Line, label_config: str, boxes: list[tuple[str, str, float]]) -> None:
    line.deploy(*SEEN)
    line.inspect(1)
    assert shown(line, label_config) == boxes
    with line.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Prediction)) == 1, "one look at the image, at its arrival"


def test_a_config_that_shows_nothing_answers_nothing(line: Line) -> None:
    line.deploy(*SEEN)
    line.inspect(1)
    body = {"tasks": [{"id": 1, "data": {}}], "project": f"{LS_PROJECT}.1", "label_config": config('model_skip="true"')}
    assert line.client.post("/predict", json=body, headers=BASIC).json == {"results": [[]]}


def test_only_an_edit_that_changes_boxes_renews_the_deployment(line: Line) -> None:
    """Equal names are equal pre-annotations: Label Studio asks for no task again that has one of the name."""
    edit(line, config())
    assert not renew(line.database, line.settings, line.project.id), "nothing serves"
    line.deploy(*SEEN)
    renew(line.database, line.settings, line.project.id)
    first = served_as(line)
    edit(line, config(label='background="red"', more='<Choices name="c" toName="image"><Choice value="ok"/></Choices>'))
    assert not renew(line.database, line.settings, line.project.id)
    edit(line, config(label='model_score_threshold="0.05"'))
    assert renew(line.database, line.settings, line.project.id)
    assert served_as(line).partition("+")[0] == first.partition("+")[0] and served_as(line) != first
    edit(line, config())
    assert renew(line.database, line.settings, line.project.id)
    assert served_as(line) == first
    with line.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Deployment)) == 4
