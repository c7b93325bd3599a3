"""A decision that can be made again: what a choice was made from, as it is stored, and the choice that follows from it."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from labelwheel.database.tables import Decision
from labelwheel.errors import NotFoundError
from sync.selection.budget import FIRST_BATCH
from sync.selection.candidate import Candidate, Selection
from sync.selection.choose import choose, choose_first
from sync.selection.rules import Rules
from sync.selection.score import Found
from sync.selection.similar import Known, Vector

PACKED = ("candidates", "known")  # of the inputs: what takes room


def inputs_of(rules: Rules, seed: int, candidates: Iterable[Candidate], known: Iterable[Known]) -> dict[str, Any]:
    """All that a choice followed from, JSON-ready. Boxes and vectors are packed: they are many, and nobody reads them."""
    return {
        "rules": asdict(rules),
        "seed": seed,
        "candidates": _pack([_candidate(entry) for entry in candidates]),
        "known": _pack([_known(entry) for entry in known]),
    }


def without_packed(inputs: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The inputs without what a choice was made from, and since when that is so."""
    return {**{name: value for name, value in inputs.items() if name not in PACKED}, "forgotten_at": now.isoformat()}


def holds(inputs: Mapping[str, Any], image_ids: Collection[int]) -> bool:
    """Whether a choice was made from one of these images, among others, and what was seen of it is still there."""
    return any(entry["image_id"] in image_ids for name in PACKED if name in inputs for entry in _unpack(inputs[name]))


def without_images(inputs: Mapping[str, Any], image_ids: Collection[int]) -> dict[str, Any]:
    """The inputs without all that they hold of these images, and that something was taken out."""
    packed = {name: _unpack(inputs[name]) for name in PACKED if name in inputs}
    kept = {name: _pack([entry for entry in entries if entry["image_id"] not in image_ids]) for name, entries in packed.items()}
    return {**inputs, **kept, "erased": True}


def replay(decision: Decision) -> Selection:
    """Choose again from what the decision was made from. NotFoundError when that is forgotten, or some of it was erased."""
    inputs = decision.inputs
    if inputs.get("erased"):
        message = f"An image that decision {decision.id} chose from was erased since."
        raise NotFoundError(message, "Its verdict, reasons and rules stay; the choice cannot be made again without that image.")
    if "forgotten_at" in inputs:
        raise NotFoundError(f"What decision {decision.id} chose from is forgotten.", "LABELWHEEL_REPLAY_DAYS says how long it is kept.")
    rules, seed = Rules(**inputs["rules"]), int(inputs["seed"])
    candidates = [_candidate_again(entry) for entry in _unpack(inputs["candidates"])]
    if decision.kind == FIRST_BATCH:
        return choose_first(candidates, rules, seed)
    return choose(candidates, rules, [_known_again(entry) for entry in _unpack(inputs["known"])], seed)


def _candidate(entry: Candidate) -> dict[str, Any]:
    names = ("capture_id", "image_id", "source", "audit", "detections", "drifted", "novelty", "propensity")
    return {name: getattr(entry, name) for name in names} | _vectors(entry, ("descriptor", "embedding"))


def _known(entry: Known) -> dict[str, Any]:
    names = ("image_id", "source", "detections", "drawn")
    return {name: getattr(entry, name) for name in names} | _vectors(entry, ("descriptor",))


def _candidate_again(entry: Mapping[str, Any]) -> Candidate:
    return Candidate(**_again(entry, ("descriptor", "embedding")))


def _known_again(entry: Mapping[str, Any]) -> Known:
    return Known(**_again(entry, ("descriptor",)))


def _again(entry: Mapping[str, Any], vectors: tuple[str, ...]) -> dict[str, Any]:
    found = entry["detections"]
    seen = None if found is None else tuple(Found(label, confidence, tuple(box)) for label, confidence, box in found)
    return {**entry, "detections": seen, **{name: _read(entry[name]) for name in vectors}}


def _vectors(entry: Any, names: tuple[str, ...]) -> dict[str, str | None]:
    return {name: _written(getattr(entry, name)) for name in names}


def _written(vector: Vector | None) -> str | None:
    return None if vector is None else base64.b64encode(np.asarray(vector, np.float32).tobytes()).decode()


def _read(text: str | None) -> Vector | None:
    return None if text is None else np.frombuffer(base64.b64decode(text), dtype=np.float32)


def _pack(entries: list[dict[str, Any]]) -> str:
    return base64.b64encode(zlib.compress(json.dumps(entries, separators=(",", ":")).encode(), 6)).decode()


def _unpack(text: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(zlib.decompress(base64.b64decode(text)))
    return entries
