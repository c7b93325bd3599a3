"""The wheel from a notebook or a script: what waits, answers to it, and the labels that came of it.

The same code path as REST and the command: an answer is written to Label Studio (see `sync.review.answer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from console.export import export_folder
from labelwheel.database import Database, get_database
from labelwheel.errors import InputError
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.project import current_project
from labelwheel.settings import Settings, load_settings
from labelwheel.storage import ImageStore
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box
from retrain.dataset.format import Format
from sync import queue
from sync.jobs import open_client
from sync.review import answer
from sync.review.said import Said
from sync.review.window import Window, open_window

Drawn = tuple[str, Sequence[float]]


class VisionLogger:
    """A connected project: the one of `home`, else of LABELWHEEL_HOME, else of `var/` in this folder.

    Items are dicts as `GET /api/labeling-queue` answers them. Raises LabelwheelError, whose `cure` says what to do:
    NotFoundError for an item that is none, sync.review.said.Answered (its `item` is how it stands) when somebody else was first.

    >>> wheel = VisionLogger()
    >>> for item in wheel.get_labeling_queue(limit=2):
    ...     print(item["id"], item["status"], item["source"])
    1 pushed line-a
    2 pushed line-a
    """

    def __init__(self, home: Path | str | None = None) -> None:
        self.settings: Settings = load_settings(Path(home) if home else None)

    def get_labeling_queue(
        self,
        limit: int = 50,
        *,
        status: str = queue.OPEN,
        reason: str | None = None,
        source: str | None = None,
        after: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Items, the most urgent first: what waits for somebody, or those of one `status`, or "all". `after` is the last of the page before.

        Raises InputError for a status or reason that is none.

        >>> items = VisionLogger().get_labeling_queue(1, status="pushed")
        >>> [(item["id"], item["reason"]) for item in items]
        [(1, 'novelty')]
        >>> [item["id"] for item in VisionLogger().get_labeling_queue(1, after=items[-1])]
        [2]
        """
        cursor = queue.cursor_of(after) if after else None
        with self._database.read() as session:
            project = current_project(session, self.settings)
            return queue.listing(session, project.id, limit, status, reason, source, cursor)

    def get_item(self, item_id: int) -> dict[str, Any]:
        """An item with where it has been and who moved it there (`history`), verdicts (`reviews`) and standing `labels`.

        >>> [event["status"] for event in VisionLogger().get_item(1)["history"]]
        ['pending', 'pushed']
        """
        with self._database.read() as session:
            return queue.show(session, current_project(session, self.settings).id, item_id)

    def get_image(self, item_id: int) -> Path:
        """The file of an item's image, to be read and not to be changed; boxes are in pixels once EXIF has turned it upright.

        >>> VisionLogger().get_image(1).suffix
        '.png'
        """
        with self._database.read() as session:
            image = queue.find(session, current_project(session, self.settings).id, item_id).image
        return ImageStore(self.settings.images_dir).path(image.uri)

    def submit_label(
        self,
        item_id: int,
        boxes: Iterable[Drawn],
        annotator: str,
        *,
        lead_time: float | None = None,
        why: str = "",
        status: str | None = None,
        again: str = "",
    ) -> dict[str, Any]:
        """Submit all boxes of an item as (label, (left, top, right, bottom) in pixels of the upright image); none: nothing is there.

        `lead_time` is in seconds. `status` is where the item stood when the annotator looked. Saying the same twice is saying it once;
        after somebody else's answer it raises sync.review.said.Repeated, unless its `again` is given: then it is said on purpose.

        >>> wheel = VisionLogger()
        >>> item = wheel.submit_label(1, [("open", (10, 8, 40, 32))], annotator="anna@plant.example", lead_time=12.5)
        >>> item["status"], item["labels"][0]["annotator"], item["labels"][0]["boxes"][0]["label"]
        ('approved', 'anna@plant.example', 'open')
        """
        drawn = [_box(entry) for entry in boxes]
        return answer.label(self._window(), item_id, drawn, Said(annotator, why, status, again), lead_time)

    def approve_label(self, item_id: int, reviewer: str, *, why: str = "", status: str | None = None) -> dict[str, Any]:
        """Approve the newest label of an item; it gets the ground-truth star in Label Studio.

        >>> item = VisionLogger().approve_label(1, reviewer="eve@plant.example", why="checked")
        >>> item["status"], item["reviews"][-1]["verdict"], item["reviews"][-1]["who"]
        ('approved', 'approved', 'eve@plant.example')
        """
        return answer.approve(self._window(), item_id, Said(reviewer, why, status))

    def reject_label(self, item_id: int, reviewer: str, *, why: str = "", status: str | None = None) -> dict[str, Any]:
        """Reject the newest label of an item."""
        return answer.reject(self._window(), item_id, Said(reviewer, why, status))

    def skip(self, item_id: int, annotator: str, *, why: str = "", status: str | None = None, again: str = "") -> dict[str, Any]:
        """Say that nobody can label an item. `again` as for `submit_label`.

        >>> VisionLogger().skip(2, annotator="anna@plant.example", why="out of focus")["status"]
        'skipped'
        """
        return answer.skip(self._window(), item_id, Said(annotator, why, status, again))

    def flag(self, item_id: int, who: str, *, why: str = "", status: str | None = None) -> dict[str, Any]:
        """Ask for a look at an item before all others."""
        return answer.flag(self._window(), item_id, Said(who, why, status))

    def export_labels_for_training(self, folder: Path | str, format: str = "yolo", *, images: bool = True) -> dict[str, Any]:
        """Write all approved labels as a folder that ultralytics reads (`data.yaml`, images, labels, manifest.json); what it holds, counted.

        `format` is yolo, yolo-obb, yolo-seg, yolo-pose, yolo-cls or coco; InputError for others, and where the label config has nothing for it.
        The folder is new or empty, or holds an earlier export, which is replaced; anything else is refused with InputError.

        >>> counts = VisionLogger().export_labels_for_training("labels")
        >>> counts["images"], counts["boxes"]
        ({'train': 1}, {'open': 1})
        """
        return export_folder(self._database, self.settings, Path(folder), form=_format(format), images=images)

    @property
    def _database(self) -> Database:
        return get_database(self.settings.database_url)

    @cached_property
    def _label_studio(self) -> LabelStudio:
        return open_client(self.settings)

    def _window(self) -> Window:
        return open_window(self._database, self.settings, self._label_studio)


def _format(name: str) -> Format:
    """A format by its name. Raises InputError for any other."""
    try:
        return Format(name)
    except ValueError as error:
        raise InputError(f"{name!r} is no format.", f"Choose one of {', '.join(Format)}.") from error


def _box(entry: Drawn) -> LabelledBox:
    """A box as callers give it. Raises InputError for anything else."""
    try:
        label, (left, top, right, bottom) = entry
        return LabelledBox(str(label), Box(float(left), float(top), float(right), float(bottom)))
    except (TypeError, ValueError) as error:
        raise InputError(f"{entry!r} is no box.", 'Give a label and four numbers, such as ("scratch", (10, 8, 40, 32)).') from error
