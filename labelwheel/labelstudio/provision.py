"""Setting a Label Studio project up for the loop. Every function may run at every start: it changes only what differs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from labelwheel.errors import LabelStudioError, LabelStudioUnreachable
from labelwheel.labelstudio.client import Json, LabelStudio, Project
from labelwheel.labelstudio.inspection import CONNECTED, same_url
from labelwheel.labelstudio.token import fetch_token

__all__ = ["ensure_backend", "ensure_options", "ensure_project", "ensure_storage", "ensure_view", "ensure_webhook", "fetch_token"]

log = structlog.get_logger(__name__)

T = TypeVar("T")

WEBHOOK_HEADER = "X-Labelwheel-Secret"
VIEW_TITLE = "Most uncertain first"
PRIORITY = "tasks:data.priority"
ACTIONS = frozenset(
    {"ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_CREATED", "TASKS_DELETED"}
)
OPTIONS = {
    "show_collab_predictions": True,  # off, Label Studio also forgets the pinned model version
    "evaluate_predictions_automatically": False,  # on, listing tasks would call the ML backend for each one without prediction
    "enable_empty_annotation": True,  # an image without objects is an answer
    "show_skip_button": True,
}
HIDDEN = [
    f"tasks:{column}"
    for column in (
        "inner_id", "cancelled_annotations", "total_predictions", "annotators", "annotations_results", "annotations_ids",
        "predictions_score", "predictions_model_versions", "predictions_results", "file_upload", "storage_filename",
        "created_at", "updated_at", "updated_by", "avg_lead_time", "draft_exists", "data.labelwheel_key",
    )
]  # fmt: skip
VIEW = {
    "title": VIEW_TITLE,
    "type": "list",
    "target": "tasks",
    "ordering": [f"-{PRIORITY}"],
    # Without a display type, priorities are compared as text: "1e-05" would come first.
    "columnsDisplayType": {PRIORITY: "Number"},
    "hiddenColumns": {"explore": HIDDEN, "labeling": HIDDEN},
}
WEBHOOK_FLAGS = {"send_payload": True, "send_for_all_actions": False, "is_active": True}
CURE_STORAGE = (
    "Start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT "
    "set to a folder above the images, or set LABELWHEEL_IMAGE_URLS=signed."
)
CURE_BACKEND = "Start ml_backend first, and set LABELWHEEL_ML_BACKEND_URL to its address as Label Studio reaches it."


def ensure_project(client: LabelStudio, title: str, label_config: Callable[[], str], annotators: int = 1) -> Project:
    """Find the project or create it, with the options of the loop. `label_config` (XML) is asked for a new project only."""
    project = client.find_project(title) or client.create_project(title, label_config())
    ensure_options(client, project.id, annotators)
    return client.project(project.id)


def ensure_options(client: LabelStudio, project_id: int, annotators: int = 1) -> None:
    """Show predictions to annotators, never compute them for lists, accept empty annotations; offer each task to so many people."""
    found = client.connection.read(f"api/projects/{project_id}/")
    wanted = OPTIONS | {"maximum_annotations": annotators}
    differing: dict[str, Any] = {name: value for name, value in wanted.items() if found[name] != value}
    if differing:
        client.connection.call(lambda sdk: sdk.projects.update(id=project_id, **differing))


def ensure_storage(client: LabelStudio, project_id: int, path: Path) -> int:
    """Let Label Studio serve files under `path` at /data/local-files/?d=…; return the storage's id. Imports no files."""
    for storage in client.connection.read("api/storages/localfiles", project=project_id):
        if Path(storage["path"]) == path:
            return int(storage["id"])
    fields = {"project": project_id, "path": str(path), "title": "Labelwheel images", "use_blob_urls": True}
    return int(_with_cure(client, lambda sdk: sdk.import_storage.local.create(**fields), CURE_STORAGE).id)


