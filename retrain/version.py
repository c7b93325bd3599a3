"""Dataset versions in DVC: one `.dvc` file per content hash, so that each can be brought back by name. Needs no git and no network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from labelwheel.errors import DatasetError

LOCK_SECONDS = 3600  # DVC itself gives up after 3 s when another add is under way


def keep(root: Path, content_hash: str, remote: str = "") -> str:
    """Store the folder `root / content_hash` as a version, push it if there is a remote, and return DVC's hash of it."""
    with _repository(root, remote) as repo:
        try:
            out = repo.add(str(root / content_hash))[0].outs[0]
            if remote:
                repo.push(targets=[str(_pointer(root, content_hash))])
        except Exception as error:  # DVC's parts raise errors of many packages
            raise DatasetError(f"The dataset could not be stored: {error}", "Look at disk space and LABELWHEEL_DVC_REMOTE.") from error
        return str(out.hash_info.value)


def restore(root: Path, content_hash: str, remote: str = "") -> Path:
    """Bring a version back as `root / content_hash`, exactly as it was stored. Raises DatasetError if it is not known."""
    pointer = _pointer(root, content_hash)
    if not pointer.is_file():
        raise DatasetError(f"No dataset version {content_hash} is known.", "List them: the `.dvc` files in the `datasets` folder.")
    with _repository(root, remote) as repo:
        try:
            if remote:
                repo.fetch(targets=[str(pointer)])
            repo.checkout(targets=[str(pointer)], force=True)
        except Exception as error:  # see `keep`
            raise DatasetError(f"The dataset {content_hash} could not be restored: {error}", "Restore `datasets/.dvc/cache`.") from error
    return root / content_hash


def drop(root: Path, content_hash: str) -> None:
    """Remove the working copy; the version stays."""
    if _pointer(root, content_hash).is_file():
        shutil.rmtree(root / content_hash, ignore_errors=True)


def _pointer(root: Path, content_hash: str) -> Path:
    return root / f"{content_hash}.dvc"


@contextmanager
def _repository(root: Path, remote: str) -> Iterator[Any]:
    os.environ["DVC_NO_ANALYTICS"] = "1"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_name(f"{root.name}.lock"), timeout=LOCK_SECONDS):
        repo = _open(root)
        try:
            with repo.config.edit() as config:
                config["core"].update(analytics=False, check_update=False)
                if remote:
                    config["core"]["remote"] = "store"
                    config["remote"] = {"store": {"url": remote}}
            yield repo
        finally:
            repo.close()


def _open(root: Path) -> Any:
    from dvc.repo import Repo

    if (root / ".dvc").is_dir():
        return Repo(str(root))
    repo = Repo.init(str(root), no_scm=True)
    (root / ".dvcignore").write_text("*.cache\n")  # ultralytics' index of a folder is no part of the data
    return repo
