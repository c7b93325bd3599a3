"""The demo's picture: mAP before and after, where the labels went, and the timeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

INK, SOFT, BLUE, GREEN, GREY, RED = "#1f2933", "#9aa5b1", "#2f6fde", "#2b9a66", "#c4ccd4", "#d64545"
ROLES = (
    ("champion", "first model", GREY),
    ("control", "control: same updates,\nno new labels", SOFT),
    ("challenger", "with the new labels", GREEN),
)


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw `report.png`; what a failed demo has not reached is left out."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY, "axes.spines.top": False})
    plt.rcParams.update({"axes.spines.right": False, "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlesize": 10})
    figure, axes = plt.subplot_mosaic(
        [["map", "labels"], ["time", "time"]], figsize=(11, 7.5), height_ratios=[1, 1.15], layout="constrained"
    )
    _draw_scores(axes["map"], found)
    _draw_labels(axes["labels"], found)
    _draw_timeline(axes["time"], found)
    figure.suptitle(
        f"One turn of the wheel   ·   seed {found['seed']}   ·   {found['seconds']:.0f} s", x=0.01, ha="left", fontweight="bold"
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_scores(axes: Any, found: dict[str, Any]) -> None:
    runs = found["training"]
    scores = runs[1]["rescored"] if len(runs) > 1 else {}
    shown = [(title, scores[role], colour) for role, title, colour in ROLES if scores.get(role) is not None]
    bars = axes.bar([title for title, _, _ in shown], [value for _, value, _ in shown], color=[colour for _, _, colour in shown], width=0.6)
    axes.bar_label(bars, fmt="%.3f", padding=2)
    axes.set_ylim(0, 1)
    holdout = runs[1]["dataset"]["images"].get("holdout", 0) if len(runs) > 1 and runs[1]["dataset"] else 0
    axes.set_title(f"mAP50 on the same {holdout} holdout images" if shown else "mAP50: not reached")


def _draw_labels(axes: Any, found: dict[str, Any]) -> None:
    queue = found["database"]["queue"]
    left = dict.fromkeys(queue, 0)
    for status, colour in (("approved", GREEN), ("skipped", RED), ("pushed", GREY), ("pending", SOFT)):
        values = [by_status.get(status, 0) for by_status in queue.values()]
        axes.barh(list(queue), values, left=list(left.values()), color=colour, label=status, height=0.55)
        left = {reason: left[reason] + value for reason, value in zip(queue, values, strict=True)}
    axes.set_title(f"Captures sent to a person, of {found['database']['captures']}")
    axes.legend(frameon=False, loc="upper right")


def _draw_timeline(axes: Any, found: dict[str, Any]) -> None:
    steps = found["steps"]
    for row, step in enumerate(steps):
        axes.barh(row, max(step["seconds"], 0.8), left=step["at"], color=BLUE, height=0.6)
        late = step["at"] > 0.62 * found["seconds"]
        place = step["at"] - 3 if late else step["at"] + step["seconds"] + 3
        axes.text(place, row, step["name"], va="center", ha="right" if late else "left", fontsize=8)
    axes.set_ylim(len(steps) - 0.4, -0.6)
    axes.set_xlim(0, found["seconds"])
    axes.set_yticks([])
    axes.set_xlabel("seconds")
    axes.set_title("Timeline")
