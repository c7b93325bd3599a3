"""`labelwheel corrections`, `thresholds` and `doubts`, and the API beside them: the same JSON, and words where there is nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from typer.testing import CliRunner

from console.cli import app
from console.thresholds import table
from console.web import create_app
from labelwheel.database.tables import QueueItem, utcnow
from labelwheel.settings import PREFIX, get_settings
from sync.doubts.check import check
from tests.fixtures.line import TOKEN, Line
from tests.fixtures.reviewed import annotation, answer, as_task, prediction, region

BOX = (2, 2, 22, 22)


@pytest.fixture(autouse=True)
def _settings_of_the_line(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands read their settings from the environment."""
    monkeypatch.setenv(PREFIX + "LABEL_STUDIO_URL", line.settings.label_studio_url)
    monkeypatch.setenv(PREFIX + "DETECTOR_THREADS", "1")
    get_settings.cache_clear()


def told(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_with_nothing_to_say_the_words_say_so(line: Line) -> None:
    assert "Nobody has corrected" in said("corrections")
    assert "No label is doubted" in said("doubts")
    assert told("thresholds") == [{"class": "open", "threshold": 0.25}, {"class": "short", "threshold": 0.25}]
    assert "No model serves" in said("thresholds", "--suggest")
    assert "No model serves" in told("thresholds", "--suggest")["why_nothing"]


def test_a_renamed_class_is_told_by_todays_name_and_what_is_not_better_saves_nothing(line: Line) -> None:
    line.deploy(0.95)
    answer(line, as_task(line, 1), annotation(1, region("A", "open", BOX)))
    assert json.loads(CliRunner().invoke(app, ["classes", "rename", "open", "gap", "--json"]).stdout)["version"] == 2
    assert [row["class"] for row in told("thresholds")] == ["gap (drawn as open)", "short"]
    assert told("thresholds", "--suggest")["classes"][0]["class"] == "gap (drawn as open)"
    assert "gap (drawn as open)" in said("labels", "list")
    with line.database.read() as session:
        number = session.scalars(select(QueueItem.id)).first()
    assert "gap (drawn as open)" in said("queue", "show", str(number))
    estimate = {"value": -0.07, "low": -0.41, "high": 0.05}
    one = {"class": "gap", "label": "open", "current": 0.25, "suggested": 0.25, "saves": estimate, "boxes": 30}
    [row, better] = table({"classes": [{**one, "verdict": "as good"}, {**one, "verdict": "better"}]})
    assert (row["verdict"], row["saves (s an image)"]) == ("no other is surely better", "")
    assert better["saves (s an image)"] == "-0.07  [-0.41 to 0.05]"


def test_command_and_api_tell_the_same(line: Line) -> None:
    line.deploy(0.95)
    shown = prediction(7, "labelwheel@1", region("A", "open", BOX, score=0.9))
    for seed in range(3):
        answer(line, as_task(line, seed), annotation(seed, region("A", "short", BOX), parent_prediction=7), predictions=[shown])
    client = create_app(line.settings.model_copy(update={"console_password": SecretStr("password of the console")})).test_client()
    for by in ("class", "source", "model"):
        api = client.get(f"/api/metrics/corrections?by={by}", headers={"Authorization": f"Bearer {TOKEN}"})
        assert api.json == told("corrections", "--by", by)
    assert told("corrections")["total"]["relabelled"] == 3
    assert "relabelled" in (words := said("corrections", "--by", "model")) and "seconds" in words

    suggested = told("thresholds", "--suggest")
    assert (suggested["images"], suggested["annotations"]) == (3, 3)
    assert {one["verdict"] for one in suggested["classes"]} == {"too little data"}
    assert "Nothing is better" in said("thresholds", "--apply")

    assert check(line.database, line.settings.model_copy(update={"doubt_below": 0.999}), utcnow()) == 3
    rows = told("doubts", "--limit", "2")
    assert [row["second_look"] for row in rows] == ["pending", "pending"]
    assert rows[0]["why"].startswith("the model sees open (0.95) at ")
    assert "anna@plant" in said("doubts")
