"""A folder that somebody named to be written to: what its disk refuses is an error that names it, with its cure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelwheel.errors import InputError

CURE = "Name a folder where you may write, on a disk with room."
HOME_CURE = "Set LABELWHEEL_HOME to a folder where you may write, on a disk with room."


@contextmanager
def into(folder: Path, cure: str = CURE) -> Iterator[None]:
    """InputError in place of an OSError of what is done to the folder."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{folder} cannot be written to: {error}.", cure) from error
