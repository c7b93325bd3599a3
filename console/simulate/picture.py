"""The learning curves as a picture: a column for each regime; against images, against boxes, and at stricter overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console.demo.picture import GREY, INK, SOFT
from console.simulate.chain import CONTROL
from console.simulate.curve import Run, by_round

# The first ones stay apart for colour-blind eyes.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#666666")
MARKERS = "os^DvP<X"
PANELS = (("images", "map50", "labelled images", "mAP50"), ("boxes", "map50", "labelled boxes", "mAP50"),
          ("images", "map50_95", "labelled images", "mAP50-95"))  # fmt: skip
ASIDE = 0.006  # of the axis: error bars of strategies that stand at the same place are drawn side by side


def draw(runs: Sequence[Run], titles: dict[str, str], path: Path) -> None:
    """Draw what there is of `runs`; `titles` names each regime. Bars are standard errors over the seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY, "axes.spines.top": False})
    plt.rcParams.update({"axes.spines.right": False, "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlesize": 10})
    size = (5.2 * len(titles) + 0.4, 2.7 * len(PANELS) + 0.6)
    figure, axes = plt.subplots(len(PANELS), len(titles), figsize=size, layout="constrained", squeeze=False, sharey="row")
    for column, (regime, title) in enumerate(titles.items()):
        for row, panel in enumerate(PANELS):
            _panel(axes[row][column], [run for run in runs if run.regime == regime], regime, panel)
        axes[0][column].set_title(title)
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=100, pil_kwargs={"optimize": True})
    plt.close(figure)


def _panel(axes: Any, runs: Sequence[Run], regime: str, panel: tuple[str, str, str, str]) -> None:
    axis, score, across, up = panel
    strategies = list(dict.fromkeys(run.strategy for run in runs))
    places = [by_round(runs, regime, name, axis) for name in strategies]
    width = max((means[-1].mean for means in places if means), default=0) - min((means[0].mean for means in places if means), default=0)
    for number, (name, means) in enumerate(zip(strategies, places, strict=True)):
        scores = by_round(runs, regime, name, score)
        if name == CONTROL:  # it labels nothing: its line would have no width
            axes.axhline(scores[-1].mean, color=SOFT, linestyle="--", label="control: same updates, no new labels (last round)")
            axes.axhspan(scores[-1].mean - scores[-1].error, scores[-1].mean + scores[-1].error, color=GREY, alpha=0.25, linewidth=0)
            continue
        aside = (number - len(strategies) / 2) * ASIDE * width if axis == "images" else 0.0
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        axes.errorbar(
            [mean.mean + aside for mean in means], [mean.mean for mean in scores], [mean.error for mean in scores],
            color=colour, marker=marker, markersize=4, linewidth=1.4, elinewidth=1, capsize=2, label=name,
        )  # fmt: skip
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(axis="y", color=GREY, alpha=0.4)