def ensure_webhook(client: LabelStudio, project_id: int, url: str, secret_header: str, secret: str) -> int:
    """Have annotation and task events posted to `url` with our secret, once; return the webhook's id.

    Give `<ml backend url>/webhook` as `url`: Label Studio then adds no automatic webhook of its own (all events, no
    secret) when the ML backend is created. Where it did already, that one is taken over, or removed.
    """
    wanted = {"url": url, "headers": {secret_header: secret}, "actions": sorted(ACTIONS)} | WEBHOOK_FLAGS
    hooks = client.connection.read("api/webhooks/", project=project_id)
    ours = [hook for hook in hooks if same_url(hook["url"], url) or secret_header in hook["headers"]]
    automatic = _automatic_urls(client, project_id)
    for surplus in [*ours[1:], *(hook for hook in hooks if hook not in ours and hook["url"] in automatic)]:
        client.connection.call(partial(_delete, "webhooks", surplus["id"]))
    if not ours:
        return int(client.connection.call(lambda sdk: sdk.webhooks.create(project=project_id, **wanted)).id)
    if _differs({**ours[0], "actions": sorted(ours[0]["actions"])}, wanted):
        client.connection.call(lambda sdk: sdk.webhooks.update(ours[0]["id"], **wanted))
    return int(ours[0]["id"])


def ensure_backend(client: LabelStudio, project_id: int, url: str, user: str, password: str, title: str = "Labelwheel") -> int:
    """Connect the ML backend at `url` (it must be running) with basic auth; return its id.

    Sent again only when something differs or Label Studio does not reach it. Raises with Label Studio's reason.
    """
    wanted = {"url": url, "title": title, "auth_method": "BASIC_AUTH", "basic_auth_user": user}
    fields = wanted | {"basic_auth_pass": password, "project": project_id}
    ours = _our_backends(client, project_id, url, title)
    _delete_backends(client, ours[1:])
    if not ours:
        return _create_backend(client, project_id, fields)
    # A wrong password cannot be seen, Label Studio never shows it: it shows as a backend that is not connected.
    if _differs(ours[0], wanted) or ours[0]["state"] != CONNECTED:
        _with_cure(client, lambda sdk: sdk.ml.update(ours[0]["id"], **fields), CURE_BACKEND)
    return int(ours[0]["id"])


def ensure_view(client: LabelStudio, project_id: int) -> int:
    """The tab from which annotators work: highest `data.priority` first, with source and reason; return its id.

    A tab of that title is left as people changed it. Label Studio drops all tabs when the last task is deleted.
    """
    views = client.connection.read("api/dm/views/", project=project_id)
    for view in views:
        if view["data"].get("title") == VIEW_TITLE:
            return int(view["id"])
    return int(client.connection.call(lambda sdk: sdk.views.create(project=project_id, data=VIEW)).id)


def _create_backend(client: LabelStudio, project_id: int, fields: Json) -> int:
    try:
        created = _with_cure(client, lambda sdk: sdk.ml.create(**fields), CURE_BACKEND)
    except LabelStudioUnreachable:
        raise
    except LabelStudioError:
        # A refusal of the automatic webhook comes after the backend was saved: it would stay behind, half set up.
        _delete_backends(client, _our_backends(client, project_id, fields["url"], fields["title"]))
        raise
    if client.project(project_id).model_version == fields["title"]:
        # Label Studio pins the title of a first backend, which means: ask it live at each open.
        client.set_model_version(project_id, "")
    return int(created.id)


def _our_backends(client: LabelStudio, project_id: int, url: str, title: str) -> list[Json]:
    backends = client.connection.read("api/ml", project=project_id)
    ours = [backend for backend in backends if same_url(backend["url"], url) or backend["title"] == title]
    return sorted(ours, key=lambda backend: not same_url(backend["url"], url))


def _delete_backends(client: LabelStudio, backends: list[Json]) -> None:
    for backend in backends:
        client.connection.call(partial(_delete, "ml", backend["id"]))
        log.info("removed a surplus ML backend from Label Studio", url=backend["url"])


def _automatic_urls(client: LabelStudio, project_id: int) -> set[str]:
    return {backend["url"].rstrip("/") + "/webhook" for backend in client.connection.read("api/ml", project=project_id)}


def _delete(kind: str, number: int, sdk: Any) -> None:
    getattr(sdk, kind).delete(number)


def _differs(found: Json, wanted: Json) -> bool:
    return any(found.get(name) != value for name, value in wanted.items())


def _with_cure(client: LabelStudio, act: Callable[[Any], T], cure: str) -> T:
    try:
        return client.connection.call(act)
    except LabelStudioError as error:
        raise type(error)(error.message, error.cure or cure) from error
