"""Dataset versions with the real DVC."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelwheel.errors import DatasetError
from retrain.dataset import version


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
    assert (root / "one/labels/a.txt").read_text() == "one"

    version.drop(root, "two")
    assert not (root / "two").exists()
    _forget_cache(root)
    assert (version.restore(root, "two", remote) / "labels/a.txt").read_text() == "two"


def test_an_unknown_version_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No dataset version"):
        version.restore(tmp_path, "nothing")


def _forget_cache(root: Path) -> None:
    import shutil

    shutil.rmtree(root / ".dvc/cache")
