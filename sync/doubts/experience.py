"""What disagreements mean: learnt from labels themselves, as they are and with errors planted in them. Pure.

Where people and a model disagree, one of them is wrong. Which, depends on the model: one sees ghosts at the edge of a board, another
takes one class for another. So errors are planted in labels that the model was not trained on, one of each way in each, and a classifier
learns to tell what the model says of those from what it says of labels as they are. Nothing is looked at again: detections are known.
A few wrong labels among those that are taken for right do no harm: they are what is rare.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sync.doubts.compare import KINDS, SWAPPED, Disagreement, Floats, View
from sync.doubts.plant import WAYS, planted

ERRORS = 0.01  # share of boxes that people get wrong in one of the ways: what is expected before anything is seen
FEWEST = 30  # labels with boxes from which anything is learnt
OLD = 1.0  # disagreements with right labels that are taken for seen, of each kind as many as were planted: who was never wrong may be yet
SURER = 1  # place of `strength` among the clues: the surer the model, the greater the doubt, whatever was learnt
SEED = 0  # what is planted is a repeatable draw


@dataclass(frozen=True, eq=False)
class Experience:
    """What a model's disagreements meant so far. Without a `classifier` too little is known, and confidences are taken at their word."""

    classifier: Any | None
    shift: float  # from the share of errors that were planted to the share that is expected: factor of the odds
    labels: tuple[str, ...]

    def likely(self, found: Sequence[Disagreement]) -> list[float]:
        """How likely the label is wrong there (0–1), for each disagreement."""
        if not found or self.classifier is None:
            return [_at_its_word(one) for one in found]
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):  # as above
            share = self.classifier.predict_proba(_clues(found, self.labels))[:, 1].clip(1e-9, 1 - 1e-9)
        odds = self.shift * share / (1 - share)
        return [float(value) for value in odds / (1 + odds)]


def learn(views: Iterable[View]) -> Experience:
    """What the disagreements of these images mean together."""
    known = [view for view in views if view.boxes or view.detections]
    drawn = sum(len(view.boxes) for view in known)
    labels = tuple(sorted({box.label for view in known for box in view.boxes} | {item.label for view in known for item in view.detections}))
    rng = np.random.default_rng(SEED)
    wrong = [one for view in known for one in planted(view, labels, rng)]
    right = [one for view in known for one in view.disagreements]
    bearing = sum(bool(view.boxes) for view in known)
    if bearing < FEWEST or not wrong:
        return Experience(None, 1.0, labels)
    planted_clues = _clues(wrong, labels)
    clues = np.concatenate([planted_clues, _clues(right, labels), planted_clues])
    truth = np.repeat([True, False], [len(wrong), len(right) + len(wrong)])
    weight = np.repeat([1.0, 1.0, OLD / len(wrong)], [len(wrong), len(right), len(wrong)])
    return Experience(_trained(clues, truth, weight), ERRORS * drawn / bearing, labels)  # each way was planted once in each


def _trained(clues: Floats, truth: Any, weight: Floats) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    surer = [int(place == SURER) for place in range(len(_COLUMNS))]
    shape = {"max_iter": 120, "learning_rate": 0.08, "max_leaf_nodes": 12, "min_samples_leaf": 15, "l2_regularization": 1.0}
    model = HistGradientBoostingClassifier(**shape, monotonic_cst=surer, early_stopping=False, random_state=SEED)
    with threadpool_limits(1):  # little work: threads that wait for each other would take other programs' cores
        return model.fit(clues, truth, weight)


_COLUMNS = ("kind", "strength", "confidence", "held", "near", "fit", "iou", "rival", "again", "covered", "area", "label", "other")


def _clues(found: Sequence[Disagreement], labels: Sequence[str]) -> Floats:
    """(N, 13): what a disagreement is judged by."""
    places = {label: number for number, label in enumerate(labels)}
    return np.array([_row(one, places) for one in found], np.float64).reshape(-1, len(_COLUMNS))


def _row(one: Disagreement, places: dict[str, int]) -> list[float]:
    about = one.seen.box if one.seen else one.box.box if one.box else None
    other = one.box.label if one.kind == SWAPPED and one.box else ""
    confidence = one.seen.confidence if one.seen else 0.0
    told = [confidence, one.held, one.near, one.fit, one.iou, one.rival, one.again, one.covered]
    area = np.log(max(about.area, 1.0)) if about else 0.0
    return [KINDS.index(one.kind), one.strength, *told, area, places.get(one.label, -1), places.get(other, -1)]


def _at_its_word(one: Disagreement) -> float:
    """What the confidence itself says; of a box at whose place nothing is seen it says nothing."""
    if one.seen is None:
        return ERRORS
    expected = ERRORS * len(WAYS) * one.strength / max(1 - one.strength, 1e-6)
    return expected / (1 + expected)
