"""Add a dataset version to DVC's cache: what an earlier version holds already is neither written nor hashed again.

Objects, the list of files and the `.dvc` file are DVC's own (a test compares them with what `dvc add` makes), but no folder is needed for
them: the training gets one of links (see `retrain.dataset.version`). The `.dvc` file comes last, so a kill leaves no half version, only
objects that the next attempt finds.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from labelwheel.errors import DatasetError
from labelwheel.storage import ImageStore
from retrain.dataset.content import Item, Plan
from retrain.dataset.folder import FOLDERS
from retrain.dataset.own import stem
from retrain.dataset.purged import left_out, let_in
from retrain.dataset.version import CACHE, alone, point, push, ready, whole
from retrain.dataset.yolo import image_file, index_files, label_file

KNOWN = "known.txt"  # images that versions hold: MD5, size and name of each; a name says what the bytes are
READ_ONLY = 0o444  # DVC's own way to say that an object is whole


class Object(NamedTuple):
    """A file of a version: what it is called there, and how DVC knows it."""

    path: str
    md5: str
    size: int


def add(plan: Plan, store: ImageStore, root: Path, remote: str = "", beat: Callable[[], object] = lambda: None) -> str:
    """Add a plan as a version below `root`, push it if there is a remote, and return DVC's hash of it; again changes nothing.

    `beat` is called after each image. Raises DatasetError when an image is gone, or for want of space.
    """
    ready(root, remote)
    with alone(root):
        lacking = left_out(root, plan.content_hash).intersection(map(stem, plan.items))
        dvc_hash = ("" if lacking else whole(root, plan.content_hash)) or _Shelf(root).add(plan, store, beat)
    if remote:
        push(root, plan.content_hash, remote)
    return dvc_hash


class _Shelf:
    """DVC's cache of one folder of versions, by somebody who is alone there."""

    def __init__(self, root: Path) -> None:
        self._root, self._cache = root, str(root / CACHE)
        self._draft = root / ".dvc" / "tmp" / "object"
        self._known = dict(self._read())

    def add(self, plan: Plan, store: ImageStore, beat: Callable[[], object]) -> str:
        found: list[Object] = []
        fresh: list[Object] = []
        try:
            for item, text in zip(plan.items, plan.texts, strict=True):
                image = self._image(item) or self._new(item, store, fresh)
                label = label_file(item, text)
                found += [image, self._put(label.name, label.content)]
                beat()
            found += [self._put(file.name, file.content) for file in index_files(plan)]
            self._remember(fresh)
            let_in(self._root, plan.content_hash, map(stem, plan.items))
            return self._list(plan.content_hash, found)
        except OSError as error:
            raise DatasetError(f"The dataset could not be stored: {error}", "Look at disk space.") from error

    def _image(self, item: Item) -> Object | None:
        """The image as an earlier version holds it: its name is the hash of its bytes, so that it need not be looked at."""
        known = self._known.get(stem(item))
        if known is None or not self._has(known.md5, known.size):
            return None
        return known._replace(path=f"images/{FOLDERS[item.split]}/{known.path}")

    def _new(self, item: Item, store: ImageStore, fresh: list[Object]) -> Object:
        file = image_file(item, store)
        put = self._put(file.name, file.content)
        fresh.append(put._replace(path=Path(file.name).name))
        return put

    def _put(self, name: str, content: bytes | Path) -> Object:
        data = content if isinstance(content, bytes) else content.read_bytes()
        found = Object(name, hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data))
        if not self._has(found.md5, found.size):
            self._write(found.md5, data)
        return found

    def _has(self, md5: str, size: int) -> bool:
        try:
            return os.stat(f"{self._cache}/{md5[:2]}/{md5[2:]}").st_size == size  # noqa: PTH116  a Path costs more than the look
        except FileNotFoundError:
            return False

    def _write(self, md5: str, data: bytes) -> None:
        target = Path(self._cache, md5[:2], md5[2:])
        target.parent.mkdir(parents=True, exist_ok=True)
        self._draft.unlink(missing_ok=True)
        self._draft.write_bytes(data)
        self._draft.chmod(READ_ONLY)
        self._draft.replace(target)

    def _list(self, content_hash: str, found: list[Object]) -> str:
        """Write DVC's list of the files, then the `.dvc` file; from then on the version is there."""
        entries = sorted(({"md5": one.md5, "relpath": one.path} for one in found), key=lambda entry: entry["relpath"])
        data = json.dumps(entries, sort_keys=True).encode()
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
        if not self._has(md5, len(data)):
            self._write(md5, data)
        point(self._root, content_hash, md5, sum(one.size for one in found), len(found))
        return md5

    def _read(self) -> list[tuple[str, Object]]:
        path = self._root / KNOWN
        lines = (line.split(" ", 2) for line in path.read_text().splitlines()) if path.exists() else ()
        found = (Object(fields[2], fields[0], int(fields[1])) for fields in lines if len(fields) == 3)
        return [(one.path.partition(".")[0], one) for one in found]

    def _remember(self, fresh: list[Object]) -> None:
        with (self._root / KNOWN).open("a") as stream:  # a kill may tear the last line: the next begins a new one
            stream.write("".join(f"\n{one.md5} {one.size} {one.path}" for one in fresh))
