"""Send every image that is written below a folder: `labelwheel watch`.

The folder is the truth, its events are a doorbell: what the kernel dropped, or what came while nobody watched, is found by looking.
A file is sent once it has kept its size and time for a while, so a half-written one is not; should a writer pause for longer, the
door refuses the half, and the whole is sent when it changes again.
"""

from __future__ import annotations

import filecmp
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from watchfiles import watch as changes_below

from console.door import Door, Stopped
from console.ingest import Outcome, ingest
from console.items import image_files, is_image_name, of_file
from labelwheel.errors import InputError

TURN = 500  # milliseconds
RESCAN_SECONDS = 30.0

Signature = tuple[int, int]  # size in bytes, time of the last change in nanoseconds


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched, and what becomes of a file that arrived: moved below `done`, deleted, or left where it is."""

    folder: Path
    source: str | None
    prefix: str = ""
    quiet_seconds: float = 2.0
    done: Path | None = None
    delete: bool = False

    @classmethod
    def of(cls, folder: Path, source: str | None, prefix: str, quiet_seconds: float, done: Path | None, delete: bool) -> Watched:
        """What a person asked for, with whole paths. Raises InputError where it contradicts itself."""
        folder, done = folder.expanduser().resolve(), done.expanduser().resolve() if done else None
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder.", "Name the folder that images are written to.")
        if done and delete:
            raise InputError("A file can be moved or deleted, not both.", "Give --move or --delete.")
        if done and folder.is_relative_to(done):
            raise InputError(f"{done} holds the watched folder.", "Name another folder for what is done.")
        return cls(folder, source, prefix, quiet_seconds, done, delete)

    def holds(self, path: Path) -> bool:
        """Whether a path is one of the images that are sent."""
        moved = self.done is not None and path.is_relative_to(self.done)
        return not moved and path.is_relative_to(self.folder) and is_image_name(path, self.folder)


@dataclass
class Desk:
    """Files that are still being written, and those that are done with, each by its signature."""

    quiet_seconds: float
    waiting: dict[Path, tuple[Signature, float]] = field(default_factory=dict)
    settled: dict[Path, Signature] = field(default_factory=dict)

    def look(self, paths: Iterable[Path], now: float, signature: Callable[[Path], Signature | None]) -> list[Path]:
        """Take note of files; those that kept still for long enough, in name order. `now` is in seconds of any clock."""
        for path in {*paths, *self.waiting}:
            found = signature(path)
            if found is None or self.settled.get(path) == found:
                self.waiting.pop(path, None)
            elif path not in self.waiting or self.waiting[path][0] != found:
                self.waiting[path] = (found, now)
        return sorted(path for path, (found, since) in self.waiting.items() if found[0] and now - since >= self.quiet_seconds)

    def settle(self, path: Path, sent: Signature) -> None:
        """This state of the file is done with; another state of it is not."""
        self.settled[path] = sent
        self.waiting.pop(path, None)

    def forget_all_but(self, paths: Iterable[Path]) -> None:
        """Files that are gone need no memory; those that come back are looked at anew."""
        self.settled = {path: self.settled[path] for path in paths if path in self.settled}


def watch(door: Door, watched: Watched, max_bytes: int, stopping: threading.Event) -> Iterator[Outcome]:
    """Send what lies and what comes below the folder until `stopping` is set. Errors are those of `Door.send`, Stopped aside."""
    desk, scanned = Desk(watched.quiet_seconds), float("-inf")
    turns = changes_below(
        watched.folder,
        watch_filter=None,
        debounce=TURN,
        stop_event=stopping,
        rust_timeout=TURN,
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    for changes in turns:
        touched = [path for _, name in changes if watched.holds(path := Path(name))]
        if time.monotonic() - scanned >= RESCAN_SECONDS:  # at first, too: the watch is on before we look
            touched = [path for path in image_files(watched.folder) if watched.holds(path)]
            desk.forget_all_but(touched)
            scanned = time.monotonic()
        ready = desk.look(touched, time.monotonic(), signature_of)
        try:
            yield from _send(door, watched, desk, ready, max_bytes)
        except Stopped:
            return


def signature_of(path: Path) -> Signature | None:
    """Size and time of a file; None when it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _send(door: Door, watched: Watched, desk: Desk, ready: list[Path], max_bytes: int) -> Iterator[Outcome]:
    sent = {path: desk.waiting[path][0] for path in ready}
    items = [of_file(path, watched.folder, watched.source, watched.prefix) for path in ready]
    for outcome in ingest(door, items, max_bytes) if items else ():
        path = outcome.item.path
        if path is None or signature_of(path) != sent[path]:
            continue  # gone or written again meanwhile: the next look decides
        desk.settle(path, sent[path])
        yield _put_away(watched, outcome, path)


def _put_away(watched: Watched, outcome: Outcome, path: Path) -> Outcome:
    """Move or delete a file whose arrival is confirmed; a refused one stays where it is."""
    if outcome.state == "refused":
        return outcome
    try:
        if watched.delete:
            path.unlink(missing_ok=True)
        elif watched.done:
            move(path, watched.done / path.relative_to(watched.folder))
    except OSError as error:
        return Outcome(outcome.item, "stuck", f"It arrived, but cannot be put away ({error.strerror or error}).")
    return outcome


def move(path: Path, target: Path) -> None:
    """Move a file; what lies there already is never overwritten, and equal bytes are kept once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    number, wanted = 1, target
    while target.exists():
        if filecmp.cmp(path, target, shallow=False):
            path.unlink()
            return
        target = wanted.with_stem(f"{wanted.stem}-{number}")
        number += 1
    shutil.move(path, target)
