"""How many label errors the check finds on a labelled folder: one error is planted in a tenth of the images, and each half is judged by a
model that was trained on the other half, errors and all.

    LABEL_ERRORS_DATA=folder .venv/bin/python -m pytest tests/benchmarks/test_label_errors.py -s

The folder is in YOLO's format (images/, labels/, classes.txt). `LABEL_ERRORS_SEED` repeats a run; `LABEL_ERRORS_UPDATES` (3000) and
`LABEL_ERRORS_SIDE` (320 pixels) say how long and how large is trained: half an hour on two cores that have nothing else to do. Weights and
detections are kept in `var/label-errors`, so that judging anew takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwheel.vision.detection import Detection
from retrain.gate.precision import map50, match
from sync.doubts.compare import compare
from sync.doubts.doubt import doubt_each
from tests.fixtures import figures
from tests.fixtures.crossfit import SIDE, Labelled, detections, read, spoil
from tests.fixtures.planted import KINDS

DATA = os.environ.get("LABEL_ERRORS_DATA", "")
SHARE = 0.1
RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
FOLDER = figures.ROOT / "var" / "label-errors"

pytestmark = [pytest.mark.skipif(not DATA, reason="LABEL_ERRORS_DATA names no folder"), pytest.mark.timeout(4 * 3600)]


def test_label_errors_are_found() -> None:
    seed = int(os.environ.get("LABEL_ERRORS_SEED") or np.random.SeedSequence().generate_state(1)[0])
    updates = int(os.environ.get("LABEL_ERRORS_UPDATES", "3000"))
    print(f"\nseed {seed}")
    names, images = read(Path(DATA))
    spoilt = spoil(images, names, SHARE, seed)
    folder = FOLDER / f"{seed}-{updates}-{SIDE}"
    seen = detections(folder, names, spoilt, updates, seed)
    scores = judged(spoilt, seen)
    found = {
        "seed": seed,
        "updates": updates,
        "side": SIDE,
        "map50": accuracy(names, spoilt, seen),
        "images": len(spoilt),
        **curve(scores, spoilt),
    }
    figures.write("bench/label-errors.json", found)
    draw(scores, spoilt, figures.ROOT / "var" / "bench" / "label-errors.png")
    assert found["area"] > 0.5, "worse than a coin"


def judged(images: Sequence[Labelled], seen: Sequence[Sequence[Detection]]) -> np.ndarray:
    """Scores of the labels; each half is judged by what is known of its own model."""
    views = dict(enumerate(compare(image.boxes, found) for image, found in zip(images, seen, strict=True)))
    middle = len(views) // 2
    halves = ({key: view for key, view in views.items() if (key < middle) == first} for first in (True, False))
    found = {key: one.score for half in halves for key, one in doubt_each(half, {}).items()}
    return np.array([found[key] for key in views])


def accuracy(names: Sequence[str], images: Sequence[Labelled], seen: Sequence[Sequence[Detection]]) -> list[float]:
    """mAP50 of each half's model on the true boxes of the images that it did not know."""
    middle = len(images) // 2
    halves = ((images[:middle], seen[:middle]), (images[middle:], seen[middle:]))
    found = [map50(match([image.truth for image in half], there, names), np.ones((1, len(half)))) for half, there in halves]
    return [round(float(value[0]), 3) for value in found]


def curve(scores: np.ndarray, images: list[Labelled]) -> dict[str, Any]:
    """Shares of the planted errors, in all and by kind, that are flagged when so many of the clean images are; and precision then."""
    faults = np.array([image.fault for image in images])
    clean = np.sort(scores[faults == ""])
    rows = []
    for rate in RATES:
        limit = float(clean[min(int(rate * len(clean)), len(clean) - 1)])  # so many clean images are below it
        flagged = scores < limit
        shares = {kind: round(float(flagged[faults == kind].mean()), 3) for kind in KINDS}
        rows.append({
            "clean_flagged": round(float(flagged[faults == ""].mean()), 4),
            "below": round(limit, 4),
            "found": round(float(flagged[faults != ""].mean()), 3),
            **shares,
            "precision": round(float((faults[flagged] != "").mean()), 3) if flagged.any() else None,
        })  # fmt: skip
    wrong = scores[faults != ""]
    area = float(np.mean([(clean > score).mean() + (clean == score).mean() / 2 for score in wrong]))
    return {"errors": int((faults != "").sum()), "area": round(area, 4), "curve": rows}


def draw(scores: np.ndarray, images: list[Labelled], path: Path) -> None:
    """ROC by kind of error, and precision over recall."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    faults = np.array([image.fault for image in images])
    clean, limits = scores[faults == ""], np.unique(np.append(scores, 2.0))
    alarms = np.array([(clean < limit).mean() for limit in limits])
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for kind, colour in zip(("all", *KINDS), ("black", "#0072b2", "#d55e00", "#009e73"), strict=True):
        wrong = scores[(faults == kind) if kind != "all" else (faults != "")]
        left.plot(
            alarms, [(wrong < limit).mean() for limit in limits], color=colour, label=f"{kind} ({len(wrong)})", drawstyle="steps-post"
        )
    left.axvline(0.05, color="grey", linewidth=0.8, linestyle=":")
    left.axhline(0.8, color="grey", linewidth=0.8, linestyle=":")
    left.set(xlabel="clean images flagged", ylabel="planted errors flagged", xlim=(0, 0.3), ylim=(0, 1.02))
    left.legend(loc="lower right", frameon=False)
    right.plot(*precision(scores, faults != ""), color="black", drawstyle="steps-post")
    right.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def precision(scores: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision of the k most doubtful, for each k."""
    hits = np.cumsum(wrong[np.argsort(scores, kind="stable")])
    return hits / wrong.sum(), hits / np.arange(1, len(hits) + 1)
