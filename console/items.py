"""What a person names on the command line, as images to send: a folder, an image, a list of both, or a web address."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from labelwheel.errors import InputError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
LISTS = {".txt", ".lst"}
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Item:
    """One image to send: a file, or an address to fetch it from. `external_id` is its name for ever."""

    source: str
    external_id: str
    path: Path | None = None
    url: str = ""

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return _texts([str(self.path)])[0] if self.path else without_secrets(self.url)


def items_of(what: str, source: str | None, prefix: str = "") -> list[Item]:
    """The images that `what` stands for, in name order; InputError when there are none.

    A list (`.txt`, `.lst`, or `-` for standard input) has one path or address in each line; paths count from the list's folder.
    """
    path = Path(what).expanduser()
    if is_url(what):
        return [of_url(what, source, prefix)]
    if what == STDIN:
        return _of_list(sys.stdin.read(), Path(), source, prefix)
    if path.is_dir():
        return of_folder(path, source, prefix)
    if not path.is_file():
        raise InputError(f"{what} is not there.", "Name a folder, an image, a list of images (.txt), or an http(s) address.")
    if path.suffix.lower() in LISTS:
        return _of_list(_text(path), path.parent, source, prefix)
    return [of_file(path, path.parent, source, prefix)]


def of_folder(folder: Path, source: str | None, prefix: str = "") -> list[Item]:
    """Images below a folder; InputError when there are none."""
    found = [of_file(path, folder, source, prefix) for path in image_files(folder)]
    if not found:
        raise InputError(f"There are no images below {folder}.", f"Known kinds: {', '.join(sorted(SUFFIXES))}.")
    return found


def image_files(folder: Path) -> list[Path]:
    """Files below a folder that are named as images are, in name order."""
    return sorted(path for path in folder.rglob("*") if is_image_name(path, folder) and path.is_file())


def is_image_name(path: Path, folder: Path) -> bool:
    """Whether it is named as an image. Hidden files are what rsync and others are still writing."""
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)


def of_file(path: Path, folder: Path, source: str | None, prefix: str = "") -> Item:
    """A file. Its source is the given one, else the sub-folder of `folder` that it lies in, else the name of its own folder."""
    inside = path.is_relative_to(folder)
    parts = _texts(path.relative_to(folder if inside else path.anchor).parts)
    source = source or (parts[0] if inside and len(parts) > 1 else _texts([path.parent.resolve().name])[0])
    return Item(source, prefix + _under(source, parts), path)


def of_url(url: str, source: str | None, prefix: str = "") -> Item:
    """An image on the web. Its id is host and path: queries of signed addresses change, and may be secret."""
    parts = _split(url)
    host = parts.hostname or "web"
    source = source or host
    return Item(source, prefix + _under(source, [host, *unquote(parts.path).strip("/").split("/")]), None, url)


def is_url(what: str) -> bool:
    return what.lower().startswith(("http://", "https://"))


def without_secrets(url: str) -> str:
    """An address as it may be shown: no login, no query."""
    parts = _split(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _of_list(text: str, folder: Path, source: str | None, prefix: str) -> list[Item]:
    lines = (line.strip() for line in text.splitlines())
    found = [_of_line(line, folder, source, prefix) for line in lines if line and not line.startswith("#")]
    if not found:
        raise InputError("The list names no images.", "Write one path or address in each line.")
    return found


def _of_line(line: str, folder: Path, source: str | None, prefix: str) -> Item:
    if is_url(line):
        return of_url(line, source, prefix)
    return of_file(Path(os.path.normpath(folder / Path(line).expanduser())), folder, source, prefix)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list {path} cannot be read ({error}).", "Write one path or address in each line, in UTF-8.") from error


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # a bracket too few: fetching it will say so, and a list goes on
        return SplitResult("http", "invalid", "/", "", "")


def _under(source: str, parts: Iterable[str]) -> str:
    """The source before the path: equal file names of two lines are two images."""
    names = list(parts)
    return "/".join(names if names[0] == source and len(names) > 1 else [source, *names])


def _texts(names: Iterable[str]) -> list[str]:
    return [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]  # names that are not UTF-8 stay distinct
