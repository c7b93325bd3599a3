"""Dataset versions in DVC: one `.dvc` file per content hash, so that each can be brought back by name. Needs no git and no network."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from labelwheel.errors import DatasetError
from retrain.dataset.purged import left_out

CACHE = Path(".dvc/cache/files/md5")
JPEG = (b"\xff\xd8", b"\xff\xd9")  # how a whole one begins and ends
LOCK_SECONDS = 3600  # DVC itself gives up after 3 s when another add is under way


def keep(root: Path, content_hash: str, remote: str = "") -> str:
    """Store the folder `root / content_hash` as a version, push it if there is a remote, and return DVC's hash of it."""
    with repository(root, remote) as repo:
        try:
            out = repo.add(str(root / content_hash))[0].outs[0]
        except Exception as error:  # DVC's parts raise errors of many packages
            raise DatasetError(f"The dataset could not be stored: {error}", "Look at disk space.") from error
    if remote:
        push(root, content_hash, remote)
    return str(out.hash_info.value)


def push(root: Path, content_hash: str, remote: str) -> None:
    """Copy to the remote what it lacks of a version. Raises DatasetError."""
    with repository(root, remote) as repo:
        try:
            repo.push(targets=[str(_pointer(root, content_hash))])
        except Exception as error:  # see `keep`
            raise DatasetError(
                f"The dataset could not be pushed: {error}", "Look at LABELWHEEL_DVC_REMOTE and at its disk space."
            ) from error


def restore(root: Path, content_hash: str, remote: str = "", *, out: Path | None = None, dvc_hash: str = "") -> Path:
    """Bring a version back as the folder `out` (else `root / content_hash`), exactly as it was stored but for what was purged since.

    What the cache lacks comes from the remote; with DVC's hash of it, that alone is enough. The files are copies, for whoever asked to do
    with as they like. A folder that is there is replaced. Raises DatasetError.
    """
    ready(root, remote)
    with alone(root):
        if not pointed(root, content_hash):
            if not dvc_hash:
                raise DatasetError(f"No dataset version {content_hash} is known.", "See `labelwheel dataset list`.")
            point(root, content_hash, dvc_hash)
        return _check_out(root, content_hash, remote, out or root / content_hash, shutil.copyfile)


def check_out(root: Path, content_hash: str, remote: str = "") -> Path:
    """The folder of a version for a training, of links to DVC's cache; kept when it is there. Raises DatasetError.

    Nobody may write into what is linked. Ultralytics writes one kind of file: it mends JPEGs that were cut short, in place. These are copies.
    """
    folder = root / content_hash
    if not folder.is_dir():
        ready(root, remote)
        with alone(root):
            _check_out(root, content_hash, remote, folder, link)
    return folder


def link(source: Path, target: Path) -> None:
    """The same bytes under another name: a hard link, or a copy where ultralytics would write, or the file system has none."""
    try:
        if source.stat().st_mode & 0o222 or is_cut_short(source):  # writable: not DVC's
            raise OSError("not to be shared")
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def is_cut_short(path: Path) -> bool:
    """Whether ultralytics would mend the file: a JPEG without its end."""
    with path.open("rb") as stream:
        if stream.read(2) != JPEG[0]:
            return False
        stream.seek(-2, os.SEEK_END)
        return stream.read() != JPEG[1]


def drop(root: Path, content_hash: str) -> None:
    """Remove the working copy; the version stays."""
    if _pointer(root, content_hash).is_file():
        shutil.rmtree(root / content_hash, ignore_errors=True)


def listing(root: Path, pointer: Path) -> tuple[Path, list[tuple[str, str]]]:
    """DVC's list of the files of a version in its cache, and what it says: path and MD5 of each; empty when it is not there."""
    import yaml

    oid = str(yaml.safe_load(pointer.read_text())["outs"][0]["md5"])
    file = cached(root, oid)
    try:
        entries = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):  # lost, or torn by a power cut
        entries = []
    return file, [(str(entry["relpath"]), str(entry["md5"])) for entry in entries]


def cached(root: Path, oid: str) -> Path:
    """Where DVC's cache keeps the file of this MD5."""
    return root / CACHE / oid[:2] / oid[2:]


def _check_out(root: Path, content_hash: str, remote: str, folder: Path, place: Callable[[Path, Path], object]) -> Path:
    """Put the files of a version where they belong, all of them or no folder."""
    draft = folder.with_name(f".{folder.name}.draft")
    files = _all(root, content_hash, remote)
    try:
        for leftover in (draft, *root.glob(".*.draft")):
            shutil.rmtree(leftover, ignore_errors=True)
        for parent in {(draft / path).parent for path, _ in files}:
            parent.mkdir(parents=True, exist_ok=True)
        for path, oid in files:
            place(cached(root, oid), draft / path)
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)
    except OSError as error:
        message = f"The dataset {content_hash} could not be written to {folder}: {error}."
        raise DatasetError(
            message, "Look at disk space, and at who may write there; `--out` of a restore may name another folder."
        ) from error
    return folder


