"""A model that somebody brings, for real: child process, torch, ONNX Runtime, MLflow. What loads code asks first."""

from __future__ import annotations

import json
import pickle
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from sqlalchemy import func, select
from typer.testing import CliRunner

from console.model import app
from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, Decision, Deployment, ModelVersion, Project
from labelwheel.errors import InputError, LabelwheelError, ModelError, NotFoundError
from labelwheel.registry import Registry
from labelwheel.schedule import due_work
from labelwheel.serving import load, newest_deployment
from labelwheel.settings import Settings
from labelwheel.vision.detector import Detector
from labelwheel.vision.image import digest
from retrain.model.adopt import Adoption
from retrain.model.deploy import rollback
from tests.fixtures.label_studio import LABEL_CONFIG
from tests.unit.vision.test_detector import METADATA, write_model

ANSWER = np.array([[16, 16, 16, 16, 0.3, 0.9], [48, 48, 16, 16, 0.8, 0.1]], np.float32).T
SIDE = 64


@pytest.fixture
def project(database: Database, settings: Settings) -> Project:
    with database.write() as session:
        url, title = settings.label_studio_name, settings.label_studio_project
        project = Project(ls_url=url, ls_project_id=1, title=title, label_config=LABEL_CONFIG, salt="saltsaltsalt")
        session.add(project)
        session.flush()
        session.add(ClassMap(project_id=project.id, version=1, labels=["open", "short"]))
    return project


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def onnx(folder: Path, names: dict[int, str], name: str = "theirs.onnx") -> Path:
    return write_model(folder / name, ANSWER, {**METADATA, "names": str(names)})


def killed(*_: Any) -> Any:
    """The last moment before the import is recorded: MLflow has it, our database does not."""
    raise KeyboardInterrupt


def counts(database: Database) -> list[int]:
    with database.read() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in (ModelVersion, Deployment, Decision)]


def serving(database: Database, project: Project) -> Deployment:
    with database.read() as session:
        found = newest_deployment(session, project.id)
    assert found is not None
    return found


def test_an_onnx_file_becomes_a_version_that_serves_our_labels(
    database: Database, settings: Settings, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Adoption, "_decision", killed)
        command("import", onnx(tmp_path, {0: "Short", 1: "gap"}), "--map", "gap=open")
    assert counts(database) == [0, 0, 0]

    done = command("import", onnx(tmp_path, {0: "Short", 1: "gap"}), "--map", "gap=open", "--json")
    assert done.exit_code == 0, done.output
    deployment = serving(database, project)
    detector = load(deployment, settings).detector
    assert detector.labels == ("open", "short")
    found = detector.detect(np.zeros((SIDE, SIDE, 3), np.uint8)).detections
    assert [(one.label, round(one.confidence, 3), one.box.x1) for one in found] == [("open", 0.9, 8), ("short", 0.8, 40)]

    with database.read() as session:
        assert ("sync.refresh", deployment.id) in list(due_work(session, settings, deployment.created_at))
        decision = session.get_one(Decision, deployment.decision_id)
        assert (decision.kind, decision.reasons) == ("deploy", ["Imported from theirs.onnx."])
    registry = Registry(settings.mlflow_uri, settings.home / "mlflow" / "artifacts")
    assert registry.pointed(settings.model_name) == 1
    tags = registry._client.get_model_version(settings.model_name, "1").tags
    assert tags["labelwheel.origin"] == "theirs.onnx"
    assert len(tags["labelwheel.source_sha256"]) == 64

    before = counts(database)
    assert before == [1, 1, 2]
    again = command("import", onnx(tmp_path, {0: "Short", 1: "gap"}), "--map", "gap=open", "--deploy")
    assert again.exit_code == 0 and "Known already" in again.output
    assert counts(database) == before

    second = command("import", onnx(tmp_path, {0: "open", 1: "short"}, "other.onnx"))
    assert second.exit_code == 0 and "does not serve" in second.output
    assert serving(database, project).id == deployment.id
    assert command("deploy", 2, "--note", "Seen to be better.").exit_code == 1  # nothing is labelled that the gate could see it on
    assert serving(database, project).id == deployment.id
    assert command("deploy", 2, "--note", "Seen to be better.", "--override").exit_code == 0
    assert serving(database, project).served_as.startswith("labelwheel@2+")
    assert "serves already" in command("deploy", "labelwheel@2", "--note", "Once more.").output
    listed = [[row["version"], row["role"], row["origin"]] for row in json.loads(command("list", "--json").stdout)]
    assert listed == [["labelwheel@2", "champion", "import of other.onnx"], ["labelwheel@1", "", "import of theirs.onnx"]]
    assert rollback(database, settings, project.id).served_as == deployment.served_as


