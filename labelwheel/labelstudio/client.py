"""What Labelwheel asks of Label Studio, in its own words and with plain dicts.

Tasks, annotations and predictions are returned as Label Studio sent them, because the mirror keeps them so. Writes
are sent once; reads are retried. Every method raises LabelStudioError, or LabelStudioUnreachable when nothing answers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from labelwheel.errors import LabelStudioError, PredictionsDropped
from labelwheel.labelstudio.connection import Connection

Json = dict[str, Any]
T = TypeVar("T")

KEY = "labelwheel_key"
KEY_COLUMN = f"data.{KEY}"
KEYS_PER_REQUEST = 100
IDS_PER_REQUEST = 1000
TASKS_PER_REQUEST = 200
PROJECT_FIELDS = "id,title,label_config,model_version,created_at"
CURE_DROPPED = "Check their labels and control names against the project's label config."
UNLABELLED = ("total_annotations", "cancelled_annotations")


@dataclass(frozen=True, slots=True)
class Stamp:
    """That a task is there: Label Studio's id, our key ("" for a task that is not ours), and when it changed last."""

    id: int
    key: str
    updated_at: datetime


@dataclass(frozen=True)
class Project:
    """A project. `model_version` is the version whose predictions pre-label; `url` is for a person's browser.

    `created_at` tells it from another project that a server which lost its database gives the same id.
    """

    id: int
    title: str
    label_config: str
    model_version: str
    url: str
    created_at: datetime


