"""The rows of an in-memory Label Studio 1.23.2, and what it does to them as it was observed on the real one (with SQLite).

Ids of tasks are the newest's plus one, so that of a deleted newest is given again; those of annotations, predictions and drafts never
are, but for a restored backup. A task's `updated_at` follows what people do and not what is imported.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
TICK = timedelta(microseconds=1)


@dataclass
class Rows:
    """All that a backup of the server's database holds. Rows by id; `last` are the newest ids that each table ever gave."""

    users: dict[int, str] = field(default_factory=dict)
    projects: dict[int, Json] = field(default_factory=dict)
    tasks: dict[int, Json] = field(default_factory=dict)
    annotations: dict[int, Json] = field(default_factory=dict)
    predictions: dict[int, Json] = field(default_factory=dict)
    drafts: dict[int, Json] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)


class TwinServer:
    """An in-memory Label Studio. `webhook` is called with the body of each event, as the real one calls a registered address.

    The public methods are what its API does; `snapshot` and `restore` are a backup's. Its clock is the real one, but no moment comes twice.
    """

    def __init__(self, users: Iterable[str] = ("admin@labelwheel.local",), webhook: Callable[[Json], object] | None = None) -> None:
        self.rows = Rows(users=dict(enumerate(users, 1)))
        self.webhook = webhook
        self._ahead = timedelta()
        self._last_moment = datetime.min.replace(tzinfo=UTC)

    def snapshot(self) -> Rows:
        """A backup of everything."""
        return copy.deepcopy(self.rows)

    def restore(self, backup: Rows) -> None:
        """Go back to a backup; nobody is told."""
        self.rows = copy.deepcopy(backup)

    def wait(self, seconds: float) -> None:
        """Put its clock so far ahead of ours, as if so much time had passed."""
        self._ahead += timedelta(seconds=seconds)

    def now(self) -> str:
        self._last_moment = max(datetime.now(UTC) + self._ahead, self._last_moment + TICK)
        return self._last_moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    # what the API does

    def create_project(self, title: str, label_config: str) -> int:
        number = self._next("projects")
        row = {"id": number, "title": title, "label_config": label_config, "model_version": "", "created_at": self.now()}
        self.rows.projects[number] = row
        return number

    def import_tasks(self, project: int, tasks: Iterable[Json]) -> list[int]:
        """As `POST /api/projects/{id}/import`: nothing is compared with what is there, and predictions are stored as they are."""
        ids = [self._add_task(project, task) for task in tasks]
        self._tell("TASKS_CREATED", project, tasks=[self._bare(self.rows.tasks[number]) for number in ids])
        return ids

    def import_predictions(self, project: int, predictions: Iterable[Json]) -> int:
        stored = [self._add_prediction(self.rows.tasks[entry["task"]], entry) for entry in predictions]
        return len(stored)

    def delete_tasks(self, project: int, ids: Iterable[int]) -> None:
        gone = [number for number in ids if self.rows.tasks.get(number, {}).get("project") == project]
        for number in gone:
            del self.rows.tasks[number]
            for table in (self.rows.annotations, self.rows.predictions, self.rows.drafts):
                for row in [key for key, row in table.items() if row["task"] == number]:
                    del table[row]
        self._tell("TASKS_DELETED", project, tasks=[{"id": number} for number in gone])

    def delete_predictions(self, ids: Iterable[int]) -> None:
        wanted = set(ids)
        for number in [key for key, row in self.rows.predictions.items() if row["task"] in wanted]:
            del self.rows.predictions[number]

    def update_task(self, task: int, data: Json) -> None:
        self.rows.tasks[task] |= {"data": copy.deepcopy(data), "updated_at": self.now()}

    def annotate(self, task: int, result: list[Json], user: int = 1, moment: str = "", **fields: Any) -> int:
        """A person submits, or skips with `was_cancelled`; drafts of other annotations stay.

        `moment`: an earlier one, of a request that was stamped then and is committed now, behind others.
        """
        number, stamped, moment = self._next("annotations"), moment, moment or self.now()
        defaults: Json = {"was_cancelled": False, "ground_truth": False, "lead_time": None, "parent_prediction": None}
        defaults |= {"parent_annotation": None, "import_id": None, "unique_id": str(uuid.uuid4())}
        row = defaults | fields | {"id": number, "task": task, "project": self.rows.tasks[task]["project"], "result": copy.deepcopy(result)}
        row |= {"completed_by": fields.get("completed_by") or user, "updated_by": user, "created_at": moment, "updated_at": moment}
        self.rows.annotations[number] = row
        self._touch(task, user, stamped)
        self._tell_annotation("ANNOTATION_CREATED", number)
        return number

    def edit(self, annotation: int, user: int = 1, **fields: Any) -> None:
        row = self.rows.annotations[annotation]
        row |= copy.deepcopy(fields) | {"updated_at": self.now(), "updated_by": user}
        self._touch(row["task"], user)
        self._tell_annotation("ANNOTATION_UPDATED", annotation)

    def is_taken(self, unique_id: str) -> bool:
        """Whether an annotation of the server, in whichever project, has it."""
        return any(row["unique_id"] == unique_id for row in self.rows.annotations.values())

    def star(self, annotation: int, starred: bool, user: int = 1) -> None:
        """Of a task one annotation has the star; the one that loses it so keeps its `updated_at`."""
        for row in self._of(self.rows.annotations, self.rows.annotations[annotation]["task"]) if starred else ():
            row["ground_truth"] = False
        self.edit(annotation, user, ground_truth=starred)

    def delete_annotation(self, annotation: int, user: int = 1) -> None:
        row = self.rows.annotations.pop(annotation)
        self._touch(row["task"], user)
        self._tell("ANNOTATIONS_DELETED", row["project"], annotations=[{"id": annotation}])

    def delete_annotations(self, tasks: Iterable[int], user: int = 1) -> None:
        """The data manager's action: all annotations and drafts of the tasks; one `updated_at` for all that had any."""
        wanted, moment = set(tasks), self.now()
        gone = [key for key, row in self.rows.annotations.items() if row["task"] in wanted]
        touched = {self.rows.annotations.pop(key)["task"] for key in gone}
        for key in [key for key, row in self.rows.drafts.items() if row["task"] in wanted]:
            del self.rows.drafts[key]
        for task in touched:
            self.rows.tasks[task] |= {"updated_at": moment, "updated_by": user}
        if wanted:
            project = self.rows.tasks[min(wanted)]["project"]
            self._tell("ANNOTATIONS_DELETED", project, annotations=[{"id": key} for key in gone])

    def draft(self, task: int, result: list[Json], user: int = 1) -> int:
        """A person begins: neither the task's `updated_at` nor a webhook says so."""
        number = self._next("drafts")
        self.rows.drafts[number] = {"id": number, "task": task, "user": user, "result": copy.deepcopy(result)}
        return number

    # what it shows

    def whole(self, task: Json) -> Json:
        """A task as lists show it with `fields=all`: annotations of everybody, skipped ones too, and every prediction."""
        annotations = [self._listed(row) for row in self._of(self.rows.annotations, task["id"])]
        predictions = [copy.deepcopy(row) for row in self._of(self.rows.predictions, task["id"])]
        return self._bare(task) | {"annotations": annotations, "predictions": predictions}

    def counts(self, task: int) -> tuple[int, int]:
        """Submitted and skipped annotations of a task."""
        skipped = [bool(row["was_cancelled"]) for row in self._of(self.rows.annotations, task)]
        return skipped.count(False), skipped.count(True)

    def _bare(self, task: Json) -> Json:
        submitted, skipped = self.counts(task["id"])
        counted = {"total_annotations": submitted, "cancelled_annotations": skipped, "is_labeled": submitted > 0}
        return copy.deepcopy(task) | counted | {"total_predictions": len(self._of(self.rows.predictions, task["id"]))}

    def _listed(self, annotation: Json) -> Json:
        return {name: copy.deepcopy(value) for name, value in annotation.items() if name != "unique_id"}

    def _of(self, table: dict[int, Json], task: int) -> list[Json]:
        return [row for _, row in sorted(table.items()) if row["task"] == task]

    # how it does it

    def _next(self, table: str) -> int:
        self.rows.last[table] = self.rows.last.get(table, 0) + 1
        return self.rows.last[table]

    def _add_task(self, project: int, given: Json) -> int:
        number = max(self.rows.tasks, default=0) + 1
        inner = 1 + max((row["inner_id"] for row in self.rows.tasks.values() if row["project"] == project), default=0)
        row = {"id": number, "project": project, "data": copy.deepcopy(given["data"]), "meta": copy.deepcopy(given.get("meta") or {})}
        row |= {"inner_id": inner, "created_at": self.now(), "updated_at": self.now(), "updated_by": None}
        self.rows.tasks[number] = row
        for prediction in given.get("predictions") or []:
            self._add_prediction(row, prediction)
            here = self.rows.projects[project]
            here["model_version"] = here["model_version"] or prediction.get("model_version", "undefined")
        return number

    def _add_prediction(self, task: Json, given: Json) -> int:
        number, moment = self._next("predictions"), self.now()
        kept = {name: copy.deepcopy(given.get(name)) for name in ("result", "score")}
        row = {"id": number, "task": task["id"], "project": task["project"], "model_version": given.get("model_version", "undefined")}
        self.rows.predictions[number] = row | kept | {"created_at": moment, "updated_at": moment}
        return number

    def _touch(self, task: int, user: int, moment: str = "") -> None:
        self.rows.tasks[task] |= {"updated_at": moment or self.now(), "updated_by": user}

    def _tell_annotation(self, action: str, number: int) -> None:
        row = self.rows.annotations[number]
        self._tell(action, row["project"], annotation=copy.deepcopy(row), task=self._bare(self.rows.tasks[row["task"]]))

    def _tell(self, action: str, project: int, **payload: Any) -> None:
        if self.webhook is not None:
            self.webhook({"action": action, **payload, "project": {"id": project, "title": self.rows.projects[project]["title"]}})
