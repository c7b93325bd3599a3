"""Label Studio's ML protocol as version 1.23 speaks it: setup, predict, versions. Facts: `docs/architecture.md`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request
from sqlalchemy import select

from labelwheel.database.tables import Deployment
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
    project = state().named_project(_body().get("project"))
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
    project = state().named_project(body.get("project"))
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
    """Every version ever served, newest first. Label Studio does not say for which project it asks."""
    with state().database.read() as session:
        return {"versions": list(dict.fromkeys(session.scalars(select(Deployment.served_as).order_by(Deployment.id.desc()))))}


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise InputError("The body is not a JSON object.", "Call it as Label Studio does.")
    return body
