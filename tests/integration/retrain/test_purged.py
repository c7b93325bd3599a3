"""What is trained after an erasure is whole: an image whose bytes came again, and labels that say what the erased one's said."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, Project
from labelwheel.errors import DatasetError
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from retrain.dataset import content, version, yolo
from retrain.dataset.add import add
from retrain.dataset.content import Item, Plan
from retrain.dataset.purge import purge
from retrain.dataset.purged import left_out


@pytest.fixture
def items(label: Callable[..., None], database: Database, project: Project) -> Iterator[Item]:
    """Labelled images, each with boxes of its own."""
    label(0, 8, "train")
    with database.read() as session:
        found = content.plan(session, project.id, session.scalars(select(ClassMap)).one(), replay=None, seed=1)
    assert len(set(found.texts)) == 8
    return iter(sorted(found.items, key=lambda item: item.image_id))


@pytest.fixture
def plan(database: Database) -> Callable[..., Plan]:
    def made(*items: Item) -> Plan:
        with database.read() as session:
            known = content.classes_of(session, session.scalars(select(ClassMap)).one())
        return Plan(tuple(sorted(items, key=lambda item: item.sha256)), (), known)

    return made


class Shelf:
    """Versions with a remote, as runs make them and people bring them back."""

    def __init__(self, folder: Path, store: ImageStore, remote: bool) -> None:
        self.root, self.folder, self._store = folder / "datasets", folder, store
        self.remote = str(folder / "remote") if remote else ""

    def add(self, plan: Plan) -> Plan:
        add(plan, self._store, self.root, self.remote)
        return plan

    def purge(self, item: Item) -> None:
        purge(self.root, item.sha256, self.remote)

    def files(self, plan: Plan) -> dict[str, bytes]:
        """A version's folder as its training gets it; where there is a remote, of what that has."""
        if self.remote:
            shutil.rmtree(self.root / version.CACHE)
        shutil.rmtree(self.root / plan.content_hash, ignore_errors=True)
        return held(version.check_out(self.root, plan.content_hash, self.remote))

    def expected(self, plan: Plan, *gone: Item) -> dict[str, bytes]:
        """The folder, without these images and their label files."""
        found = held(yolo.write(plan, self._store, self.folder / f"plain-{plan.content_hash}").parent)
        return {path: data for path, data in found.items() if not any(item.sha256 in path for item in gone)}

    def holds(self, data: bytes) -> bool:
        """Whether these bytes lie anywhere, in whatever copy."""
        folders = (self.root, Path(self.remote)) if self.remote else (self.root,)
        return any(path.read_bytes() == data for folder in folders for path in folder.rglob("*") if path.is_file())

    def bytes_of(self, item: Item) -> bytes:
        return self._store.read(item.uri)


def held(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["here", "remote"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path, settings: Settings) -> Shelf:
    return Shelf(tmp_path, ImageStore(settings.images_dir), request.param == "remote")


def test_bytes_that_came_again_are_trained_on_and_stay_out_of_what_is_old(
    shelf: Shelf, items: Iterator[Item], plan: Callable[..., Plan]
) -> None:
    victim, *others = (next(items) for _ in range(4))
    old = shelf.add(plan(victim, *others))
    shelf.purge(victim)
    assert not shelf.holds(shelf.bytes_of(victim)) and shelf.files(old) == shelf.expected(old, victim)
    between = shelf.add(plan(*others))
    redrawn = replace(victim, label_id=99, boxes=others[0].boxes)  # allowed again, labelled anew
    new = shelf.add(plan(redrawn, *others))
    assert shelf.files(new) == shelf.expected(new)
    assert shelf.files(old) == shelf.expected(old, victim), "no image without its label"
    assert shelf.files(between) == shelf.expected(between)

    shelf.purge(victim)  # erased once more
    assert not shelf.holds(shelf.bytes_of(victim))
    assert (shelf.files(old), shelf.files(new)) == (shelf.expected(old, victim), shelf.expected(new, victim))


def test_a_later_label_that_says_the_same_is_no_background(shelf: Shelf, items: Iterator[Item], plan: Callable[..., Plan]) -> None:
    victim, empty, twin, blank, other = (next(items) for _ in range(5))
    empty, blank, twin = replace(empty, boxes=()), replace(blank, boxes=()), replace(twin, boxes=victim.boxes)
    old = shelf.add(plan(victim, empty, other))
    for erased in (victim, empty):
        shelf.purge(erased)
    text = old.texts[old.items.index(victim)].encode()
    assert not shelf.holds(text)
    new = shelf.add(plan(twin, blank, other))
    assert shelf.files(new) == shelf.expected(new)
    assert shelf.files(old) == shelf.expected(old, victim, empty)
    shelf.purge(twin)
    assert not shelf.holds(text), "of all who said so none is left"
    assert shelf.files(new) == shelf.expected(new, twin)


def test_a_version_that_is_added_again_is_whole(
    items: Iterator[Item], plan: Callable[..., Plan], tmp_path: Path, settings: Settings
) -> None:
    shelf = Shelf(tmp_path, ImageStore(settings.images_dir), remote=False)
    victim, other = next(items), next(items)
    old = shelf.add(plan(victim, other))
    shelf.purge(victim)
    shelf.add(plan(victim))
    assert shelf.files(old) == shelf.expected(old, victim)
    shelf.add(old)
    assert shelf.files(old) == shelf.expected(old)


def test_what_is_lost_does_not_pass_for_purged(
    items: Iterator[Item], plan: Callable[..., Plan], tmp_path: Path, settings: Settings
) -> None:
    shelf = Shelf(tmp_path, ImageStore(settings.images_dir), remote=False)
    victim, twin, other = next(items), next(items), next(items)
    twin = replace(twin, boxes=victim.boxes)
    old = shelf.add(plan(victim, other))
    shelf.purge(victim)
    new = shelf.add(plan(twin, other))
    files = dict(version.listing(shelf.root, shelf.root / f"{new.content_hash}.dvc")[1])
    version.cached(shelf.root, files[f"labels/train/{twin.sha256}.txt"]).unlink()
    assert left_out(shelf.root, new.content_hash) == {victim.sha256}
    with pytest.raises(DatasetError, match="1 of its"):
        shelf.files(new)
    assert shelf.files(old) == shelf.expected(old, victim)
