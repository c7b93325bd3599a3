"""Answers through our doors, on the real Label Studio: written there, mirrored at once, once in effect, by the right name."""

from __future__ import annotations

import doctest
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from typer.testing import CliRunner

from console import VisionLogger
from console.cli import app
from labelwheel.database.tables import LsTask, QueueItem
from labelwheel.errors import InputError, LabelStudioUnreachable
from labelwheel.labelstudio import LabelStudio
from labelwheel.settings import PREFIX, get_settings
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box
from sync.review import answer
from sync.review.said import Answered, Said
from sync.review.window import Window, open_window
from tests.acceptance.test_sync_label_studio import Wheel, drawn, wheel

__all__ = ["wheel"]  # the fixture

ANNA, EVE = Said("anna@plant.example", "as seen"), Said("eve@plant.example", "checked")
BOXES = [LabelledBox("open", Box(9.6, 12.8, 38.4, 38.4)), LabelledBox("short", Box(50, 0, 96, 64))]


class LateAnswer(LabelStudio):
    """Label Studio commits, and the answer never arrives."""

    def create_annotation(self, task_id: int, result: list[dict[str, Any]], **fields: Any) -> int:
        super().create_annotation(task_id, result, **fields)
        raise LabelStudioUnreachable("The line was cut.")

    def tasks(self, project_id: int, ids: Any) -> dict[int, dict[str, Any]]:
        found = super().tasks(project_id, ids)
        if any(task["annotations"] for task in found.values()):
            raise LabelStudioUnreachable("The line was cut.")
        return found


def window(wheel: Wheel, client: LabelStudio | None = None) -> Window:
    return open_window(wheel.database, wheel.settings, client or wheel.studio)


def items(wheel: Wheel) -> dict[int, int]:
    """Queue item of each task."""
    with wheel.database.read() as session:
        return dict(session.execute(select(LsTask.ls_task_id, LsTask.queue_item_id)).tuples().all())


