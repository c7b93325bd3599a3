"""What is wrong between us and a Label Studio project, each fault with its cure. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwheel.errors import LabelwheelError
from labelwheel.labelstudio.client import Json, LabelStudio

CURE_PROVISION = "Run `labelwheel up`, which sets Label Studio up again."
CURE_BACKEND = "Check that ml_backend runs, and that LABELWHEEL_ML_BACKEND_URL is its address as Label Studio reaches it."
CURE_VERSION = "It is pinned when the open tasks have fresh pre-annotations; the workers do that within a minute of a deployment."
CONNECTED = "CO"


@dataclass(frozen=True)
class Fault:
    """A named fault: `code` for machines, `message` what is wrong, `cure` what to do; not `broken`: nothing needs mending."""

    code: str
    message: str
    cure: str
    broken: bool = True


@dataclass(frozen=True)
class Setup:
    """What a project of ours should look like. None: not looked at."""

    backend_url: str
    webhook_url: str
    secret_header: str
    storage: Path | None = None
    model_version: str | None = None


def inspect_setup(client: LabelStudio, project_id: int, wanted: Setup) -> list[Fault]:
    """The faults of the project's ML backend, webhook, storage and model version; empty when all is well.

    Asking makes Label Studio call its ML backends (health and setup), so that their state is of now.
    """
    try:
        read = client.connection.read
        backends, webhooks = read("api/ml", project=project_id), read("api/webhooks/", project=project_id)
        storages = read("api/storages/localfiles", project=project_id) if wanted.storage else []
        version = client.project(project_id).model_version
    except LabelwheelError as error:
        return [Fault(error.code, error.message, error.cure)]
    return [
        *backend_faults(backends, wanted.backend_url),
        *webhook_faults(webhooks, wanted),
        *storage_faults(storages, wanted.storage),
        *version_faults(version, wanted.model_version, [backend["title"] for backend in backends]),
    ]


def backend_faults(backends: list[Json], url: str) -> Iterator[Fault]:
    """Faults of the ML backend at `url` among the project's ML backends."""
    ours = [backend for backend in backends if same_url(backend["url"], url)]
    if not ours:
        yield Fault("backend_missing", f"Label Studio has no ML backend at {url}.", CURE_PROVISION)
    if len(ours) > 1:
        yield Fault("backend_twice", f"Label Studio has {len(ours)} ML backends at {url}.", CURE_PROVISION)
    for backend in ours:
        if backend["state"] != CONNECTED:
            reason = backend.get("error_message") or "no reason given"
            yield Fault("backend_state", f"The ML backend is {backend['readable_state']}: {reason}", CURE_BACKEND)


def webhook_faults(webhooks: list[Json], wanted: Setup) -> Iterator[Fault]:
    """Faults of our webhook among the project's webhooks."""
    ours = [hook for hook in webhooks if wanted.secret_header in hook["headers"]]
    if not ours:
        yield Fault("webhook_missing", "Label Studio does not tell us of annotations: our webhook is missing.", CURE_PROVISION)
    for hook in ours:
        if not same_url(hook["url"], wanted.webhook_url):
            yield Fault("webhook_url", f"Our webhook points to {hook['url']} instead of {wanted.webhook_url}.", CURE_PROVISION)
        if not hook["is_active"]:
            yield Fault("webhook_off", "Our webhook is switched off in Label Studio.", CURE_PROVISION)


def storage_faults(storages: list[Json], path: Path | None) -> Iterator[Fault]:
    """The fault of a folder that no local-files storage covers."""
    if path is None or any(Path(storage["path"]) in (path, *path.parents) for storage in storages):
        return
    yield Fault("storage_missing", f"Annotators cannot see images: no local-files storage covers {path}.", CURE_PROVISION)


def version_faults(actual: str, wanted: str | None, backend_titles: list[str]) -> Iterator[Fault]:
    """The fault of a project that pre-labels from another version than `wanted`, or live from an ML backend."""
    if actual in backend_titles:
        message = f"Label Studio asks the ML backend {actual!r} at each open and shows nothing while it is down."
        yield Fault("model_version_live", message, CURE_PROVISION)
    elif wanted is not None and actual != wanted:
        yield Fault("model_version", f"Label Studio pre-labels from {actual or 'no version'!r} instead of {wanted!r}.", CURE_VERSION)


def same_url(left: Any, right: Any) -> bool:
    """Whether two addresses are the same but for a slash at the end."""
    return str(left).rstrip("/") == str(right).rstrip("/")
