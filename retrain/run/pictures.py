"""A run in pictures, for MLflow: losses by epoch, precision over recall, and which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrain.gate.curves import precision_recall
from retrain.gate.evaluate import Scores

FEW = 20  # classes that a picture can tell apart
History = Sequence[tuple[int, dict[str, float]]]


def draw(folder: Path, history: History, scores: Scores | None) -> None:
    """Write PNG files into the folder: `losses.png`, and of a model that was scored `precision-recall.png` and `confusion.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    if history:
        _losses(history).savefig(folder / "losses.png")
    if scores is not None and scores.images:
        _curves(scores).savefig(folder / "precision-recall.png")
        _confusion(scores).savefig(folder / "confusion.png")


def _figure(title: str, x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # without pyplot there is no window and no state

    figure = Figure(figsize=(6, 4.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes


def _losses(history: History) -> Any:
    figure, axes = _figure("Losses", "epoch", "loss")
    for name in [name for name in history[0][1] if name.startswith("train/")]:
        axes.plot([epoch for epoch, _ in history], [values[name] for _, values in history], label=name.removeprefix("train/"))
    axes.legend()
    return figure


def _curves(scores: Scores) -> Any:
    figure, axes = _figure(f"Precision over recall, {scores.images} images, IoU 0.5", "recall", "precision")
    for number, (label, value) in enumerate(list(scores.per_class.items())[:FEW]):
        recall, precision = precision_recall(scores.matches, number)
        if len(recall):
            axes.plot(recall, precision, label=f"{label} {value or 0:.3f}")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    if axes.lines:
        axes.legend()
    return figure


def _confusion(scores: Scores) -> Any:
    names = [*scores.per_class, "nothing"]
    figure, axes = _figure("Taken for", "the model says", "people say")
    axes.imshow(scores.confusion, cmap="Blues")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    if len(names) <= FEW:
        middle = scores.confusion.max() / 2
        for row, column in [(row, column) for row in range(len(names)) for column in range(len(names))]:
            count = int(scores.confusion[row, column])
            axes.text(column, row, count, ha="center", va="center", color="white" if count > middle else "black")
    return figure
