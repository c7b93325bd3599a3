"""Classes change in the middle of a project: what a person types, and what serves, is drawn and is stored afterwards."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from console.classes import advice
from console.cli import app
from labelwheel import serving
from labelwheel.database.tables import ClassMap, Deployment, Prediction, Project
from labelwheel.project import current_classes, grow_class_map
from labelwheel.settings import PREFIX, get_settings
from retrain.model.deploy import renew
from tests.fixtures.line import Line


@pytest.fixture
def say(line: Line, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(PREFIX + "LABEL_STUDIO_URL", line.settings.label_studio_url)
    get_settings.cache_clear()
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.0)

    def typed(*words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(app, ["classes", *words, *([] if code else ["--json"])], catch_exceptions=bool(code))
        assert done.exit_code == code, done.output
        assert "model deployed" not in done.output, "the answer says it; a log line beside it only disturbs"
        return done.exception if code else json.loads(done.stdout)

    return typed


def seen(line: Line, number: int) -> list[str]:
    return [item["label"] for item in line.inspect(number).get_json()["detections"]]


def test_a_model_serves_under_the_new_name_and_what_it_said_is_kept(line: Line, say: Any) -> None:
    line.deploy(0.9)
    assert seen(line, 1) == ["open"]
    done = say("rename", "open", "gap", "--note", "As on the plan.")
    assert (done["version"], done["renewed"]) == (2, True)
    assert done["edits"] == [
        'In the label config, let <Label value="open"/> be <Label value="gap" alias="open"/>, then `labelwheel connect`.'
    ]
    assert seen(line, 1) == seen(line, 2) == ["gap"], "looked at before, and after"
    with line.database.write() as session:
        stored = session.scalars(select(Prediction.detections)).all()
        assert {item["label"] for found in stored for item in found} == {"open"}, "as the model said it"
        assert len(session.scalars(select(Deployment)).all()) == 2
        grow_class_map(session, line.project.id, ["open", "short"], line.project.label_config)
        assert session.scalars(select(ClassMap.version)).all() == [1, 2], "a config that still has the old name adds nothing"
        assert current_classes(session, line.project.id).labels == ("gap", "short")
    assert [row["changes"] for row in say("list", "--history")][1].endswith(": As on the plan.")
    say("remove", "gap")
    assert seen(line, 3) == []
    assert [(row["class"], row["state"], row["formerly"]) for row in say("list")] == [("gap", "removed", "open"), ("short", "in use", "")]
    assert "only class" in str(say("remove", "short", code=1))
    say("restore", "gap")
    say("merge", "gap", "short", "--into", "fault")
    assert [(row["class"], row["state"]) for row in say("list")] == [("fault", "in use"), ("short", "merged into fault")]
    assert seen(line, 3) == ["fault"]


def test_cameras_are_told_the_new_name_where_nothing_is_shown_beforehand(line: Line, say: Any) -> None:
    line.deploy(0.9)
    with line.database.write() as session:
        project = session.get_one(Project, line.project.id)
        project.label_config = project.label_config.replace("<RectangleLabels ", '<RectangleLabels model_skip="true" ')
        assert "model_skip" in project.label_config
    renew(line.database, line.settings, project.id)
    assert seen(line, 1) == ["open"]
    assert say("rename", "open", "gap", "--note", "As on the plan.")["renewed"]
    assert seen(line, 1) == seen(line, 2) == ["gap"]
    say("remove", "gap")
    assert seen(line, 1) == []


def test_the_edits_of_the_label_config_are_told(line: Line) -> None:
    def told(change: dict[str, Any]) -> list[str]:
        return list(advice(line.project.label_config, change))

    merged = {"what": "merged", "labels": ["open", "short"], "to": "fault", "id": 0, "retired": [1]}
    first, second = told(merged)
    assert 'alias="open"' in first and second.startswith('Take <Label value="short"/>')
    assert [edit.endswith("is read as open.") for edit in told({**merged, "to": "open"})] == [True]
    assert [edit.endswith("is left out.") for edit in told({"what": "removed", "label": "open", "id": 0})] == [True]
    assert told({"what": "removed", "label": "nowhere", "id": 0}) == []
