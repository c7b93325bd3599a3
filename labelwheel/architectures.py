"""Architectures that ultralytics can train from scratch: read from the files of its package, because importing it would load torch."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def read_architecture(name: str) -> str:
    """The name as it is. ValueError that names those that are known."""
    families = known()
    if name not in {family + size for family, sizes in families.items() for size in ("", *sizes)}:
        told = ", ".join(family + "/".join(sizes) for family, sizes in families.items())
        raise ValueError(f"{name!r} is no architecture of ultralytics; known are {told}")
    return name


@cache
def known() -> dict[str, tuple[str, ...]]:
    """Family → its sizes, none where the name says all. Detection alone: what ultralytics makes of a family for other tasks has a hyphen."""
    package = find_spec("ultralytics")
    folders = (package.submodule_search_locations if package else None) or []
    files = [file for folder in folders for file in (Path(folder) / "cfg" / "models").rglob("*.yaml") if file.stem.isalnum()]
    return {file.stem: _sizes(file) for file in sorted(files, key=lambda file: file.stem)}


def _sizes(file: Path) -> tuple[str, ...]:
    """Letters of the entries below `scales:`. A file whose name ends in a letter is of one size."""
    if file.stem[-1].isalpha():
        return ()
    _, _, scales = file.read_text().partition("\nscales:")
    return tuple(re.findall(r"^ +([a-z]): \[", scales.partition("\nbackbone:")[0], re.MULTILINE))
