"""Let a model version serve. Our row is the truth that every server follows; MLflow's alias comes after it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import structlog
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from labelwheel import queue
from labelwheel.database import Database
from labelwheel.database.tables import DEFAULT_TAG, Decision, Deployment, ModelVersion, Project
from labelwheel.errors import ConflictError, InputError, NotFoundError
from labelwheel.project import current_classes
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.class_view import labels_seen, shown_under
from labelwheel.vision.detector import Detector
from labelwheel.vision.label_config import CHAMPION, KEYPOINTS, SHOWS, ControlTag, Slot, parse, shown_tags
from retrain.model.onnx import onnx_of
from retrain.model.trail import Turn, earlier

log = structlog.get_logger(__name__)

ANY = -1  # whatever serves
ROLLBACK = "rollback"


def deploy(
    database: Database, settings: Settings, model_version_id: int, decision_id: int | None, facing: int | None = ANY
) -> Deployment:  # fmt: skip
    """Let a model version be the champion from now on; deploying what serves already changes nothing. Raises NotFoundError.

    A decision deploys once: a run that died after its deployment and goes on later takes nothing back that people did meanwhile.
    `facing` is the champion that it was judged against, None if there was none; ConflictError when another serves by now.
    """
    with database.write() as session:
        version = _version(session, model_version_id)
        present = newest_deployment(session, version.project_id) if _carried_out(session, decision_id) else None
        if present is None:
            _still(session, version, facing)
        row, fresh = (present, False) if present else _record(session, settings, version, CHAMPION, decision_id)
    _announce(settings, row.model_version, [row] if fresh else [])
    return row


def deploy_decided(database: Database, settings: Settings, model_version_id: int, decision: Decision, facing: int | None) -> Deployment:
    """`deploy` with a decision that is not stored yet: both are, or neither is. Raises NotFoundError and ConflictError."""
    with database.write() as session:
        version = _version(session, model_version_id)
        _still(session, version, facing)
        session.add(decision)
        session.flush()
        row, fresh = _record(session, settings, version, CHAMPION, decision.id)
    _announce(settings, version, [row] if fresh else [])
    return row


def deploy_by_hand(
    database: Database, settings: Settings, model_version_id: int, note: str, slot: Slot = CHAMPION
) -> tuple[Deployment, bool]:
    """Deploy what a person chose, with the decision that says so. Also answers whether anything changed.

    Raises NotFoundError, and ModelError for a file that could not serve: every server would keep the old model.
    """
    with database.read() as session:
        wanted = _version(session, model_version_id)
    Detector(onnx_of(wanted, settings), threads=settings.detector_threads)
    with database.write() as session:  # decision and deployments together, so that a crash leaves none alone
        version = _version(session, model_version_id)
        present = newest_deployment(session, version.project_id, slot)
        fresh = _differs(present, version, served_as(session, version, settings, slot))
        decision = _chosen(session, version, present, note) if fresh else None
        row, _ = _record(session, settings, version, slot, decision)
        renewed = _renew(session, settings, version.project_id) if fresh and slot.name else None
    _announce(settings, version, [found for found in (row, renewed) if found and fresh], slot.alias)
    return row, fresh


def rollback(database: Database, settings: Settings, project_id: int, note: str = "", to: int | None = None, who: str = "") -> Deployment:
    """Deploy the version that served before the present one, or the version with the id `to`, if it ever served.

    Again goes further back (see `retrain.model.trail`). It is a person's act: the gate is not asked, and its anchor stays. Raises
    NotFoundError, InputError for a version that never was the champion, and ModelError for a file that could not serve.
    """
    with database.read() as session:
        back = _back(session, project_id, to)
    Detector(onnx_of(back, settings), threads=settings.detector_threads)
    with database.write() as session:  # decision and deployment together, so that a crash leaves neither alone
        present, version = newest_deployment(session, project_id), _version(session, back.id)
        fresh = _differs(present, version, served_as(session, version, settings))
        decision = _rolled_back(session, version, present, note, who) if fresh else None
        row, _ = _record(session, settings, version, CHAMPION, decision)
    _announce(settings, version, [row] if fresh else [])
    return row


def renew(database: Database, settings: Settings, project_id: int) -> bool:
    """Deploy the champion under its new name where what is shown has changed: label config, threshold, or a model beside it.

    No image is looked at again.
    """
    with database.write() as session:
        row = _renew(session, settings, project_id)
    if row is not None:
        _announce(settings, row.model_version, [row])
    return row is not None


def served_as(session: Session, version: ModelVersion, settings: Settings, slot: Slot = CHAMPION) -> str:
    """Name of a deployment in Label Studio: equal names mean equal pre-annotations, so what shapes them is hashed into it.

    The champion's name stands for all models that a pre-annotation is made of.
    """
    if slot.name:
        return version.title
    classes = current_classes(session, version.project_id)
    shape = [version.class_map.labels, DEFAULT_TAG, _view(session, version, settings.display_threshold, classes)]
    if classes.changed:  # cameras are told today's names also where no tag shows any
        shape.append([classes.today(label) for label in version.classes])
    return f"{version.title}+{hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:8]}"


def _renew(session: Session, settings: Settings, project_id: int) -> Deployment | None:
    present = newest_deployment(session, project_id)
    if present is None:
        return None
    row, fresh = _record(session, settings, present.model_version, CHAMPION, present.decision_id)
    return row if fresh else None


def _view(session: Session, version: ModelVersion, threshold: float, classes: ClassMap) -> list[Any]:
    """How the label config shows each class of the models. A label that its model does not know is not in it: it changes no pre-annotation."""
    try:
        tags = parse(session.get_one(Project, version.project_id).label_config)
    except InputError:  # a config that cannot be read shows nothing
        return []
    return [line for tag in shown_tags(shown_under(tags, classes)) for line in _lines(session, tag, version, threshold, classes)]


def _lines(session: Session, tag: ControlTag, champion: ModelVersion, threshold: float, classes: ClassMap) -> list[Any]:
    deployed = newest_deployment(session, champion.project_id, tag.slot) if tag.slot.name else None
    version = deployed.model_version if deployed else champion
    if (tag.slot.name and not deployed) or version.task not in SHOWS[tag.kind]:
        return []
    origin = [version.title] if tag.slot.name else []
    if tag.kind == KEYPOINTS:
        return [[tag.name, *origin, [astuple(tag.rule(label)) for label in tag.labels], tag.enough("", threshold), tag.point_threshold]]
    labels = version.classes if tag.slot.name else labels_seen(version.classes, classes)
    return [[tag.name, *origin, label, tag.shows(label, threshold)] for label in labels]


def _version(session: Session, model_version_id: int) -> ModelVersion:
    version = session.get(ModelVersion, model_version_id)
    if version is None:
        raise NotFoundError(f"There is no model version {model_version_id}.", "See `labelwheel model list`.")
    return version


def _record(session: Session, settings: Settings, version: ModelVersion, slot: Slot, decision_id: int | None) -> tuple[Deployment, bool]:
    """The row that lets a version serve in a slot, and whether it is new."""
    newest, name = newest_deployment(session, version.project_id, slot), served_as(session, version, settings, slot)
    if newest is not None and not _differs(newest, version, name):
        return newest, False
    row = Deployment(
        project_id=version.project_id,
        tag=slot.name or DEFAULT_TAG,
        role=slot.alias,
        model_version=version,
        served_as=name,
        decision_id=decision_id,
    )
    session.add(row)
    session.flush()
    return row, True


def _carried_out(session: Session, decision_id: int | None) -> bool:
    """Whether a deployment came of the decision already."""
    return decision_id is not None and session.scalar(select(exists().where(Deployment.decision_id == decision_id))) is True


def _differs(present: Deployment | None, version: ModelVersion, name: str) -> bool:
    return present is None or (present.model_version_id, present.served_as) != (version.id, name)


def _chosen(session: Session, version: ModelVersion, present: Deployment | None, note: str) -> int:
    """Id of a decision that a person took."""
    inputs = {"from": present.model_version_id if present else None, "to": version.id}
    decision = Decision(project_id=version.project_id, kind="deploy", verdict="deploy", reasons=[note], inputs=inputs)
    session.add(decision)
    session.flush()
    return decision.id


def _still(session: Session, version: ModelVersion, facing: int | None) -> None:
    present = newest_deployment(session, version.project_id)
    if facing != ANY and present is not None and present.model_version_id not in (facing, version.id):
        raise ConflictError(
            f"{present.model_version.title} was deployed while {version.title} was judged against another model.", "Ask once more."
        )


def _back(session: Session, project_id: int, to: int | None) -> ModelVersion:
    """The version that a rollback leads to."""
    turns = _turns(session, project_id)
    found = earlier(turns) if to is None else to
    if found is None:
        raise NotFoundError("No earlier model ever served.", "Let the gate judge another: `labelwheel promote VERSION`.")
    version = _version(session, found)
    if found not in {turn.model_version_id for turn in turns}:
        raise InputError(f"{version.title} never was the champion.", f"Let the gate judge it: `labelwheel promote {version.title}`.")
    return version


def _rolled_back(session: Session, version: ModelVersion, present: Deployment | None, note: str, who: str) -> int:
    reason = f"Rolled back from {present.model_version.title if present else 'nothing'}." + (f" {note}" if note else "")
    inputs = {"from": present.model_version_id if present else None, "to": version.id, "who": who}
    decision = Decision(project_id=version.project_id, kind=ROLLBACK, verdict=ROLLBACK, reasons=[reason], inputs=inputs)
    session.add(decision)
    session.flush()
    return decision.id


def _turns(session: Session, project_id: int) -> list[Turn]:
    """All deployments of champions, oldest first."""
    query = select(Deployment.model_version_id, Decision.kind).outerjoin(Decision, Decision.id == Deployment.decision_id)
    mine = query.where(Deployment.project_id == project_id, Deployment.tag == DEFAULT_TAG, Deployment.role == CHAMPION.alias)
    return [Turn(version_id, kind == ROLLBACK) for version_id, kind in session.execute(mine.order_by(Deployment.id))]


def _announce(settings: Settings, version: ModelVersion, fresh: Sequence[Deployment], alias: str = CHAMPION.alias) -> None:
    """Open tasks follow what the champion's row says, the registry's alias what was deployed, also where it was deployed before."""
    for row in fresh:
        log.info("model deployed", model=version.title, served_as=row.served_as, tag=row.tag, role=row.role)
        if row.tag == DEFAULT_TAG:
            queue.ring("sync.refresh", row.id)
    _follow(settings, version, alias)


def _follow(settings: Settings, version: ModelVersion, alias: str) -> None:
    from labelwheel.registry import Registry

    try:
        Registry(settings.mlflow_uri, settings.home / "mlflow" / "artifacts").point(version.name, version.version, alias)
    except Exception as error:  # noqa: BLE001  the model serves already, whatever MLflow or its database raises; the next deployment repairs it
        log.warning("registry alias not moved", model=version.title, error=str(error))
