"""Adopt a model that somebody brings: from a file to a registered version that serves, is scored and is trained on like our own."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database import Database
from labelwheel.database.tables import Decision, ModelVersion, Project
from labelwheel.errors import InputError, ModelError
from labelwheel.project import classes_of, current_class_map
from labelwheel.registry import Registry
from labelwheel.settings import Settings
from labelwheel.vision.class_match import Matching, match_classes, vocabularies
from labelwheel.vision.detector import Detector
from labelwheel.vision.label_config import parse
from labelwheel.vision.model_info import ModelInfo
from retrain.model import untrusted
from retrain.model.agreement import LEAST_IOU, MOST_ASIDE, MOST_DIFFERENCE, Agreement
from retrain.model.relabel import relabel
from retrain.model.samples import painted, stored
from retrain.model.untrusted import SOURCE, WEIGHTS, Request
from retrain.training import launch

KIND = "import"
KINDS = (".pt", ".onnx")


@dataclass(frozen=True, slots=True)
class Offer:
    """A file that somebody brings, what they say of its classes, and the name by which tags call it (empty: it is to be a champion)."""

    path: Path
    renames: Mapping[str, str]
    ignore_others: bool = False
    name: str = ""

    @property
    def is_code(self) -> bool:
        """PyTorch files are pickles: loading one runs whatever they carry."""
        return self.path.suffix.lower() == ".pt"


@dataclass(frozen=True, slots=True)
class Adopted:
    """The version that the file is, and whether it was made just now. `classes` is the table of the matching."""

    version: ModelVersion
    fresh: bool
    classes: list[dict[str, str]]


class Adoption:
    """One import on its way. Every step may be repeated: what it makes is known by the content of the file and of the mapping."""

    def __init__(self, database: Database, settings: Settings, project: Project, offer: Offer) -> None:
        self._database, self._settings, self._project, self._offer = database, settings, project, offer
        if offer.path.suffix.lower() not in KINDS or not offer.path.is_file():
            raise InputError(
                f"{offer.path} is no file ending in {' or '.join(KINDS)}.", "Name ultralytics weights or an ONNX export of them."
            )
        with database.read() as session:
            self._class_map = current_class_map(session, project.id)
            classes = classes_of(session, self._class_map)
        self._ours = vocabularies(parse(project.label_config), offer.name, classes)
        self.sha256 = _digest(offer.path)
        labels = sorted((task, ours.labels) for task, ours in self._ours.items())
        content = [project.salt, self.sha256, sorted(offer.renames.items()), offer.ignore_others, offer.name, labels]
        self._key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def known(self) -> Adopted | None:
        """The version that an earlier import of the same file, with the same mapping to the same labels, made."""
        with self._database.read() as session:
            return _known(session, self._project.id, self._onnx_uri)

    def run(self, tell: Callable[[Matching], object]) -> Adopted:
        """Bring the file in. `tell` is shown how the classes match before anything is refused for it.

        Raises ModelError for a file that we do not serve, InputError for classes that are not ours. A .pt is loaded, so ask first.
        """
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder.with_suffix(".lock")):
            known = self.known()
            return known or self._bring(tell)

    @property
    def _folder(self) -> Path:
        return self._settings.home / "models" / f"import-{self._key}"

    @property
    def _onnx_uri(self) -> str:
        return f"models/{self._folder.name}/model.onnx"

    def _bring(self, tell: Callable[[Matching], object]) -> Adopted:
        scratch = self._folder.with_name(f".{self._folder.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            matching, agreement = self._convert(scratch, tell)
            info = Detector(scratch / "model.onnx", threads=self._settings.detector_threads).info
            shutil.rmtree(self._folder, ignore_errors=True)  # of an import that died before it was recorded
            self._keep(scratch)
            return self._record(info, matching, agreement)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _convert(self, scratch: Path, tell: Callable[[Matching], object]) -> tuple[Matching, Agreement | None]:
        source, agreement = self._copied(scratch), None
        if self._offer.is_code:
            source, agreement = self._unpacked(scratch, tell)
        info = self._info(source)
        matching = self._match(info.labels, info.task)
        if not self._offer.is_code:
            tell(matching)
        matching.demand()
        relabel(source, scratch / "model.onnx", matching.groups, info)
        return matching, agreement

    def _info(self, source: Path) -> ModelInfo:
        """What the file says of itself. What is wrong with it is said of the file that was named, not of our copy."""
        try:
            return Detector(source, threads=self._settings.detector_threads).info
        except ModelError as error:
            raise ModelError(error.message.replace(str(source), str(self._offer.path)), error.cure) from error

    def _copied(self, scratch: Path) -> Path:
        """A copy to work on: what is loaded is what was hashed, whatever happens to the file meanwhile."""
        copy = (scratch / SOURCE).with_suffix(self._offer.path.suffix.lower())
        shutil.copyfile(self._offer.path, copy)
        if _digest(copy) != self.sha256:
            raise InputError(f"{self._offer.path.name} changed while it was read.", "Import it again when it is complete.")
        return copy

    def _unpacked(self, scratch: Path, tell: Callable[[Matching], object]) -> tuple[Path, Agreement]:
        found = untrusted.unpack(scratch, self._request(scratch))
        matching = self._match(found.names, found.task)
        tell(matching)
        matching.demand()
        agreement = found.agreement
        if agreement is None or not agreement.good:
            raise ModelError(
                f"The exported ONNX file does not answer as the weights do: {agreement}; "
                f"at least {LEAST_IOU}, at most {MOST_DIFFERENCE:g} and at most {MOST_ASIDE:g} are asked for.",
                "Export it yourself (`yolo export format=onnx`), try that file, and report the weights.",
            )
        return Path(found.onnx), agreement

    def _match(self, names: Any, task: str) -> Matching:
        return match_classes(names, self._ours[task], self._offer.renames, ignore_others=self._offer.ignore_others)

    def _request(self, scratch: Path) -> Request:
        paths = stored(self._database, self._settings, self._project.id) or painted(scratch)
        return Request(
            vocabularies=self._ours,
            renames=dict(self._offer.renames),
            ignore_others=self._offer.ignore_others,
            samples=[str(path) for path in paths],
            threads=launch.threads(self._settings.train_threads),
            nice=self._settings.train_nice,
        )

    def _keep(self, scratch: Path) -> None:
        """The model's folder, whole or not at all."""
        draft = scratch / "kept"
        draft.mkdir()
        for name in ("model.onnx", WEIGHTS):
            if (scratch / name).is_file():
                (scratch / name).replace(draft / name)
        draft.replace(self._folder)

    @property
    def _name(self) -> str:
        """In the registry."""
        return self._offer.name or self._settings.model_name

    def _record(self, info: ModelInfo, matching: Matching, agreement: Agreement | None) -> Adopted:
        mlflow_run, number = self._register(matching)
        onnx = self._folder / "model.onnx"
        has_weights = (self._folder / WEIGHTS).is_file()
        version = ModelVersion(
            project_id=self._project.id,
            name=self._name,
            version=number,
            onnx_uri=self._onnx_uri,
            onnx_sha256=_digest(onnx),
            weights_uri=f"models/{self._folder.name}/{WEIGHTS}" if has_weights else "",
            weights_sha256=_digest(self._folder / WEIGHTS) if has_weights else None,
            class_map_id=self._class_map.id,
            mlflow_run_id=mlflow_run,
            task=info.task,
            labels=list(info.labels),
        )
        with self._database.write() as session:
            session.add(version)
            session.flush()
            session.add(self._decision(version, matching, agreement))
        return Adopted(version, True, matching.rows())

    def _decision(self, version: ModelVersion, matching: Matching, agreement: Agreement | None) -> Decision:
        inputs = {
            "model_version": version.id,
            "origin": self._offer.path.name,
            "source_sha256": self.sha256,
            "classes": matching.rows(),
            "agreement": str(agreement) if agreement else None,
        }
        reasons = [f"{version.title} was brought as {self._offer.path.name}."]
        return Decision(project_id=self._project.id, kind=KIND, verdict="registered", reasons=reasons, inputs=inputs)

    def _register(self, matching: Matching) -> tuple[str, int]:
        """The version in MLflow, like a trained one: its run, its files, its tags. Again changes nothing."""
        name = self._offer.path.name
        registry = Registry(self._settings.mlflow_uri, self._settings.home / "mlflow" / "artifacts")
        run_id = registry.run(f"{self._project.salt[:8]}-{KIND}-{self._key}", f"import {name}")
        tags = {"labelwheel.cause": KIND, "labelwheel.origin": name, "labelwheel.source_sha256": self.sha256}
        registry.note(run_id, {}, {**tags, "labelwheel.classes": json.dumps(matching.renamed)})
        source = registry.attach(run_id, self._folder, "weights")
        number = registry.register(run_id, self._name, source, tags)
        registry.end(run_id)
        return run_id, number


def _known(session: Session, project_id: int, onnx_uri: str) -> Adopted | None:
    version = session.scalar(select(ModelVersion).where(ModelVersion.project_id == project_id, ModelVersion.onnx_uri == onnx_uri))
    if version is None:
        return None
    return Adopted(version, False, imported(session, project_id)[version.id]["classes"])


def imported(session: Session, project_id: int) -> dict[int, dict[str, Any]]:
    """Model version id → what was written down when it was imported."""
    rows = session.scalars(select(Decision).where(Decision.project_id == project_id, Decision.kind == KIND))
    return {row.inputs["model_version"]: row.inputs for row in rows}


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