class LabelStudio:
    """A Label Studio server (1.23) as seen with one user's token (personal access or legacy); `timeout` in seconds.

    `public_url` is the address in a person's browser where it differs from ours.
    """

    def __init__(self, url: str, token: str, timeout: float = 30, public_url: str = "") -> None:
        self.connection = Connection(url, token, timeout)
        self.url = self.connection.url
        self.public_url = (public_url or url).rstrip("/")

    def version(self) -> str:
        """Label Studio's release, such as "1.23.2"."""
        return str(self.connection.read("api/version")["release"])

    def me(self) -> Json:
        """The token's user: `id`, `email`, `active_organization` and more."""
        answer: Json = self.connection.read("api/current-user/whoami")
        return answer

    def people(self) -> dict[int, str]:
        """E-mail address of each user that the token sees, by id: task lists name annotators by id alone."""
        return {int(user["id"]): str(user["email"]) for user in self.connection.read("api/users/")}

    # projects

    def find_project(self, title: str) -> Project | None:
        """The oldest visible project of exactly this title."""
        same = [entry for entry in self._projects(title) if entry["title"] == title]
        return self._project(min(same, key=lambda entry: int(entry["id"]))) if same else None

    def project(self, project_id: int) -> Project:
        return self._project(self.connection.read(f"api/projects/{project_id}/"))

    def create_project(self, title: str, label_config: str) -> Project:
        """Create a project; a label config that Label Studio refuses raises with its reason."""
        created = self.connection.call(lambda sdk: sdk.projects.create(title=title, label_config=label_config))
        return self.project(created.id)

    def set_model_version(self, project_id: int, version: str) -> bool:
        """Let predictions of `version` pre-label; return whether Label Studio took it.

        Label Studio refuses a version that no prediction carries yet. Then nothing is pinned and the answer is False:
        call again when predictions are there. An import of tasks that carry predictions pins their version by itself
        while nothing is pinned. Unpinned, the label stream starts empty; a task opened from the list shows its newest.
        """
        if self.project(project_id).model_version == version:
            return True
        taken = self._has_predictions(project_id, version)
        wanted = version if taken else ""
        self.connection.call(lambda sdk: sdk.projects.update(id=project_id, model_version=wanted))
        return taken

    def set_label_config(self, project_id: int, label_config: str) -> None:
        """Replace the project's label config; one that does not fit what was drawn already raises with Label Studio's reason."""
        self.connection.call(lambda sdk: sdk.projects.update(id=project_id, label_config=label_config))

    # tasks

    def import_tasks(self, project_id: int, tasks: list[Json]) -> list[int]:
        """Create tasks (`data`, optional `meta` and `predictions`) in one request; their ids, in the order given.

        LabelStudioRefused: one of them does not fit, and none was created. Not repeated by itself: after another error look up what
        arrived with `find_tasks` first.
        """
        if not tasks:
            return []
        answer = self.connection.call(lambda sdk: sdk.projects.import_tasks(id=project_id, request=tasks, return_task_ids=True))
        ids = [int(task_id) for task_id in answer.task_ids or []]
        if len(ids) != len(tasks):
            raise LabelStudioError(f"Label Studio created {len(ids)} of {len(tasks)} tasks.", "Look them up by key before sending again.")
        sent, stored = sum(len(task.get("predictions") or []) for task in tasks), getattr(answer, "prediction_count", None)
        if stored != sent:
            raise LabelStudioError(f"Label Studio stored {stored} of {sent} predictions of new tasks.", CURE_DROPPED)
        return ids

    def find_tasks(self, project_id: int, keys: Sequence[str]) -> dict[str, list[int]]:
        """Task ids (ascending) by `data.labelwheel_key`; keys without a task are absent, twins show as two ids."""
        return self._find(project_id, keys, [])

    def find_untouched(self, project_id: int, keys: Sequence[str]) -> dict[str, list[int]]:
        """Of `find_tasks` those that nobody has submitted, skipped or begun to draw on: drafts of all people count.

        Unlike a task opened alone, which shows the drafts of its reader only.
        """
        untouched = [_condition(column, "equal", "Number", 0) for column in UNLABELLED]
        return self._find(project_id, keys, [*untouched, _condition("draft_exists", "equal", "Boolean", False)])

    def changed_tasks(self, project_id: int, since: datetime | None, page_size: int = 200) -> Iterator[Json]:
        """Tasks with `updated_at` at or after `since` (all, if None), oldest change first, each version once.

        Whole tasks: data, annotations (skipped ones too) and predictions. A task that changes during the sweep comes
        again. Deleted tasks do not show: compare `task_ids`.
        """
        start, page, seen = since, 1, set[tuple[int, str]]()
        while True:
            conditions = [_condition("updated_at", "greater_or_equal", "Datetime", _time(start))] if start else []
            tasks = self._page(project_id, conditions, "updated_at", page, page_size, fields="all")
            versions = [(task["id"], task["updated_at"]) for task in tasks]
            yield from (task for task, version in zip(tasks, versions, strict=True) if version not in seen)
            if len(tasks) < page_size:
                return
            # Pages are cut anew by time, since numbered ones shift when a task changes meanwhile.
            last = datetime.fromisoformat(tasks[-1]["updated_at"])
            start, page = (last, 1) if last != start else (start, page + 1)
            seen = set(versions) if page == 1 else seen | set(versions)

    def is_untouched(self, task_id: int) -> bool:
        """Whether nobody has submitted, skipped or begun to draw on this task."""
        if self.connection.read(f"api/tasks/{task_id}/")["annotations"]:
            return False
        return not self.connection.read(f"api/tasks/{task_id}/drafts")  # of everybody: a task shows only one's own

    def task_ids(self, project_id: int) -> set[int]:
        """Ids of all tasks of the project."""
        return {task["id"] for task in self._by_id(project_id, [], include="id")}

    def stamps(self, project_id: int, ids: Sequence[int] | None = None) -> Iterator[Stamp]:
        """All tasks of the project, or those of these ids (a few), without what is in them: enough to see what is gone, or went back."""
        conditions = [] if ids is None else [_condition("id", "in_list", "Number", sorted(ids))]
        for task in self._by_id(project_id, conditions, include="id,data,updated_at") if ids is None or ids else ():
            yield Stamp(int(task["id"]), str(task["data"].get(KEY) or ""), datetime.fromisoformat(task["updated_at"]))

    def task_count(self, project_id: int) -> int:
        """How many tasks the project has."""
        return int(self.connection.read(f"api/projects/{project_id}/")["task_number"])

    def open_tasks(self, project_id: int, page_size: int = 200) -> Iterator[Json]:
        """Whole tasks that nobody has submitted or skipped, by id, with their predictions."""
        untouched = [_condition(column, "equal", "Number", 0) for column in UNLABELLED]
        return self._by_id(project_id, untouched, page_size=page_size, fields="all")

    def open_tasks_without(self, project_id: int, version: str) -> Iterator[Json]:
        """Open tasks that have no prediction of this version, by id; often their `id` and `data` alone, which come ten times as soon."""
        if self._is_within_another(project_id, version):
            found = self.open_tasks(project_id)
            return (task for task in found if all(entry["model_version"] != version for entry in task["predictions"]))
        conditions = [_condition(column, "equal", "Number", 0) for column in UNLABELLED]
        lacking = _condition("predictions_model_versions", "not_contains", "List", [version])
        return self._by_id(project_id, [*conditions, lacking], include="id,data")

    def tasks_after(self, project_id: int, after: int, count: int) -> list[Json]:
        """The next whole tasks by id, at most `count`, with annotations and predictions; fewer only at the end."""
        return self._page(project_id, [_condition("id", "greater", "Number", after)], "id", 1, count, fields="all")

    def tasks(self, project_id: int, ids: Iterable[int]) -> dict[int, Json]:
        """Whole tasks by id, with their predictions; those that are gone are absent. Unlike a task opened alone, no ML backend is called."""
        found: dict[int, Json] = {}
        for chunk in _chunks(sorted(set(ids)), TASKS_PER_REQUEST):  # by list, not by range: what lies between would be read whole
            conditions = [_condition("id", "in_list", "Number", chunk)]
            found |= {int(task["id"]): task for task in self._by_id(project_id, conditions, page_size=TASKS_PER_REQUEST, fields="all")}
        return found

    def update_task(self, task_id: int, data: Json) -> None:
        """Replace the task's `data` as a whole. Predictions and annotations stay; no webhook is sent."""
        self.connection.call(lambda sdk: sdk.tasks.update(id=str(task_id), data=data))

    def set_number(self, project_id: int, task_ids: Iterable[int], name: str, value: float) -> None:
        """Set one number in the data of many tasks, in one request. Does not touch their `updated_at`."""
        self._act("add_data_field", project_id, task_ids, value_name=name, value_type="Number", value=value)

    def delete_tasks(self, project_id: int, task_ids: Iterable[int]) -> None:
        """Delete tasks with their annotations. Where none is left, Label Studio deletes the project's views too."""
        self._act("delete_tasks", project_id, task_ids)

    # predictions and annotations

    def import_predictions(self, project_id: int, predictions: list[Json]) -> int:
        """Add predictions (`task`, `result`, `score`, `model_version`) to tasks; return how many.

        Does not touch the tasks' `updated_at`. Label Studio drops what does not fit the label config without a word,
        so a count that differs raises PredictionsDropped: the others are there.
        """
        if not predictions:
            return 0
        answer = self.connection.call(lambda sdk: sdk.projects.import_predictions(id=project_id, request=predictions))
        if answer.created != len(predictions):
            raise PredictionsDropped.of(int(answer.created or 0), len(predictions))
        return len(predictions)

    def delete_predictions(self, project_id: int, task_ids: Iterable[int]) -> None:
        """Delete every prediction of the tasks, in one request."""
        self._act("delete_tasks_predictions", project_id, task_ids)

    def create_annotation(self, task_id: int, result: list[Json], **fields: Any) -> int:
        """Submit an annotation (`was_cancelled`, `ground_truth`, `lead_time`, `parent_prediction` … as fields); its id.

        A `unique_id` (UUID) is taken once per server: the second is refused. Lists leave it out, but show an `import_id`.
        """
        created = self.connection.call(lambda sdk: sdk.annotations.create(id=task_id, result=result, **fields))
        return int(created.id)

    def star_annotation(self, annotation_id: int, starred: bool) -> None:
        """Set or take the ground-truth star of an annotation. Moves `updated_at` of it and of its task.

        A task has one star: another annotation of it loses its own, and keeps its `updated_at`.
        """
        self.connection.call(lambda sdk: sdk.annotations.update(id=annotation_id, ground_truth=starred))

    def fetch_status(self, path: str) -> int:
        """HTTP status with which the server answers `path` (such as an image's) to this user."""
        return self.connection.status(path)

    # how it is asked

    def _find(self, project_id: int, keys: Sequence[str], conditions: list[Json]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for chunk in _chunks(list(dict.fromkeys(keys)), KEYS_PER_REQUEST):
            wanted = _condition(KEY_COLUMN, "in_list", "String", chunk)
            for task in self._by_id(project_id, [wanted, *conditions], include="id,data"):
                found[task["data"][KEY]].append(task["id"])
        return dict(found)

    def _projects(self, title: str) -> Iterator[Json]:
        page = 1
        while answer := self.connection.read("api/projects/", title=title, page=page, page_size=100, include=PROJECT_FIELDS):
            yield from answer["results"]
            if not answer["next"]:
                return
            page += 1

    def _project(self, entry: Json) -> Project:
        address = f"{self.public_url}/projects/{entry['id']}"
        created_at = datetime.fromisoformat(entry["created_at"])
        return Project(entry["id"], entry["title"], entry["label_config"] or "", entry["model_version"] or "", address, created_at)

    def _has_predictions(self, project_id: int, version: str) -> bool:
        return self._versions(project_id).get(version, 0) > 0

    def _is_within_another(self, project_id: int, version: str) -> bool:
        """Label Studio's filter looks for a version's name anywhere within the names, whatever their case: m@1 is in m@10."""
        return any(version.casefold() in str(other).casefold() for other in self._versions(project_id) if other != version)

    def _versions(self, project_id: int) -> dict[str, int]:
        """How many predictions the project has, by version."""
        found: dict[str, int] = self.connection.read(f"api/projects/{project_id}/model-versions/")
        return found

    def _by_id(
        self, project_id: int, conditions: list[Json], page_size: int = IDS_PER_REQUEST, after: int = 0, **query: str
    ) -> Iterator[Json]:
        # By key instead of by page number: a deletion meanwhile would shift pages, and a task missed here counts as deleted.
        last = after
        while True:
            beyond = _condition("id", "greater", "Number", last)
            tasks = self._page(project_id, [*conditions, beyond], "id", 1, page_size, **query)
            yield from tasks
            if len(tasks) < page_size:
                return
            last = tasks[-1]["id"]

    def _page(self, project_id: int, conditions: list[Json], order: str, page: int, size: int, **query: str) -> list[Json]:
        wanted = {"filters": {"conjunction": "and", "items": conditions}, "ordering": [f"tasks:{order}"]}
        asked = {"project": project_id, "page": page, "page_size": size, "resolve_uri": "false", "query": json.dumps(wanted), **query}
        answer = self.connection.read("api/tasks/", **asked)
        return list(answer["tasks"]) if answer else []

    def _act(self, action: str, project_id: int, task_ids: Iterable[int], **named: Any) -> None:
        # Without an explicit selection the action would hit every task of the project.
        chosen = {"all": False, "included": list(task_ids)}
        more: Any = {"additional_body_parameters": named}
        if chosen["included"]:
            self.connection.call(lambda sdk: sdk.actions.create(id=action, project=project_id, selected_items=chosen, request_options=more))


def _condition(column: str, operator: str, kind: str, value: Any) -> Json:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def _time(moment: datetime) -> str:
    # Label Studio parses this one format, microseconds included, and reads it as UTC.
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _chunks(items: list[T], size: int) -> Iterator[list[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
