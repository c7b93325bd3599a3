"""Corrections on both databases: stored with the mirror, once for each revision, and rebuilt from it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from labelwheel.database.tables import Correction, Deployment, LsTask, ModelVersion, Project
from labelwheel.errors import NotFoundError
from labelwheel.project import change_classes
from labelwheel.vision.class_change import rename
from sync.corrections.counts import corrections
from sync.corrections.suggest import suggestions, timed
from sync.review.reading import reading_of
from sync.review.rebuild import rebuild
from sync.review.settle import mark_deleted
from tests.fixtures.line import Line
from tests.fixtures.reviewed import START, annotation, answer, as_task, prediction, region

OPEN, SHORT, NEW = (2, 2, 22, 22), (40, 10, 60, 30), (70, 40, 90, 60)
SHOWN = prediction(7, "labelwheel@1", region("A", "open", OPEN, score=0.8), region("B", "short", SHORT, score=0.4))
KEPT = region("A", "open", OPEN, origin="prediction")


def stored(line: Line) -> list[tuple[Any, ...]]:
    with line.database.read() as session:
        rows = session.scalars(select(Correction).order_by(Correction.annotation_revision_id))
        return [(row.annotation_revision_id, row.source, row.served_as, row.seconds, row.outcomes) for row in rows]


def counted(line: Line, by: Any = "class") -> dict[str, Any]:
    with line.database.read() as session:
        return corrections(session, line.project.id, by)


def test_each_revision_has_its_correction_and_the_newest_counts(either_line: Line) -> None:
    line = either_line
    key = as_task(line, 1)
    first = annotation(5, KEPT, region("N", "short", NEW, origin="manual"), parent_prediction=7)
    answer(line, key, first, predictions=[SHOWN])
    ((_, source, served_as, seconds, outcomes),) = stored(line)
    assert (source, served_as, seconds) == ("line-a", "labelwheel@1", 8.5)
    assert [(one["outcome"], one["label"], one["confidence"], one["new_label"]) for one in outcomes] == [
        ("kept", "open", 0.8, "open"),
        ("deleted", "short", 0.4, None),
        ("added", None, None, "short"),
    ]

    # The refresh has deleted the prediction since. The edit puts the box back, by hand; what it began from is not known any more.
    answer(line, key, {**first, "updated_at": (START + timedelta(minutes=9)).isoformat(), "result": [KEPT]})
    assert len(stored(line)) == 1 and counted(line)["annotations"] == 0

    edited = annotation(5, region("A", "short", OPEN, origin="prediction-changed"), edited=12, parent_prediction=7, lead_time=20.0)
    answer(line, key, edited, predictions=[SHOWN])
    assert counted(line)["total"] | {"confidence_kept": None} == {
        "annotations": 1, "kept": 0, "moved": 0, "relabelled": 1, "deleted": 1, "added": 0, "kept_share": 0.0, "added_share": 0.0,
        "confidence_kept": None, "confidence_deleted": 0.4, "seconds": 20.0,
    }  # fmt: skip

    before = stored(line)
    with line.database.write() as session:
        session.execute(delete(Correction))
        reading = reading_of(session, line.project, line.settings)
    rebuild(line.database, line.project.id, reading)
    assert stored(line) == before, "a rebuild from the mirror gives equal rows"


def test_counts_by_class_source_and_model(either_line: Line) -> None:
    line = either_line
    for seed, source in enumerate(["line-a", "line-a", "line-b"]):
        answer(line, as_task(line, seed, source), annotation(seed, KEPT, parent_prediction=7), predictions=[SHOWN])
    answer(line, as_task(line, 8, "line-b"), annotation(8, region("x", "open", OPEN), parent_prediction=None, lead_time=None))
    answer(line, as_task(line, 9, "line-b"), annotation(9, KEPT, parent_prediction=7, was_cancelled=True), predictions=[SHOWN])
    by_class = {row["class"]: (row["kept"], row["deleted"], row["added"]) for row in counted(line)["rows"]}
    assert by_class == {"open": (3, 0, 1), "short": (0, 3, 0)}
    assert {row["source"]: row["annotations"] for row in counted(line, "source")["rows"]} == {"line-a": 2, "line-b": 2}
    assert {row["model"]: (row["kept_share"], row["seconds"]) for row in counted(line, "model")["rows"]} == {
        "(none)": (None, None),
        "labelwheel@1": (0.5, 8.5),
    }
    with line.database.read() as session:
        assert [one.counts for one in timed(session, line.project.id)] == [(1, 0, 0, 1, 0)] * 3
    with line.database.write() as session:
        gone = session.scalars(select(LsTask).where(LsTask.ls_task_id == 1)).one()
        mark_deleted(session, line.project.id, reading_of(session, line.project, line.settings), [gone])
    assert counted(line)["annotations"] == 3, "what was deleted is no correction"


def test_thresholds_are_suggested_from_what_the_model_was_not_trained_on(either_line: Line) -> None:
    line = either_line
    with line.database.read() as session, pytest.raises(NotFoundError, match="No model serves"):
        suggestions(session, line.project, line.settings)
    line.deploy(0.9, 0.3)  # two boxes of `open` in each image, of which people keep the surer
    for seed in range(24):
        key, found = as_task(line, seed), line.inspect(seed).json["detections"]
        answer(line, key, annotation(seed, region("K", found[0]["label"], found[0]["box"])))
    with line.database.read() as session:
        told = suggestions(session, line.project, line.settings)
        assert told["model_version"] == session.scalars(select(Deployment.served_as)).one()
        assert session.scalars(select(ModelVersion.training_run_id)).one() is None
    open_, short = told["classes"]
    assert (open_["label"], open_["current"], open_["verdict"], open_["boxes"]) == ("open", 0.25, "better", 24)
    assert 0.3 < open_["suggested"] <= 0.9 and open_["saves"]["low"] > 0
    assert (short["suggested"], short["verdict"]) == (0.25, "too little data")
    assert told["seconds_then"]["value"] < told["seconds_now"]["value"] and told["images"] == 24
    with line.database.write() as session:
        change_classes(session, line.project.id, lambda classes: rename(classes, "open", "gap"), "anna", "")
        assert suggestions(session, line.project, line.settings) == told, "Label Studio has the old name: so have its thresholds"
        project = session.get_one(Project, line.project.id)
        project.label_config = project.label_config.replace('"open"', '"gap"')
        again = suggestions(session, project, line.settings)
        assert again == told | {"classes": [open_ | {"label": "gap"}, short]}, "what was drawn as open is of the class gap"