def annotations(wheel: Wheel, task: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = wheel.studio.tasks(wheel.project.ls_project_id, [task])[task]["annotations"]
    return found


def test_a_label_becomes_one_annotation_of_its_author(wheel: Wheel) -> None:
    first, second, third = wheel.pushed(3)
    known = items(wheel)
    item = answer.label(window(wheel), known[first], BOXES, ANNA, 12.5)
    [made] = annotations(wheel, first)
    assert (made["lead_time"], made["was_cancelled"], len(made["result"])) == (12.5, False, 2)
    assert item["status"] == "approved"
    assert [label["annotator"] for label in item["labels"]] == [ANNA.who]
    boxes = [box["box"] for box in item["labels"][0]["boxes"]]
    assert boxes == [pytest.approx(box.box.as_tuple(), abs=1e-6) for box in BOXES]
    assert answer.label(window(wheel), known[first], BOXES, ANNA) == item, "a double click is one label"
    wheel.pull()
    assert answer.label(window(wheel), known[first], BOXES[::-1], ANNA)["labels"] == item["labels"]
    assert len(annotations(wheel, first)) == 1

    with pytest.raises(LabelStudioUnreachable):
        answer.label(
            window(wheel, LateAnswer(wheel.settings.label_studio_url, wheel.settings.label_studio_token.get_secret_value())),
            known[second],
            [],
            ANNA,
        )
    wheel.pull()
    with wheel.database.read() as session:
        assert session.get_one(QueueItem, known[second]).status == "approved", "what was committed counts, and is hers"
    assert [label["annotator"] for label in wheel.labels()] == [ANNA.who] * 2
    answer.label(window(wheel), known[second], [], ANNA)
    assert len(annotations(wheel, second)) == 1

    assert answer.skip(window(wheel), known[third], ANNA)["status"] == "skipped"
    assert answer.skip(window(wheel), known[third], ANNA)["status"] == "skipped"
    assert [made["was_cancelled"] for made in annotations(wheel, third)] == [True]
    assert wheel.history(third) == ["pending", "pushed", "skipped"]


def test_of_two_the_second_is_told_a_flag_goes_first_and_an_approval_is_a_star_and_a_name(wheel: Wheel) -> None:
    contested, judged = wheel.pushed(2)
    known = items(wheel)
    told_apart(wheel, contested, known[contested])
    approved_and_rejected(wheel, judged, known[judged])
    flagged_and_answered_before_the_push(wheel)


def told_apart(wheel: Wheel, task: int, item: int) -> None:
    def say(number: int) -> dict[str, Any] | Answered:
        try:
            return answer.label(window(wheel), item, BOXES[:number], ANNA)
        except Answered as refusal:
            return refusal

    with ThreadPoolExecutor(2) as people:
        said = list(people.map(say, (1, 2)))
    [refusal] = [one for one in said if isinstance(one, Answered)]
    assert (refusal.status, refusal.item["status"], refusal.as_dict()["item"]["id"]) == (409, "approved", item)
    assert len(annotations(wheel, task)) == 1
    answer.label(window(wheel), item, BOXES, Said("bob@plant.example", "", "approved"))
    assert len(annotations(wheel, task)) == 2, "who saw that it is answered may say more"


def approved_and_rejected(wheel: Wheel, task: int, item: int) -> None:
    with pytest.raises(Answered):
        answer.approve(window(wheel), item, EVE)
    wheel.studio.create_annotation(task, [drawn()])
    approved = answer.approve(window(wheel), item, EVE)
    assert (approved["status"], annotations(wheel, task)[0]["ground_truth"]) == ("approved", True)
    assert [(review["verdict"], review["who"]) for review in approved["reviews"]] == [("approved", EVE.who)]
    assert answer.approve(window(wheel), item, EVE)["reviews"] == approved["reviews"]
    assert approved["labels"][0]["approved_by"] == EVE.who
    wheel.pull()
    assert answer.approve(window(wheel), item, EVE)["labels"] == approved["labels"], "the star is no edit, and no person's"
    rejected = answer.reject(window(wheel), item, EVE)
    assert annotations(wheel, task)[0]["ground_truth"] is False
    assert [review["verdict"] for review in rejected["reviews"]] == ["approved", "rejected"]
    assert (rejected["status"], rejected["labels"][0]["approved_at"]) == ("rejected", None)
    flagged = answer.flag(window(wheel), item, ANNA)
    assert (flagged["status"], flagged["priority"]) == ("labeled", answer.FLAGGED_PRIORITY)
    assert answer.label(window(wheel), item, BOXES, Said("bob@plant.example", "", "labeled"))["status"] == "approved"


def flagged_and_answered_before_the_push(wheel: Wheel) -> None:
    wheel.capture(range(5, 7))
    wheel.select()
    with wheel.database.read() as session:
        urgent, other = session.scalars(select(QueueItem.id).where(QueueItem.status == "pending").order_by(QueueItem.id))
    assert answer.flag(window(wheel), urgent, EVE)["status"] == "pending"
    assert answer.label(window(wheel), other, BOXES, ANNA)["history"][-1]["who"] == ANNA.who
    assert len(wheel.tasks()) == 3
    wheel.push()
    task = next(task for task, item in items(wheel).items() if item == urgent)
    [flagged] = [event for event in answer.flag(window(wheel), urgent, EVE)["history"] if event["why"].startswith("flagged")]
    assert (flagged["who"], flagged["why"]) == (EVE.who, "flagged: checked")
    [data] = [entry["data"] for entry in wheel.tasks() if entry["id"] == task]
    assert data["priority"] == answer.FLAGGED_PRIORITY
    with pytest.raises(InputError, match="does not lie"):
        answer.label(window(wheel), urgent, [LabelledBox("open", Box(90, 0, 120, 20))], ANNA)
    with pytest.raises(InputError, match="no label 'dent'"):
        answer.label(window(wheel), urgent, [LabelledBox("dent", Box(0, 0, 9, 9))], ANNA)
    assert annotations(wheel, task) == []


@pytest.fixture
def at_home(wheel: Wheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Wheel:
    """A shell that knows the wheel by its environment alone."""
    names = ("home", "database_url", "label_studio_url", "label_studio_token", "label_studio_project", "label_config", "push_chunk")
    for name in names:
        value = getattr(wheel.settings, name)
        monkeypatch.setenv(PREFIX + name.upper(), value.get_secret_value() if isinstance(value, SecretStr) else str(value))
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    return wheel


def test_the_class_and_the_command_do_the_same(at_home: Wheel) -> None:
    at_home.pushed(2)
    examples_of_the_class()
    at_home.capture(range(2, 4))
    at_home.select()
    commands()


def examples_of_the_class() -> None:
    names = {"VisionLogger": VisionLogger}
    runner, parser = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE), doctest.DocTestParser()
    for thing in (VisionLogger, *vars(VisionLogger).values()):  # in the order in which they are read
        if callable(thing) and thing.__doc__:
            runner.run(parser.get_doctest(thing.__doc__, names, thing.__name__, None, None), clear_globs=False)
    assert (runner.tries, runner.failures) == (15, 0)


def commands() -> None:
    """Push, answer, show, pull, export."""

    def run(*words: str) -> Any:
        done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert run("push") == {"pushed": 2, "left": 0}
    assert run("push") == {"pushed": 0, "left": 0}
    first, second = (str(row["id"]) for row in run("queue", "--status", "pushed", "--reason", "novelty", "--source", "line-a"))
    said = run("queue", "label", first, "--by", "anna", "--box", "open:1,2,30,40", "--seconds", "3", "--status", "pushed")
    assert (said["status"], said["labels"][0]["boxes"][0]["label"]) == ("approved", "open")
    assert run("queue", "skip", second, "--by", "anna", "--why", "dark")["status"] == "skipped"
    assert run("pull")["tasks"] >= 2
    shown = CliRunner().invoke(app, ["queue", "show", first]).stdout
    assert "is approved" in shown and "anna" in shown and "1.0, 2.0, 30.0, 40.0" in shown
    assert run("queue", "export", "out")["boxes"] == {"open": 2}
    assert Path("out/data.yaml").is_file()
