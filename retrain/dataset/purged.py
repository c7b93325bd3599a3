"""Which images were purged from which dataset versions: a note beside the versions, so that nothing else that is missing passes for it.

A line is the SHA-256 of an image: no version has it. With the content hash of a version behind it: that one has it all the same, for it
was added since, when the same bytes had come again. So what is made anew is whole, whatever was purged, and what was purged stays out of
what is old.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

NOTE = "purged.txt"


def left_out(root: Path, content_hash: str) -> set[str]:
    """SHA-256 of the images that a version lacks, if ever it held them."""
    lines = _read(root)
    return {sha256 for sha256, *of in lines if not of} - {sha256 for sha256, *of in lines if of == [content_hash]}


def leave_out(root: Path, sha256: str) -> None:
    """No version that is there has the image from now on."""
    _write(root, [*(line for line in _read(root) if line[0] != sha256), [sha256]])


def let_in(root: Path, content_hash: str, images: Iterable[str]) -> None:
    """This version has these images, also those that were purged from earlier ones. Again changes nothing."""
    if again := left_out(root, content_hash).intersection(images):
        _write(root, [*_read(root), *([sha256, content_hash] for sha256 in sorted(again))])


def _read(root: Path) -> list[list[str]]:
    note = root / NOTE
    return [line.split() for line in note.read_text().splitlines() if line.strip()] if note.exists() else []


def _write(root: Path, lines: Iterable[Iterable[str]]) -> None:
    """Whole or not at all, by somebody who is alone there."""
    draft = root / f".{NOTE}"
    draft.write_text("".join(f"{' '.join(line)}\n" for line in lines))
    draft.replace(root / NOTE)