def _all(root: Path, content_hash: str, remote: str) -> list[tuple[str, str]]:
    try:
        return _complete(root, content_hash, remote)
    except DatasetError:
        raise
    except Exception as error:  # see `keep`
        raise DatasetError(f"The dataset {content_hash} could not be restored: {error}", "Restore `datasets/.dvc/cache`.") from error


def _complete(root: Path, content_hash: str, remote: str) -> list[tuple[str, str]]:
    """Path and MD5 of the files of a version, without those of purged images. What the cache lacks of them is fetched."""
    pointer, purged = _pointer(root, content_hash), left_out(root, content_hash)
    names, files = listing(root, pointer)
    missing = [cached(root, oid) for _, oid in without(files, purged) if not cached(root, oid).is_file()]
    if remote and (missing or not files):
        with _opened(root, remote) as repo:
            if not purged:
                repo.fetch(targets=[str(pointer)])
            else:  # DVC brings a version back whole or not at all
                fetch(repo, names)
                for _, oid in without(listing(root, pointer)[1], purged):
                    fetch(repo, cached(root, oid))
        missing, files = [], listing(root, pointer)[1]
    if missing or not files:
        what = f"{len(missing)} of its {len(files)} files are gone" if files else "its list of files is gone"
        raise DatasetError(f"The dataset {content_hash} could not be restored: {what}.", "Restore `datasets/.dvc/cache`, or set a remote.")
    return without(files, purged)


def without(files: Iterable[tuple[str, str]], images: set[str]) -> list[tuple[str, str]]:
    """Path and MD5 of files, but for those of these images and for their label files."""
    return [(path, oid) for path, oid in files if PurePosixPath(path).stem not in images]


def fetch(repo: Any, file: Path) -> None:
    """Bring a file that the cache lacks from the remote, whole or not at all. Raises FileNotFoundError when that has none either."""
    odb = repo.cloud.get_remote_odb("store")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}")
        odb.fs.get_file(odb.oid_to_path(file.parent.name + file.name), str(draft))
        draft.replace(file)


def pointed(root: Path, content_hash: str) -> str:
    """DVC's hash of a version that is here; empty when there is none."""
    import yaml

    pointer = _pointer(root, content_hash)
    return str(yaml.safe_load(pointer.read_text())["outs"][0]["md5"]) if pointer.is_file() else ""


def whole(root: Path, content_hash: str) -> str:
    """DVC's hash of a version whose files are all in the cache; empty for any other."""
    dvc_hash = pointed(root, content_hash)
    files = listing(root, _pointer(root, content_hash))[1] if dvc_hash else []
    return dvc_hash if files and all(cached(root, oid).is_file() for _, oid in files) else ""


def point(root: Path, content_hash: str, dvc_hash: str, size: int | None = None, files: int | None = None) -> None:
    """Write the `.dvc` file of a version, whole or not at all."""
    known = {"size": size, "nfiles": files}
    lines = [f"- md5: {dvc_hash}", *(f"  {name}: {value}" for name, value in known.items() if value is not None)]
    draft = root / f".{content_hash}.pointer"
    draft.write_text("\n".join(["outs:", *lines, "  hash: md5", f"  path: {content_hash}", ""]))
    draft.replace(_pointer(root, content_hash))


def _pointer(root: Path, content_hash: str) -> Path:
    return root / f"{content_hash}.dvc"


def ready(root: Path, remote: str) -> None:
    """A repository below `root`, made at the first time."""
    if not (root / ".dvc" / "config").is_file():
        with repository(root, remote):
            return


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """One writer at a time, of all processes; the lock of one that was killed is free."""
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_name(f"{root.name}.lock"), timeout=LOCK_SECONDS):
        yield


@contextmanager
def repository(root: Path, remote: str) -> Iterator[Any]:
    """DVC's repository of all versions, for this process alone while the block lasts."""
    with alone(root), _opened(root, remote) as repo:
        yield repo


@contextmanager
def _opened(root: Path, remote: str) -> Iterator[Any]:
    os.environ["DVC_NO_ANALYTICS"] = "1"
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

    # DVC asks whether the process that a lock names is alive: after a restart another has its number, above all in a container.
    (root / ".dvc/tmp/rwlock").unlink(missing_ok=True)
    (root / ".dvcignore").write_text("*.cache\n")  # ultralytics' index of a folder is no part of the data
    config = root / ".dvc/config"
    if not config.is_file():  # what `Repo.init` does, but no kill leaves half of it
        (root / ".dvc/tmp").mkdir(parents=True, exist_ok=True)
        draft = config.with_name("config.draft")
        draft.write_text("[core]\n    no_scm = True\n")
        draft.replace(config)
    return Repo(str(root))
