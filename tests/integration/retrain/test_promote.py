"""Every door to the champion's place leads through the gate; rollbacks do not, and neither they nor overrides lower the anchor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from sqlalchemy import select, update
from typer.testing import CliRunner

from console.cli import app
from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, Decision, Label, ModelVersion, Project
from labelwheel.errors import ConflictError, InputError, ModelError, NotFoundError
from labelwheel.registry import Registry
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from retrain.gate.anchor import standing
from retrain.model.deploy import deploy
from tests.fixtures.label_studio import LABEL_CONFIG
from tests.unit.vision.test_detector import METADATA, write_model

# In pixels of the images, 96 × 96, and in the network's input, 64 × 64.
BOXES = [
    {"label": label, "box": box, "region_id": str(number), "origin": "manual"}
    for number, (label, box) in enumerate([("open", [12, 12, 36, 36]), ("open", [60, 12, 84, 36]), ("short", [12, 60, 36, 84])])
]
GOOD = [[16, 16, 16, 16, 0.9, 0], [48, 16, 16, 16, 0.8, 0], [16, 48, 16, 16, 0, 0.9]]
WORSE = [*GOOD[:1], [48, 48, 16, 16, 0.8, 0], GOOD[2]]
POOR = [*GOOD[:1], [48, 48, 16, 16, 0.8, 0]]
NAMES = {0: "open", 1: "short"}


@pytest.fixture
def wheel(
    database: Database, settings: Settings, project: Project, label: Callable[..., None], mlflow: None, tmp_path: Path
) -> Callable[..., Result]:
    """Thirty images of the holdout with three boxes each; a good model serves. Answers a command."""
    label(0, 30, "holdout")
    with database.write() as session:
        session.execute(update(Project).values(label_config=LABEL_CONFIG))
        session.execute(update(ClassMap).values(labels=list(NAMES.values())))
        session.execute(update(Label).values(boxes=BOXES))

    def command(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    bring(command, tmp_path, GOOD, "good")
    return command


def bring(command: Callable[..., Result], folder: Path, answer: list[list[float]], name: str, *more: str) -> dict[str, Any]:
    file = write_model(folder / f"{name}.onnx", np.array(answer, np.float32).T, {**METADATA, "names": str(NAMES)})
    done = command("model", "import", file, "--json", *more)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def champion(database: Database, project: Project) -> str:
    with database.read() as session:
        row = newest_deployment(session, project.id)
        assert row is not None
        return row.model_version.title


def best(database: Database, project: Project) -> ModelVersion:
    with database.read() as session:
        found = standing(session, project.id).anchor
        assert found is not None
        return found


def anchor(database: Database, project: Project) -> str:
    return best(database, project).title


def decisions(database: Database) -> list[Decision]:
    with database.read() as session:
        return list(session.scalars(select(Decision).where(Decision.kind.in_(("gate", "rollback"))).order_by(Decision.id)))


def test_a_worse_model_passes_no_door_but_an_override(
    database: Database, settings: Settings, project: Project, wheel: Callable[..., Result], tmp_path: Path
) -> None:
    brought = bring(wheel, tmp_path, POOR, "poor", "--deploy")
    assert brought["served_as"] is None and brought["gate"]["verdict"] == "keep"
    with database.write() as session:  # as one that was trained here, whose labels are its class map's
        session.get_one(ModelVersion, 2).labels = None
    assert wheel("model", "deploy", 2, "--note", "Please.").exit_code == 1
    asked = wheel("promote", 2, "--json")
    assert asked.exit_code == 1
    told = json.loads(asked.stdout)
    assert (told["serves"], told["verdict"], told["overridden"]) == (False, "keep", False)
    assert told["numbers"]["champion"] == pytest.approx(1) and told["numbers"]["upper"] < 0 and told["numbers"]["images"] == 30
    assert champion(database, project) == "labelwheel@1"
    assert [(row.verdict, row.inputs["path"]) for row in decisions(database)] == [
        ("keep", "import"),
        ("keep", "deploy"),
        ("keep", "promote"),
    ]
    shown = wheel("promote", 2)
    assert "Not surely better" in shown.output and "--override" in shown.output and "class short" in shown.output

    assert isinstance(wheel("promote", 2, "--override").exception, InputError)  # without a note
    done = wheel("promote", 2, "--override", "--note", "On trial.")
    assert done.exit_code == 0 and "against the gate's verdict" in done.output
    assert 'The gate says: "Not surely better: the champion stays"; overridden.' in done.output
    assert champion(database, project) == "labelwheel@2"
    listed = {row["version"]: row for row in json.loads(wheel("models", "--json").stdout)}
    assert [(row["map50"] is not None, row["images"], len(row["holdout"])) for row in listed.values()] == [(True, 30, 8)] * 2
    assert listed["labelwheel@2"]["map50"] < listed["labelwheel@1"]["map50"] == pytest.approx(1, abs=0.01)
    row = decisions(database)[-1]
    assert (row.verdict, row.inputs["note"], row.inputs["establishes"]) == ("override", "On trial.", False)
    assert (
        row.inputs["who"] and row.inputs["anchor_version"] == "labelwheel@1" and "let it serve all the same. On trial." in row.reasons[-1]
    )
    assert anchor(database, project) == "labelwheel@1"


def test_overrides_and_rollbacks_are_no_way_down(
    database: Database, settings: Settings, project: Project, wheel: Callable[..., Result], tmp_path: Path
) -> None:
    bring(wheel, tmp_path, POOR, "poor")
    bring(wheel, tmp_path, WORSE, "worse")
    assert isinstance(wheel("rollback", "--to", 2).exception, InputError)  # it never served
    wheel("promote", 2, "--override", "--note", "On trial.")
    back = wheel("rollback", "--note", "It misses shorts.", "--json")
    assert json.loads(back.stdout)["version"] == champion(database, project) == "labelwheel@1"
    assert wheel("promote", 3).exit_code == 1
    assert wheel("rollback", "--to", 2).exit_code == 0
    assert (champion(database, project), anchor(database, project)) == ("labelwheel@2", "labelwheel@1")

    # What serves lies below the anchor by a person's act: the better one may serve, and the anchor waits for its like.
    done = wheel("promote", 3, "--json")
    assert done.exit_code == 0
    numbers = json.loads(done.stdout)["numbers"]
    assert numbers["lower"] > 0 > numbers["anchor_lower"]
    assert (champion(database, project), anchor(database, project)) == ("labelwheel@3", "labelwheel@1")
    assert wheel("promote", 1).exit_code == 0
    assert wheel("promote", 1).output.count("serves already") == 1
    assert [row.verdict for row in decisions(database)] == ["override", "rollback", "keep", "rollback", "promote", "promote"]

    for facing in (3, None):
        with pytest.raises(ConflictError):  # a verdict does not outlive the champion that it was about
            deploy(database, settings, 2, None, facing=facing)
    assert champion(database, project) == "labelwheel@1"

    wheel("rollback", "--to", 2)
    lose(settings, best(database, project))
    assert isinstance(wheel("rollback", "--to", 1).exception, ModelError)
    said = " ".join(wheel("promote", 3).output.split())
    assert "The file of labelwheel@1 is gone" in said and "the best that ever served: the champion stands for it" in said


def lose(settings: Settings, model: ModelVersion) -> None:
    """Its file, and MLflow's copy."""
    (settings.home / model.onnx_uri).unlink()
    shutil.rmtree(settings.home / "mlflow" / "artifacts" / str(model.mlflow_run_id))


