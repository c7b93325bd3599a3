"""An in-memory Label Studio behind the port of the real client: for tests and proofs that need thousands of turns.

It repeats what was observed on 1.23.2, above all what surprises: see `TwinServer`. One contract suite runs against both, so a difference
is a bug of this module.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError

from defusedxml.ElementTree import fromstring

from labelwheel.errors import LabelStudioError, LabelStudioRefused, PredictionsDropped
from labelwheel.labelstudio.client import KEY, Json, Project, Stamp
from labelwheel.labelstudio.twin_server import TwinServer
from labelwheel.vision.fit import misfits
from labelwheel.vision.label_config import parse

if TYPE_CHECKING:
    from labelwheel.labelstudio.port import Studio


class Twin:
    """A client of a `TwinServer`, as the user `user`. Whatever it returns is a copy."""

    def __init__(self, server: TwinServer, user: int = 1) -> None:
        self.server, self.user = server, user

    def version(self) -> str:
        return "1.23.2"

    def me(self) -> Json:
        return {"id": self.user, "email": self.server.rows.users[self.user]}

    def people(self) -> dict[int, str]:
        return dict(self.server.rows.users)

    # projects

    def find_project(self, title: str) -> Project | None:
        same = [number for number, row in self.server.rows.projects.items() if row["title"] == title]
        return self.project(min(same)) if same else None

    def project(self, project_id: int) -> Project:
        row = self._project(project_id)
        address, created_at = f"twin://projects/{project_id}", _moment(row["created_at"])
        return Project(project_id, row["title"], row["label_config"], row["model_version"], address, created_at)

    def create_project(self, title: str, label_config: str) -> Project:
        fault = _config_fault(label_config)
        if fault:
            raise LabelStudioRefused(f"Label Studio answered 400: label_config: {fault}")
        return self.project(self.server.create_project(title, label_config))

    def set_model_version(self, project_id: int, version: str) -> bool:
        row = self._project(project_id)
        if row["model_version"] == version:
            return True
        carried = {entry["model_version"] for entry in self.server.rows.predictions.values() if entry["project"] == project_id}
        row["model_version"] = version if version in carried else ""
        return version in carried

    # tasks

    def import_tasks(self, project_id: int, tasks: list[Json]) -> list[int]:
        if not tasks:
            return []
        wanted = {tag.value_key for tag in parse(self._project(project_id)["label_config"])}
        for number, task in enumerate(tasks):
            missing = wanted - task["data"].keys()
            if missing:
                raise LabelStudioRefused(
                    f'Label Studio answered 400: Error at item {number}: "{min(missing)}" key is expected in task data'
                )
        return self.server.import_tasks(project_id, tasks)

    def find_tasks(self, project_id: int, keys: Sequence[str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for task in self._tasks(project_id):
            if task["data"].get(KEY) in set(keys):
                found[task["data"][KEY]].append(task["id"])
        return dict(found)

    def find_untouched(self, project_id: int, keys: Sequence[str]) -> dict[str, list[int]]:
        found = (
            (key, [task_id for task_id in ids if self.is_untouched(task_id)]) for key, ids in self.find_tasks(project_id, keys).items()
        )
        return {key: ids for key, ids in found if ids}

    def changed_tasks(self, project_id: int, since: datetime | None, page_size: int = 200) -> Iterator[Json]:
        # Page by page, as people may act between two: what moved meanwhile comes again.
        start, seen = since, set[tuple[int, str]]()
        while True:
            changed = [task for task in self._tasks(project_id) if start is None or _moment(task["updated_at"]) >= start]
            page = [task for task in sorted(changed, key=_order) if (task["id"], task["updated_at"]) not in seen][:page_size]
            seen |= {(task["id"], task["updated_at"]) for task in page}
            yield from [self.server.whole(task) for task in page]
            if len(page) < page_size:
                return
            start = _moment(page[-1]["updated_at"])

    def is_untouched(self, task_id: int) -> bool:
        if task_id not in self.server.rows.tasks:
            raise LabelStudioError("Label Studio answered 404: no such task")
        tables = (self.server.rows.annotations, self.server.rows.drafts)
        return not any(row["task"] == task_id for table in tables for row in table.values())

    def task_ids(self, project_id: int) -> set[int]:
        return {task["id"] for task in self._tasks(project_id)}

    def task_count(self, project_id: int) -> int:
        return len(self._tasks(project_id))

    def stamps(self, project_id: int, ids: Sequence[int] | None = None) -> Iterator[Stamp]:
        for task in self._tasks(project_id):
            if ids is None or task["id"] in ids:
                yield Stamp(task["id"], str(task["data"].get(KEY) or ""), _moment(task["updated_at"]))

    def open_tasks(self, project_id: int, page_size: int = 200) -> Iterator[Json]:
        last = 0
        while page := [task for task in self._tasks(project_id) if task["id"] > last and self._is_open(task)][:page_size]:
            yield from [self.server.whole(task) for task in page]
            last = page[-1]["id"]

    def open_tasks_without(self, project_id: int, version: str) -> Iterator[Json]:
        for task in self.open_tasks(project_id):
            if all(entry["model_version"] != version for entry in task["predictions"]):
                yield {"id": task["id"], "data": task["data"]}

    def tasks_after(self, project_id: int, after: int, count: int) -> list[Json]:
        return [self.server.whole(task) for task in self._tasks(project_id) if task["id"] > after][:count]

    def tasks(self, project_id: int, ids: Iterable[int]) -> dict[int, Json]:
        wanted = set(ids)
        return {task["id"]: self.server.whole(task) for task in self._tasks(project_id) if task["id"] in wanted}

    def update_task(self, task_id: int, data: Json) -> None:
        self.server.update_task(task_id, data)

    def set_number(self, project_id: int, task_ids: Iterable[int], name: str, value: float) -> None:
        for task in self.server.rows.tasks.values():
            if task["id"] in set(task_ids) and task["project"] == project_id:
                task["data"][name] = value

    def delete_tasks(self, project_id: int, task_ids: Iterable[int]) -> None:
        if ids := list(task_ids):
            self.server.delete_tasks(project_id, ids)

    # predictions and annotations

    def import_predictions(self, project_id: int, predictions: list[Json]) -> int:
        strangers = [entry["task"] for entry in predictions if entry["task"] not in self.task_ids(project_id)]
        if strangers:
            raise LabelStudioRefused(f"Label Studio answered 400: task {strangers[0]} is not of the project")
        tags = parse(self._project(project_id)["label_config"])
        fitting = [entry for entry in predictions if not misfits(entry, tags)]
        stored = self.server.import_predictions(project_id, fitting)
        if stored != len(predictions):
            raise PredictionsDropped.of(stored, len(predictions))
        return stored

    def delete_predictions(self, project_id: int, task_ids: Iterable[int]) -> None:
        self.server.delete_predictions(task_ids)

    def create_annotation(self, task_id: int, result: list[Json], **fields: Any) -> int:
        if self.server.is_taken(str(fields.get("unique_id"))):
            raise LabelStudioError("Label Studio answered 409: Annotation with this unique id already exists")
        return self.server.annotate(task_id, result, self.user, **fields)

    def star_annotation(self, annotation_id: int, starred: bool) -> None:
        self.server.star(annotation_id, starred, self.user)

    def fetch_status(self, path: str) -> int:
        """Only projects are served here."""
        found = re.fullmatch(r"/?api/projects/(\d+)/", path)
        return 200 if found and int(found[1]) in self.server.rows.projects else 404

    # how it is asked

    def _project(self, project_id: int) -> Json:
        row = self.server.rows.projects.get(project_id)
        if row is None:
            raise LabelStudioError("Label Studio answered 404: Not found.")
        return row

    def _tasks(self, project_id: int) -> list[Json]:
        return [row for _, row in sorted(self.server.rows.tasks.items()) if row["project"] == project_id]

    def _is_open(self, task: Json) -> bool:
        return self.server.counts(task["id"]) == (0, 0)


def _config_fault(label_config: str) -> str | None:
    """Whether controls point to objects that there are, as Label Studio checks a config."""
    try:
        root = fromstring(label_config, forbid_dtd=True)
    except (ParseError, ValueError) as error:
        return str(error)
    names = {element.get("name") for element in root.iter()}
    broken = [element.get("toName") for element in root.iter() if element.get("toName") and element.get("toName") not in names]
    return f"toName={broken[0]!r} not found in names: {sorted(filter(None, names))}" if broken else None


def _moment(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp)


def _order(task: Json) -> tuple[datetime, int]:
    return _moment(task["updated_at"]), int(task["id"])


def _is_a_studio(twin: Twin) -> Studio:
    """For the type checker: the twin stands behind the whole port."""
    return twin
