"""Dataset versions in DVC: one `.dvc` file per content hash, so that each can be brought back by name. Needs no git and no network."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from labelwheel.errors import DatasetError

CACHE = Path(".dvc/cache/files/md5")
PURGED = "purged.txt"  # MD5 of files that `retrain.dataset.purge` took out
LOCK_SECONDS = 3600  # DVC itself gives up after 3 s when another add is under way


def keep(root: Path, content_hash: str, remote: str = "") -> str:
    """Store the folder `root / content_hash` as a version, push it if there is a remote, and return DVC's hash of it."""
    with repository(root, remote) as repo:
        try:
            out = repo.add(str(root / content_hash))[0].outs[0]
            if remote:
                repo.push(targets=[str(_pointer(root, content_hash))])
        except Exception as error:  # DVC's parts raise errors of many packages
            raise DatasetError(f"The dataset could not be stored: {error}", "Look at disk space and LABELWHEEL_DVC_REMOTE.") from error
        return str(out.hash_info.value)


def restore(root: Path, content_hash: str, remote: str = "") -> Path:
    """Bring a version back as `root / content_hash`, exactly as it was stored but for what was purged since. Raises DatasetError."""
    pointer = _pointer(root, content_hash)
    if not pointer.is_file():
        raise DatasetError(f"No dataset version {content_hash} is known.", "List them: the `.dvc` files in the `datasets` folder.")
    with repository(root, remote) as repo:
        try:
            if (root / PURGED).exists():
                _bring_back_what_is_there(repo if remote else None, root, content_hash)
                return root / content_hash
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


def listing(root: Path, pointer: Path) -> tuple[Path, list[tuple[str, str]]]:
    """DVC's list of the files of a version in its cache, and what it says: path and MD5 of each; empty when it is not there."""
    import yaml

    oid = str(yaml.safe_load(pointer.read_text())["outs"][0]["md5"])
    file = cached(root, oid)
    entries = json.loads(file.read_text()) if file.is_file() else []
    return file, [(str(entry["relpath"]), str(entry["md5"])) for entry in entries]


def cached(root: Path, oid: str) -> Path:
    """Where DVC's cache keeps the file of this MD5."""
    return root / CACHE / oid[:2] / oid[2:]


def _bring_back_what_is_there(repo: Any, root: Path, content_hash: str) -> None:
    """DVC brings a version back whole or not at all: once something was purged, it is done file by file. `repo` of a remote, or None."""
    pointer, folder, draft = _pointer(root, content_hash), root / content_hash, root / f".{content_hash}.draft"
    if repo is not None:
        _fetch(repo, listing(root, pointer)[0])
    purged, files = set((root / PURGED).read_text().split()), listing(root, pointer)[1]
    if not files:
        raise DatasetError("its list of files is gone")
    shutil.rmtree(draft, ignore_errors=True)
    for path, oid in files:
        if oid in purged:
            continue
        if repo is not None:
            _fetch(repo, cached(root, oid))
        (draft / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cached(root, oid), draft / path)
    shutil.rmtree(folder, ignore_errors=True)
    draft.replace(folder)


def _fetch(repo: Any, file: Path) -> None:
    odb = repo.cloud.get_remote_odb("store")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}")
        odb.fs.get_file(odb.oid_to_path(file.parent.name + file.name), str(draft))
        draft.replace(file)


def _pointer(root: Path, content_hash: str) -> Path:
    return root / f"{content_hash}.dvc"


@contextmanager
def repository(root: Path, remote: str) -> Iterator[Any]:
    """DVC's repository of all versions, for this process alone while the block lasts."""
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