def test_a_lost_champion_is_brought_back_or_named_and_an_override_passes(
    database: Database, settings: Settings, project: Project, wheel: Callable[..., Result], tmp_path: Path
) -> None:
    bring(wheel, tmp_path, POOR, "poor")
    lost = settings.home / best(database, project).onnx_uri
    whole = lost.read_bytes()
    lost.unlink()
    assert "Not surely better" in wheel("promote", 2).output and lost.read_bytes() == whole, "MLflow had it"
    lost.unlink()
    assert wheel("model", "deploy", 1, "--note", "Again.").exit_code == 0 and lost.read_bytes() == whole

    lose(settings, best(database, project))
    told = json.loads(wheel("promote", 2, "--json").stdout)
    assert (told["serves"], told["verdict"], told["numbers"]) == (False, "keep", {})
    assert "The file of labelwheel@1 is gone" in told["reasons"][0]
    assert bring(wheel, tmp_path, WORSE, "worse", "--deploy")["gate"]["verdict"] == "keep"
    assert wheel("promote", 2, "--override", "--note", "The old one is lost.").exit_code == 0
    assert champion(database, project) == "labelwheel@2"


def test_a_rollback_leads_to_what_served_before_and_then_further_back(
    database: Database, project: Project, wheel: Callable[..., Result], tmp_path: Path
) -> None:
    for answer, name in ((WORSE, "worse"), (POOR, "poor")):
        bring(wheel, tmp_path, answer, name)
    for version in (2, 3, 1):
        assert wheel("promote", version, "--override", "--note", "On trial.").exit_code == 0

    def back() -> str:
        assert wheel("rollback").exit_code == 0
        return champion(database, project)

    assert [back(), back()] == ["labelwheel@3", "labelwheel@2"]
    wheel("promote", 3, "--override", "--note", "Once more.")
    assert [back(), back()] == ["labelwheel@2", "labelwheel@1"]
    assert isinstance(wheel("rollback").exception, NotFoundError)


def test_the_champions_alias_is_the_champions_place(
    database: Database, settings: Settings, project: Project, wheel: Callable[..., Result], tmp_path: Path
) -> None:
    registry = Registry(settings.mlflow_uri, settings.home / "mlflow" / "artifacts")
    bring(wheel, tmp_path, POOR, "poor")
    assert wheel("model", "deploy", 2, "--alias", "champion", "--note", "By the back door.").exit_code == 1
    assert wheel("model", "import", tmp_path / "poor.onnx", "--alias", "champion", "--deploy").exit_code == 0
    assert (champion(database, project), registry.pointed("labelwheel")) == ("labelwheel@1", 1)
    for _ in range(2):  # the second changes nothing
        assert wheel("model", "deploy", 2, "--alias", "candidate", "--note", "On trial.").exit_code == 0
        assert (registry.pointed("labelwheel"), registry.pointed("labelwheel", "candidate")) == (1, 2)
