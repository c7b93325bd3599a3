"""What a simulation found: every figure with its seed and setting, and what each strategy gained over random and over the control. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from console.simulate.chain import CONTROL
from console.simulate.curve import Mean, Run, by_round, gains, last_gains

RANDOM = "random"
SCORES = ("map50", "map50_95")
AXES = ("images", "boxes")
VALUES = ("images", "boxes", "updates", "map50", "map50_95", "rare", "new", "new_images", "rare_images")


def report(runs: Sequence[Run], setting: Mapping[str, Any]) -> dict[str, Any]:
    """All of it as JSON: `setting`, `runs` (a point each round), `curves` (means over the seeds) and `gains` (paired by seed)."""
    return {
        **setting,
        "runs": [asdict(run) for run in runs],
        "curves": [_curve(runs, regime, name) for regime, name in _pairs(runs)],
        "gains": [_gain(runs, regime, name, over) for over in (RANDOM, CONTROL) for regime, name in _pairs(runs) if name != over],
    }


def rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """The table for a screen: a strategy in a regime each, its last round, and its gain over random by images and by boxes."""
    gained = {(item["regime"], item["strategy"]): item for item in found["gains"] if item["over"] == RANDOM}
    return [_row(curve, gained.get((curve["regime"], curve["strategy"]))) for curve in found["curves"]]


def markdown(found: Mapping[str, Any]) -> str:
    """The same table for a page."""
    table = rows(found)
    heads = list(table[0]) if table else []
    lines = [heads, ["---"] * len(heads), *([row[head] for head in heads] for row in table)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _pairs(runs: Sequence[Run]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((run.regime, run.strategy) for run in runs))


def _curve(runs: Sequence[Run], regime: str, strategy: str) -> dict[str, Any]:
    means = {value: [_told(mean) for mean in by_round(runs, regime, strategy, value)] for value in VALUES}
    return {"regime": regime, "strategy": strategy, **{value: series for value, series in means.items() if series}}


def _gain(runs: Sequence[Run], regime: str, strategy: str, over: str) -> dict[str, Any]:
    """Mean gain along each axis, and the difference of the last round. Over or of the control it goes by updates: it labels nothing."""
    axes = ("updates",) if CONTROL in (strategy, over) else AXES
    along = {f"{score}_by_{axis}": gains(runs, regime, strategy, over, axis, score) for axis in axes for score in SCORES}
    last = {f"{score}_last": last_gains(runs, regime, strategy, over, score) for score in (*SCORES, "rare", "new")}
    told = {name: _told(mean) for name, mean in {**along, **last}.items() if mean}
    return {"regime": regime, "strategy": strategy, "over": over, **told}


def _told(mean: Mean) -> dict[str, Any]:
    values = {name: _number(getattr(mean, name)) for name in ("mean", "error", "half_width")}
    return {**values, "seeds": mean.count, "verdict": mean.verdict}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _row(curve: Mapping[str, Any], gained: Mapping[str, Any] | None) -> dict[str, str]:
    last, found = {value: curve[value][-1] for value in VALUES if value in curve}, gained or {}
    novel = f"{last['new_images']['mean']:.0f} / {last['rare_images']['mean']:.0f}" if "new" in last else ""
    return {
        "regime": curve["regime"],
        "strategy": curve["strategy"],
        "images": f"{last['images']['mean']:.0f}",
        "boxes": f"{last['boxes']['mean']:.0f}",
        "new source / rare label": novel,
        "mAP50": _with_error(last["map50"]),
        "mAP50-95": _with_error(last["map50_95"]),
        "over random, by images": _with_interval(found.get("map50_by_images") or found.get("map50_by_updates")),
        "by boxes": _with_interval(found.get("map50_by_boxes")),
    }


def _with_error(mean: Mapping[str, Any]) -> str:
    return f"{mean['mean']:.3f}" + (f" ± {mean['error']:.3f}" if mean["error"] is not None else "")


def _with_interval(mean: Mapping[str, Any] | None) -> str:
    """A difference with its 95 % interval, and what is to be made of it."""
    if mean is None:
        return ""
    if mean["half_width"] is None:
        return f"{mean['mean']:+.3f} (one seed)"
    return f"{mean['mean']:+.3f} ± {mean['half_width']:.3f} ({mean['verdict']})"
