"""Dataset versions with the real DVC: what `add` makes is what DVC makes, only new files are written, and each comes back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, Project
from labelwheel.errors import DatasetError
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.image import digest
from retrain.dataset import content, version, yolo
from retrain.dataset.add import KNOWN, add
from retrain.dataset.content import Plan


@pytest.fixture
def store(settings: Settings) -> ImageStore:
    return ImageStore(settings.images_dir)


@pytest.fixture
def plan(database: Database, project: Project) -> Callable[[], Plan]:
    def gather() -> Plan:
        with database.read() as session:
            return content.plan(session, project.id, session.scalars(select(ClassMap)).one(), replay=None, seed=1)

    return gather


def cache(root: Path) -> dict[str, int]:
    """Objects in DVC's cache, each with its inode: a file that was written again has another."""
    return {str(path): path.stat().st_ino for path in (root / version.CACHE).rglob("*") if path.is_file()}


def held(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_version_is_what_dvc_makes_of_the_folder_and_the_next_writes_only_what_is_new(
    label: Callable[..., None], plan: Callable[[], Plan], store: ImageStore, tmp_path: Path
) -> None:
    root, remote = tmp_path / "datasets", str(tmp_path / "remote")
    label(0, 6, "train")
    label(6, 2, "holdout")
    first = plan()
    made = add(first, store, root, remote)
    yolo.write(first, store, tmp_path / "other" / first.content_hash)
    assert version.keep(tmp_path / "other", first.content_hash) == made
    assert (root / f"{first.content_hash}.dvc").read_text() == (tmp_path / "other" / f"{first.content_hash}.dvc").read_text()
    before = cache(root)
    label(8, 2, "train")
    second = plan()
    assert add(second, store, root, remote) != made
    after = cache(root)
    assert before.items() <= after.items()
    assert len(after) - len(before) == 2 * 2 + 2, "two images, two labels, the manifest, the list of files"
    assert add(second, store, root, remote) and cache(root) == after

    folder = version.check_out(root, second.content_hash)
    expected = held(yolo.write(second, store, tmp_path / "plain").parent)
    assert held(folder) == expected
    version.drop(root, second.content_hash)
    shutil.rmtree(root)  # only the remote is left
    out = version.restore(root, second.content_hash, remote, out=tmp_path / "out", dvc_hash=add(second, store, tmp_path / "again"))
    assert held(out) == expected
    assert all(path.stat().st_nlink == 1 and os.access(path, os.W_OK) for path in out.rglob("*") if path.is_file())


def test_what_is_lost_is_written_again(label: Callable[..., None], plan: Callable[[], Plan], store: ImageStore, tmp_path: Path) -> None:
    root = tmp_path / "datasets"
    label(0, 3, "train")
    made = add(plan(), store, root)
    objects = sorted((root / version.CACHE).rglob("*/*"))
    objects[0].unlink()
    objects[1].chmod(0o644)
    objects[1].write_bytes(b"")  # as a power cut leaves it
    (root / KNOWN).write_text((root / KNOWN).read_text()[:-7])  # torn by a kill
    with pytest.raises(DatasetError, match="could not be restored"):
        version.restore(root, plan().content_hash)
    label(3, 1, "train")
    add(plan(), store, root)
    assert held(version.check_out(root, plan().content_hash)) == held(yolo.write(plan(), store, tmp_path / "plain").parent)
    (root / f"{plan().content_hash}.dvc").unlink()
    assert add(plan(), store, root) != made


def test_what_a_training_may_write_to_is_its_own(tmp_path: Path) -> None:
    """Ultralytics mends JPEGs without an end in place; as root it may, whatever the file's mode."""
    whole, cut = tmp_path / "whole.jpg", tmp_path / "cut.jpg"
    data = cv2.imencode(".jpg", cv2.imread(str(_png(tmp_path))))[1].tobytes()
    whole.write_bytes(data)
    cut.write_bytes(data[:-2])
    for path in (whole, cut):
        path.chmod(0o444)
        version.link(path, path.with_name(f"linked-{path.name}"))
    assert (tmp_path / "linked-whole.jpg").samefile(whole)
    mended = tmp_path / "linked-cut.jpg"
    assert not mended.samefile(cut) and os.access(mended, os.W_OK)
    mended.write_bytes(data)
    assert cut.read_bytes() == data[:-2]


def test_a_training_never_reaches_cache_or_store_through_its_folder(
    label: Callable[..., None], plan: Callable[[], Plan], store: ImageStore, tmp_path: Path
) -> None:
    root = tmp_path / "datasets"
    label(0, 2, "train")
    add(plan(), store, root)
    folder = version.check_out(root, plan().content_hash)
    cached = {path.stat().st_ino for path in (root / version.CACHE).rglob("*") if path.is_file()}
    stored = {path.stat().st_ino for path in store.root.rglob("*") if path.is_file()}
    linked = {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}
    assert linked <= cached and not (linked | cached) & stored
    assert all(path.stat().st_mode & 0o222 == 0 for path in folder.rglob("*") if path.is_file())
    assert all(digest(path.read_bytes()) == path.stem for path in folder.glob("images/*/*"))


def test_what_a_kill_left_is_cleaned_up_and_no_half_version_is_seen(
    label: Callable[..., None], plan: Callable[[], Plan], store: ImageStore, tmp_path: Path
) -> None:
    root = tmp_path / "datasets"
    label(0, 3, "train")

    def kill() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add(plan(), store, root, "", kill)
    assert not list(root.glob("?*.dvc")) and not version.pointed(root, plan().content_hash)
    made = add(plan(), store, root)
    (root / ".gone.draft/images").mkdir(parents=True)
    folder = version.check_out(root, plan().content_hash)
    assert not list(root.glob(".*.draft")) and version.keep(root, folder.name) == made


def _png(tmp_path: Path) -> Path:
    from tests.fixtures.shapes import draw

    path = tmp_path / "shape.png"
    path.write_bytes(cv2.imencode(".png", draw(1)[0])[1].tobytes())
    return path


def test_versions_come_back_exactly_locally_and_from_a_remote(tmp_path: Path) -> None:
    root, remote = tmp_path / "datasets", str(tmp_path / "remote")
    for name in ("one", "two"):
        (root / name / "labels").mkdir(parents=True)
        (root / name / "labels/a.txt").write_text(name)
        (root / name / "same.txt").write_text("in both")
    first = version.keep(root, "one", remote)
    assert version.keep(root, "two", remote) != first
    assert version.keep(root, "one", remote) == first

    (root / "one/labels/a.txt").write_text("ultralytics was here")
    (root / "one/labels/train.cache").write_text("and here")
    version.restore(root, "one", remote)
    assert held(root / "one") == {"labels/a.txt": b"one", "same.txt": b"in both"}

    version.drop(root, "two")
    assert not (root / "two").exists()
    shutil.rmtree(root / ".dvc/cache")
    assert (version.restore(root, "two", remote) / "labels/a.txt").read_text() == "two"


def test_an_unknown_version_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No dataset version"):
        version.restore(tmp_path, "nothing")


def test_a_folder_that_cannot_be_written_to_is_not_blamed_on_the_cache(tmp_path: Path) -> None:
    root = tmp_path / "datasets"
    (root / "one").mkdir(parents=True)
    (root / "one/a.txt").write_text("one")
    version.keep(root, "one")
    with pytest.raises(DatasetError, match="could not be written to") as told:
        version.restore(root, "one", out=root / "one/a.txt/below")
    assert "cache" not in str(told.value) and "--out" in told.value.cure


@pytest.mark.parametrize("left", ["another's", "cut short"])
def test_what_a_killed_process_left_stands_in_nobodys_way(tmp_path: Path, left: str) -> None:
    root = tmp_path / "datasets"
    (root / "one").mkdir(parents=True)
    (root / "one/a.txt").write_text("a")
    (root / ".dvc").mkdir()  # it died while it made the repository
    stored = version.keep(root, "one")
    assert (root / ".dvcignore").read_text() == "*.cache\n"
    lock = root / ".dvc/tmp/rwlock"
    holder = {str(root / "one"): {"write": {"pid": os.getpid(), "cmd": "dvc add"}, "read": []}}  # its number is somebody else's by now
    lock.write_text("{" if left == "cut short" else json.dumps(holder))
    (root / "one/b.txt").write_text("b")
    assert version.keep(root, "one") != stored
