"""What one run was asked for instead of what the settings say: where it starts and its recipe. Read when it is asked, not when it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from labelwheel.architectures import read_architecture
from labelwheel.augmentations import read_augmentations
from labelwheel.errors import InputError
from labelwheel.wording import faults

CHAMPION, SCRATCH = "champion", "scratch"

Spell = Callable[[str], str]  # a field's name → what the door that it came through calls it


def _readable(text: str | None) -> str | None:
    read_augmentations(text or "")
    return text


def _known(name: str | None) -> str | None:
    return read_architecture(name) if name else None


class Asked(BaseModel):
    """A part of `TrainingRun.request`; what is None is as the settings say. `start` "" is the champion, and scratch where there is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    start: str = Field(default="", max_length=200, description="`champion`, `scratch`, or a version: `grade@3`.")
    updates: int | None = Field(default=None, ge=1, le=10_000_000, description="Optimiser steps.")
    image_size: int | None = Field(default=None, ge=32, le=2048, multiple_of=32, description="Side of the network's input, in pixels.")
    batch_size: int | None = Field(default=None, ge=1, le=1024, description="Images in one update.")
    learning_rate: float | None = Field(
        default=None, gt=0, le=1, allow_inf_nan=False, description="AdamW's; taken as it is, also by a warm start."
    )
    architecture: Annotated[str | None, AfterValidator(_known)] = Field(
        default=None, description="Ultralytics architecture, from scratch alone."
    )
    freeze: int | None = Field(default=None, ge=0, le=100, description="So many of the first layers keep their weights.")
    augmentations: Annotated[str | None, AfterValidator(_readable)] = Field(default=None, description="Such as `fliplr=0 degrees=10`.")

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Asked:
        """From a run's row, which may hold more: who asked, and why."""
        return cls.model_validate({name: value for name, value in request.items() if name in cls.model_fields})

    def stored(self) -> dict[str, Any]:
        """For the row: what was asked for, and nothing else."""
        return self.model_dump(exclude_defaults=True)


def read_asked(given: Mapping[str, Any], spell: Spell = str) -> Asked:
    """Raises InputError that names each field that does not fit, as its door calls it, and what fits."""
    try:
        return Asked.model_validate(dict(given))
    except ValidationError as error:
        found = faults(error, lambda place: spell(".".join(map(str, place))))
        known = ", ".join(map(spell, Asked.model_fields))
        raise InputError(f"A run cannot be asked for that: {found}.", f"A run may be asked for {known}.") from error
