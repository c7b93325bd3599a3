"""Label Studio's ML protocol as version 1.23 speaks it: setup, predict, versions. Facts: `docs/architecture.md`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request
from sqlalchemy import select

from labelwheel.database.tables import Deployment, Project
from labelwheel.errors import InputError
from labelwheel.serving import newest_deployment
from ml_backend import later
from ml_backend.auth import by_basic
from ml_backend.model import DetectorModel
from ml_backend.state import state

blueprint = Blueprint("protocol", __name__)


@blueprint.post("/setup")
@by_basic
def setup() -> dict[str, Any]:
    """Answers the very version that predictions carry. Called at every task open: a look into the database, no model load."""
    _body()
    project = state().project_or_none()
    with state().database.read() as session:
        deployment = newest_deployment(session, project.id) if project else None
    return {"model_version": deployment.served_as if deployment else None}


@blueprint.post("/predict")
@by_basic
def predict() -> dict[str, Any]:
    """One entry per task, in order; `[]` where nothing can be said."""
    body = _body()
    tasks = body.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError("`tasks` is not a list of tasks.", "Call it as Label Studio does.")
    project = _project(body)
    if project is None:
        return {"results": [[] for _ in tasks]}
    model = DetectorModel(state(), project, str(body.get("label_config") or project.label_config))
    params = body.get("params")
    context = params.get("context") if isinstance(params, dict) else None
    # Interactive requests read the first entry as an object; the batch form takes lists, of which an empty one stores nothing.
    if context:
        return {"results": [entry[0] if entry else {"result": []} for entry in model.predict(tasks, context)]}
    answers = later.answer(state().database, project, model, tasks, state().settings.predict_seconds)
    return {"results": [[said.prediction] if said.prediction else [] for said in answers]}


@blueprint.get("/versions")
@by_basic
def versions() -> dict[str, Any]:
    """Every version ever served, newest first."""
    project = state().project_or_none()
    with state().database.read() as session:
        query = select(Deployment.served_as).where(Deployment.project_id == (project.id if project else -1))
        return {"versions": list(dict.fromkeys(session.scalars(query.order_by(Deployment.id.desc()))))}


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise InputError("The body is not a JSON object.", "Call it as Label Studio does.")
    return body


def _project(body: dict[str, Any]) -> Project | None:
    """The connected project, when the request is about it: `project` is "<id>.<created>" on the wire."""
    project = state().project_or_none()
    named = str(body.get("project", "")).partition(".")[0]
    return project if project and named in ("", str(project.ls_project_id)) else None
