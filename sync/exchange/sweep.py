"""What Label Studio's list of tasks says that its list of changes does not: tasks that are gone, or back in an earlier state. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from labelwheel.labelstudio.client import Stamp
from sync.exchange.mirror import CLOCK


@dataclass(frozen=True, slots=True)
class Known:
    """A task as we know it: its row, our key, Label Studio's id (0: lost) and when it had changed last when we looked."""

    row_id: int
    key: str
    ls_task_id: int
    updated_at: datetime | None
    status: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """Ids of rows whose task is `gone` or was `lost` and waits unanswered; new Label Studio ids of rows that `moved`; keys of tasks that
    went `back`; ids of tasks that `changed` unseen; (key, Label Studio id) of tasks on which annotations stood and that are `vanished`;
    keys that have `twins`."""

    gone: list[int]
    unanswered: list[int]
    moved: dict[int, int]
    back: list[str]
    changed: list[int]
    vanished: list[tuple[str, int]]
    twins: list[str]


def compare(known: Sequence[Known], stood: Iterable[tuple[str, int]], there: Iterable[Stamp], cursor: datetime | None) -> Sweep:
    """`stood` are (key, Label Studio id) of the tasks on which annotations stand. Changes after `cursor` are left to the list of changes."""
    found: dict[str, dict[int, datetime]] = defaultdict(dict)
    for stamp in there:
        found[stamp.key][stamp.id] = stamp.updated_at
    present = [task for task in known if task.key in found]
    absent = [task for task in known if task.key not in found]
    pairs = [(task, found[task.key].get(task.ls_task_id)) for task in present]
    return Sweep(
        gone=[task.row_id for task in absent if task.ls_task_id],
        unanswered=[task.row_id for task in absent if not task.ls_task_id and task.status == "pushed"],
        moved={task.row_id: min(found[task.key]) for task, at in pairs if at is None},
        back=[task.key for task, at in pairs if at and task.updated_at and at < task.updated_at - CLOCK],
        changed=[
            *(task.ls_task_id for task, at in pairs if at and task.updated_at and cursor and task.updated_at != at < cursor),
            *(number for task in present for number in found[task.key] if number != task.ls_task_id),  # nobody may have seen it
        ],
        vanished=[(key, ls_task_id) for key, ls_task_id in stood if ls_task_id not in found.get(key, {})],
        twins=[task.key for task in present if len(found[task.key]) > 1],
    )
