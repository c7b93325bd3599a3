"""Where a run starts, and that what cannot be is said when it is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, Deployment, ModelVersion, Project, TrainingRun
from labelwheel.errors import ConflictError, InputError, NotFoundError
from labelwheel.settings import Settings
from retrain.model.catalogue import find
from retrain.run.trigger import by_hand, cancel, cancel_by_hand, trigger
from retrain.training.start import start_of


def test_a_start_is_the_champion_another_version_or_scratch(database: Database, settings: Settings, project: Project) -> None:
    first, onnx_only, _, champion = (
        _version(database, project, number, weights, task)
        for number, (weights, task) in enumerate((("a.pt", "detect"), ("", "detect"), ("c.pt", "obb"), ("d.pt", "detect")), start=1)
    )
    with database.read() as session:
        assert start_of(session, project.id, "", "labelwheel").version is None
        with pytest.raises(ConflictError, match="no champion"):
            start_of(session, project.id, "champion", "labelwheel")
    _deploy(database, project, onnx_only)
    with database.read() as session:
        assert start_of(session, project.id, "", "labelwheel").version is None  # what cannot be trained on is begun anew
        with pytest.raises(ConflictError, match="ONNX"):
            start_of(session, project.id, "champion", "labelwheel")
    _deploy(database, project, champion)
    with database.read() as session:
        found = {wanted: start_of(session, project.id, wanted, "labelwheel") for wanted in ("", "champion", "labelwheel@4", "1", "scratch")}
        assert [(start.version.id if start.version else None, start.replays) for start in found.values()] == [
            (champion, True),
            (champion, True),
            (champion, True),
            (first, False),
            (None, False),
        ]
        for wanted, kind, told in (("3", ConflictError, "obb"), ("9", NotFoundError, "9"), ("best.pt", InputError, "best.pt")):
            with pytest.raises(kind, match=told):
                start_of(session, project.id, wanted, "labelwheel")


@pytest.mark.parametrize("number", ["0", "2147483648", "9" * 20, "9" * 5000])
def test_numbers_that_no_row_can_have_are_of_none(database: Database, settings: Settings, project: Project, number: str) -> None:
    with database.read() as session, pytest.raises(NotFoundError, match="no model version"):
        find(session, project.id, f"labelwheel@{number}", "labelwheel")
    with pytest.raises(NotFoundError, match="no training run"):
        cancel_by_hand(database, project.id, int(number[:4000]), "anna")


def test_a_run_keeps_what_it_was_asked_and_refuses_what_cannot_be(
    database: Database, settings: Settings, project: Project, label: Callable[..., None]
) -> None:
    label(0, 1, "train")
    for wrong in ({"start": "labelwheel@7"}, {"updates": -1}, {"start": "champion"}):
        with pytest.raises((InputError, NotFoundError)):
            by_hand(database, settings, project.id, wrong)
    run = by_hand(database, settings, project.id, {"start": "scratch", "updates": 30, "image_size": None})
    with database.read() as session:
        assert [row.request for row in session.scalars(select(TrainingRun))] == [{"start": "scratch", "updates": 30}]
    cancel(database, run.id)
    # Where no weights are, an architecture needs no other word, and is kept also if a champion comes before the run begins.
    by_hand(database, settings, project.id, {"architecture": "yolo11s"})
    with database.read() as session:
        assert session.scalars(select(TrainingRun.request).order_by(TrainingRun.id)).all()[1] == {
            "start": "scratch",
            "architecture": "yolo11s",
        }


def test_triggers_at_once_start_one_run(database: Database, settings: Settings, project: Project) -> None:
    outcomes: list[str] = []
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait()
        try:
            trigger(database, settings, project.id, "manual")
            outcomes.append("started")
        except ConflictError:
            outcomes.append("refused")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 7 + ["started"]


def _version(database: Database, project: Project, number: int, weights: str, task: str) -> int:
    with database.write() as session:
        classes = session.scalars(select(ClassMap.id)).one()
        row = ModelVersion(
            project_id=project.id, name="labelwheel", version=number, onnx_uri=f"{number}.onnx", onnx_sha256="0" * 64, weights_uri=weights,
            class_map_id=classes, task=task,
        )  # fmt: skip
        session.add(row)
    return row.id


def _deploy(database: Database, project: Project, model: int) -> None:
    with database.write() as session:
        session.add(Deployment(project_id=project.id, tag="label", model_version_id=model, served_as=f"m{model}"))