def test_what_cannot_be_served_is_refused_and_leaves_nothing(
    database: Database, settings: Settings, project: Project, tmp_path: Path
) -> None:
    foreign = onnx(tmp_path, {0: "car", 1: "short"})
    refused = command("import", foreign)
    assert isinstance(refused.exception, InputError) and "--map" in refused.exception.cure
    assert "unknown" in refused.output  # the table is shown before the refusal
    segments = write_model(tmp_path / "s.onnx", metadata={**METADATA, "task": "segment"})
    for path, error in ((segments, ModelError), (tmp_path / "absent.onnx", InputError), (Path(__file__), InputError)):
        assert isinstance(command("import", path).exception, error)
    (damaged := tmp_path / "damaged.onnx").write_bytes(foreign.read_bytes()[:100])
    told = str(command("import", damaged).exception)
    assert str(damaged) in told and "import-" not in told, "it is said of the file that was named"
    assert isinstance(command("deploy", 9, "--note", "x").exception, NotFoundError)
    assert counts(database) == [0, 0, 0]
    assert not list((settings.home / "models").glob("*import-*/*"))


class Burglar:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.trace, "I was here")


def test_a_malicious_file_runs_nothing_without_trust(database: Database, project: Project, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for name in ("best.pt", "best.onnx"):
        (tmp_path / name).write_bytes(pickle.dumps(Burglar(trace)))
        refused = command("import", tmp_path / name)
        assert isinstance(refused.exception, LabelwheelError)
        assert not trace.exists()
    assert "--trust" in command("import", tmp_path / "best.pt").exception.cure  # type: ignore[union-attr]
    assert counts(database) == [0, 0, 0]
    pickle.loads((tmp_path / "best.pt").read_bytes())
    assert trace.exists(), "the file does nothing even when loaded: the test proves nothing"


def test_trusted_weights_are_exported_compared_and_can_be_trained_on(
    database: Database, settings: Settings, project: Project, tmp_path: Path
) -> None:
    network = weights(tmp_path / "best.pt", {0: "dust", 1: "SHORT", 2: "open"})
    done = command("import", tmp_path / "best.pt", "--trust", "--map", "dust=", "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    row = serving(database, project).model_version
    detector = Detector(settings.home / row.onnx_uri)
    assert detector.labels == ("open", "short")
    tensor = np.random.default_rng(1).random((1, 3, SIDE, SIDE), np.float32)
    np.testing.assert_allclose(detector.raw(tensor), by_torch(network, tensor)[[0, 1, 2, 3, 6, 5]], rtol=1e-3, atol=2e-3)
    with database.read() as session:
        found = session.scalars(select(Decision).where(Decision.kind == "import")).one()
    assert "on 4 images" in found.inputs["agreement"]
    assert row.weights_sha256 == digest((settings.home / row.weights_uri).read_bytes())
    _assert_a_warm_start_keeps_the_classes(settings.home / row.weights_uri, network)


def weights(path: Path, names: dict[int, str]) -> Any:
    """An untrained yolov8n whose classes answer differently, saved as ultralytics does."""
    import torch
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(1)
    model = DetectionModel("yolov8n.yaml", nc=len(names), verbose=False)
    for branch in model.model[-1].cv3:
        torch.nn.init.normal_(branch[-1].weight, std=0.3)
    model.names, model.args = names, {"imgsz": SIDE}
    yolo = YOLO("yolov8n.yaml", task="detect", verbose=False)
    yolo.model = model
    yolo.ckpt = {"train_args": {"imgsz": SIDE}}
    yolo.save(path)
    return YOLO(path).model.float().eval()


def by_torch(network: Any, tensor: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        answer: np.ndarray = network(torch.from_numpy(tensor))[0][0].numpy()
    return answer


def _assert_a_warm_start_keeps_the_classes(path: Path, network: Any) -> None:
    """The trainer's own network for our two classes, before its first update, against the three classes of the weights."""
    from ultralytics import YOLO

    from retrain.training.spec import Spec
    from retrain.training.train import _trainer

    start = YOLO(path).model
    recipe = Spec("folder", "data.yaml", "best.pt", 4, 1, 4, SIDE, 1e-3, 1, 1, 0)
    trainer = (kind := _trainer(recipe)).__new__(kind)
    trainer.data, trainer.args = {"nc": 2, "channels": 3, "names": {0: "open", 1: "short"}}, types.SimpleNamespace()
    warm = trainer.get_model(cfg=start.yaml, weights=start, verbose=False)
    for ours, theirs in zip(warm.model[-1].cv3, network.model[-1].cv3, strict=True):
        np.testing.assert_allclose(ours[-1].weight.detach(), theirs[-1].weight.detach()[[2, 1]], atol=1e-3)
