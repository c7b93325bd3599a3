"""Take an image out of every dataset version: its working trees, DVC's cache and the remote. What else uses the bytes keeps them.

A version stays known by its hash and its list of files; brought back, it lacks the image (see `retrain.dataset.purged`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from retrain.dataset.purged import leave_out, left_out
from retrain.dataset.version import cached, fetch, listing, repository, without


@dataclass
class Purged:
    """Content hashes of the versions that held it, and how many files went: of working trees, of the cache, of the remote."""

    datasets: list[str] = field(default_factory=list)
    files: int = 0
    cached: int = 0
    remote: int = 0


def purge(root: Path, sha256: str, remote: str = "") -> Purged:
    """Purge the image and its label files from the versions below `root`. Again finds nothing. Raises DatasetError."""
    done = Purged()
    if not (root / ".dvc").is_dir():
        return done
    with repository(root, remote) as repo:
        if remote:
            _bring_lists(repo, root)
        mine, others = _objects(root, sha256, done)
        gone = sorted(mine - others)
        leave_out(root, sha256)
        done.cached = sum(_unlink(cached(root, oid)) for oid in gone)
        if remote and gone:
            done.remote = _discard(repo.cloud.get_remote_odb("store"), gone)
    done.files = sum(_unlink(path) for path in _working(root, sha256))
    return done


def _bring_lists(repo: Any, root: Path) -> None:
    """The lists of files that the cache lost: the remote may hold what they name."""
    for pointer in root.glob("*.dvc"):
        if pointer.is_file():
            with suppress(FileNotFoundError):
                fetch(repo, listing(root, pointer)[0])


def _discard(odb: Any, oids: Iterable[str]) -> int:
    """Remove objects from the remote, and what DVC remembers of it: what it takes for there, it would not push again."""
    from dvc_data.hashfile.db import get_index

    with closing(get_index(odb)) as index:
        index.clear()
    there = [path for path in map(odb.oid_to_path, oids) if odb.fs.exists(path)]
    for path in there:
        odb.fs.remove(path)
    return len(there)


def _objects(root: Path, sha256: str, done: Purged) -> tuple[set[str], set[str]]:
    """MD5 of the files of the image, and those of all other files that a version has; the versions that hold it are noted."""
    mine, others = set[str](), set[str]()
    for name, files in _versions(root):
        held = {oid for path, oid in files if PurePosixPath(path).stem == sha256}
        others |= {oid for path, oid in without(files, {sha256, *left_out(root, name)})}
        if held:
            done.datasets.append(name)
            mine |= held
    return mine, others


def _versions(root: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each version's name, and the path and MD5 of each of its files."""
    for pointer in sorted(root.glob("*.dvc")):
        if pointer.is_file():
            yield pointer.stem, listing(root, pointer)[1]


def _working(root: Path, sha256: str) -> Iterator[Path]:
    return (path for folder in ("images", "labels") for path in root.glob(f"*/{folder}/*/{sha256}.*"))


def _unlink(path: Path) -> bool:
    try:
        path.chmod(0o644)
        path.unlink()
    except FileNotFoundError:
        return False
    return True
