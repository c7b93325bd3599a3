"""Changes of a class map that a person states: a class renamed, merged into another, removed or restored. Pure.

A change is JSON, so that a version of the class map can keep how it differs from the one before. It names ids, and `ClassMap.of` needs
no more: `what`, the `id` that it is about, the ids that it `retired`, the names that a class had `formerly`, and labels to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from labelwheel.errors import InputError
from labelwheel.vision.class_map import ClassMap, Json


@dataclass(frozen=True, slots=True)
class Changed:
    """The labels of the next version, and the change that leads there."""

    labels: list[str]
    change: Json


def added(before: Sequence[str], after: Sequence[str]) -> list[Json]:
    """What was appended."""
    return [{"what": "added", "id": class_id, "label": after[class_id]} for class_id in range(len(before), len(after))]


def rename(classes: ClassMap, old: str, new: str) -> Changed:
    """The class keeps its id under the new name. Raises InputError for a name that is unknown, or that means another class."""
    class_id = _in_use(classes, old)
    _demand_free(classes, new, [class_id])
    change = {"what": "renamed", "id": class_id, "label": old, "to": new, "formerly": [old]}
    return Changed(_with(classes, class_id, new), change)


def merge(classes: ClassMap, labels: Iterable[str], into: str) -> Changed:
    """Classes become one: `into`, one in use or a new name. All ids but its own, or the lowest of theirs, are retired. Raises InputError."""
    ids = sorted({_in_use(classes, label) for label in labels})
    if into in classes.active:
        target = classes.labels.index(into)
    else:
        _demand_free(classes, into, ids)
        target = ids[0]
    retired = [class_id for class_id in ids if class_id != target]
    if not retired:
        raise InputError("One class cannot be merged with itself.", "Name two or more, or use `labelwheel classes rename`.")
    names = [classes.labels[class_id] for class_id in ids]
    formerly = [classes.labels[target]] if classes.labels[target] != into else []
    change = {"what": "merged", "id": target, "labels": names, "to": into, "retired": retired, "formerly": formerly}
    return Changed(_with(classes, target, into), change)


def remove(classes: ClassMap, label: str) -> Changed:
    """The class is in use no more: its id is retired, and its boxes are excluded. Raises InputError also for the last one."""
    class_id = _in_use(classes, label)
    if len(classes.active) == 1:
        raise InputError(f"{label!r} is the only class.", "Add another one in Label Studio first.")
    return Changed(list(classes.labels), {"what": "removed", "id": class_id, "label": label, "retired": [class_id]})


def restore(classes: ClassMap, label: str) -> Changed:
    """A removed class is in use again, under the id that it had. Raises InputError for any other."""
    if label not in classes.labels or classes.retired.get(classes.labels.index(label), label) is not None:
        raise InputError(f"{label!r} is no class that was removed.", "See `labelwheel classes list`; a merger is not taken back.")
    return Changed(list(classes.labels), {"what": "restored", "id": classes.labels.index(label), "label": label})


def told(change: Json) -> str:
    """A change in words."""
    if change["what"] == "renamed":
        return f"{change['label']} was renamed to {change['to']} (id {change['id']})"
    if change["what"] == "merged":
        return f"{', '.join(change['labels'])} were merged into {change['to']} (id {change['id']}; retired: {_listed(change['retired'])})"
    return f"{change['label']} was {change['what']} (id {change['id']})"


def _in_use(classes: ClassMap, label: str) -> int:
    if label in classes.active:
        return classes.labels.index(label)
    now = classes.read(label)
    cure = f"It is called {now!r} now." if now else f"The classes are {_listed(classes.active)}; see `labelwheel classes list`."
    raise InputError(f"There is no class {label!r} in use.", cure)


def _demand_free(classes: ClassMap, name: str, ids: Sequence[int]) -> None:
    """A name that once meant a class means it for ever: what was drawn under it could not be told apart."""
    owner = classes.labels.index(name) if name in classes.labels else classes.former.get(name)
    if not name.strip():
        raise InputError("A class needs a name.", "Give one that annotators understand.")
    if owner is not None and (owner not in ids or owner in classes.retired):
        raise InputError(
            f"{name!r} is taken: it means, or meant, the class with id {owner}.",
            "Use a name that no class ever had, or merge the classes: `labelwheel classes merge A B --into C`.",
        )


def _with(classes: ClassMap, class_id: int, name: str) -> list[str]:
    return [name if number == class_id else label for number, label in enumerate(classes.labels)]


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
