"""Tasks as Label Studio exports them (JSON), as samples of an export: no server is asked, no database read."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from labelwheel.errors import InputError, LabelwheelError
from labelwheel.vision.drawing import Canvas, Size
from retrain.dataset.counting import counting
from retrain.dataset.folder import Excluded, Sample

Json = Mapping[str, Any]

HASH_DIGITS = 16
CURE = "Export it from Label Studio as JSON (not JSON_MIN): a list of tasks, each with `data` and `annotations`."


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright image at hand: its bytes or file, SHA-256, size (width, height) and file suffix."""

    content: bytes | Path
    sha256: str
    size: Size
    suffix: str


Look = Callable[[str], Picture]  # from what a task's data holds under its image key; raises LabelwheelError


def load(path: Path) -> list[Any]:
    """The tasks of a file. Raises InputError when it is not a list of tasks, or one task."""
    try:
        content = _parse(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", CURE) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}.", CURE) from error
    tasks = [content] if isinstance(content, dict) else content
    if not isinstance(tasks, list) or (tasks and not any(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in tasks)):
        raise InputError(f"{path} is no list of tasks.", CURE)
    return tasks


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector of cycles: what an export reads and makes has none, and to look for some, again and again, takes as long as that."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _parse(data: bytes) -> Any:
    try:
        from orjson import loads  # comes with DVC, and takes half the time
    except ImportError:
        return json.loads(data)
    return loads(data)


def samples(tasks: Iterable[Any], canvas: Canvas, look: Look | None) -> Iterator[Sample | Excluded]:
    """Each task as a sample, or excluded with the reason. Without `look` images are left out, and regions tell the size."""
    seen: set[str] = set()
    for number, task in enumerate(tasks, start=1):
        if isinstance(task, dict) and isinstance(task.get("data"), dict):
            yield _accounted(task, f"n{number}", canvas, look, seen)
        else:
            yield Excluded(None, None, f"entry {number} of the list is no task with data")


def _accounted(task: Json, spare: str, canvas: Canvas, look: Look | None, seen: set[str]) -> Sample | Excluded:
    """`_sample`, also of a task that nobody has thought of."""
    try:
        return _sample(task, spare, canvas, look, seen)
    except Exception as error:  # noqa: BLE001  readers of pictures and of addresses raise whatever broken ones provoke
        return Excluded(task.get("id"), _shown(_address(task, canvas)), f"it cannot be read: {error!r}")


def _sample(task: Json, spare: str, canvas: Canvas, look: Look | None, seen: set[str]) -> Sample | Excluded:
    identity, address = task.get("id"), _address(task, canvas)
    annotation, reason = counting(task)
    result = [] if annotation is None else annotation.get("result") or []
    if annotation is None or not isinstance(result, list):
        return Excluded(identity, _shown(address), reason if annotation is None else "its result is no list")
    if not address:
        return Excluded(identity, None, f"its data has no image under {canvas.value_key!r}", len(result))
    try:
        picture = look(address) if look else None
    except LabelwheelError as error:
        return Excluded(identity, _shown(address), f"no image: {error.message}", len(result))
    told = {"annotation": annotation.get("id"), "counts_as": reason}
    name = _name(identity, spare, picture.sha256 if picture else sha256(address.encode(errors="replace")).hexdigest(), seen)
    drawing = canvas.read(result, picture.size if picture else None)
    if picture is None:
        return Sample(identity, name, _shown(address) or "", "train", drawing, told=told)
    return Sample(
        identity, name, picture.sha256, "train", drawing, picture.content, picture.suffix, told={**told, "address": _shown(address)}
    )


def _address(task: Json, canvas: Canvas) -> str:
    value = task["data"].get(canvas.value_key)
    return value if isinstance(value, str) else ""


def _shown(address: str) -> str | None:
    """An address for the manifest: of a picture that is the text itself, its beginning."""
    return (f"{address[:40]}…" if address[:5].lower() == "data:" and len(address) > 40 else address) or None


def _name(identity: Any, spare: str, digest: str, seen: set[str]) -> str:
    """The files' name: the task's id, or its place in the list, and the hash of what the image holds. No two are equal."""
    key = str(identity) if isinstance(identity, int) and 0 <= identity < 2**63 else spare
    name = f"{key}-{digest[:HASH_DIGITS]}"
    if name in seen:  # one task twice in the list
        name = f"{key}-{digest[:HASH_DIGITS]}-{spare}"
    seen.add(name)
    return name
