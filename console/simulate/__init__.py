"""`labelwheel simulate`: what selection buys, on images whose labels are known. A folder plays stream and annotator; no server is needed."""

from __future__ import annotations

import json
import os
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from console.screen import AsJson, logs_to_stderr, screen, show
from labelwheel.errors import InputError
from labelwheel.settings import get_settings

BIGGEST_SEED = 2**20
STRIDE = 32  # of the networks, in pixels


class StrategyName(StrEnum):
    random = "random"
    least_confidence = "least_confidence"
    entropy = "entropy"
    expected_errors = "expected_errors"
    spread = "spread"
    production = "production"


class RegimeName(StrEnum):
    homogeneous = "homogeneous"
    shift = "shift"


def simulate(
    data: Annotated[Path, typer.Option(help="Labelled images, in YOLO's layout (images/, labels/, classes.txt or data.yaml) or COCO's.")],
    strategy: Annotated[list[StrategyName] | None, typer.Option(help="Repeat it. Default: all; random is always played.")] = None,
    regime: Annotated[list[RegimeName] | None, typer.Option(help="Repeat it. Default: both.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of choosing, labelling and training.")] = 3,
    per_round: Annotated[int, typer.Option(min=1, help="Images labelled in a round.")] = 24,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How often all of it is played, each time with another seed.")] = 3,
    seed: Annotated[int | None, typer.Option(min=0, help="The first seed; a fresh one is drawn and printed if there is none.")] = None,
    base: Annotated[
        int,
        typer.Option(min=0, help="Images for weights that all seeds begin with, as if brought along. Default: each begins from scratch."),
    ] = 0,
    start: Annotated[int, typer.Option(min=1, help="Labelled images that the start model is trained on.")] = 80,
    pool: Annotated[int, typer.Option(min=1, help="Images that are chosen from.")] = 240,
    test: Annotated[int, typer.Option(min=1, help="Images that judge, and that no strategy ever sees.")] = 160,
    parts: Annotated[
        int, typer.Option(min=1, max=8, help="Cut each image into so many parts, across and down, which then are the images: 2 gives four.")
    ] = 1,
    new_source: Annotated[str, typer.Option(help="Source that `shift` keeps from the start set. Default: the last by name.")] = "",
    rare_label: Annotated[str, typer.Option(help="Label that `shift` keeps from the start set. Default: the one on fewest images.")] = "",
    image_size: Annotated[int, typer.Option(min=32, max=2048, help="Side of the network's input, in pixels; a multiple of 32.")] = 224,
    first_updates: Annotated[int, typer.Option(min=1, help="Updates of a training from scratch.")] = 400,
    warm_updates: Annotated[int, typer.Option(min=1, help="Updates of a training that goes on.")] = 80,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Trainings at once, a core each. Default: two, where there are two cores.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of results and weights. Default: simulate/ in LABELWHEEL_HOME.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play selection strategies against random choice on labelled images of yours: no server, no database, nothing leaves this machine.

    Each round trains on, looks at the pool, chooses with the code that selects in production, and reads the labels off the folder. Two
    regimes: homogeneous (one stream), and shift (a new source and a rare label appear). A control trains as long on the start set
    alone. Curves in images and in boxes, with error bars over the seeds, go to simulation.json and simulation.png.

    The default recipe is a quick one, for small pictures: give your own sizes and updates for an answer about your own models. Batch size,
    learning rate, replay and all of selection are those of the settings. A run that was killed goes on where it stopped when it is given
    the same --seed; one with more seeds or strategies keeps what there is.

    The source of an image is its sub-folder below images/, else its file name up to the first `_`. Of a folder that `labelwheel export` wrote,
    it is what manifest.json says.

    Example: labelwheel simulate --data ~/boards

    Example: labelwheel simulate --data ~/boards --strategy expected_errors --strategy production --rounds 5 --seeds 5 --seed 1

    Example: labelwheel simulate --data ~/boards --regime shift --new-source line-3 --rare-label crack --image-size 640 --first-updates 2000
    """
    logs_to_stderr()
    from console.simulate.play import JSON, PICTURE, Wanted, simulate
    from console.simulate.regime import REGIMES, Novelty, Sizes
    from console.simulate.report import rows
    from console.simulate.strategy import STRATEGIES

    settings = get_settings()
    if image_size % STRIDE:
        raise InputError(f"--image-size {image_size} is no multiple of {STRIDE}.", f"Take {max(image_size // STRIDE, 1) * STRIDE}.")
    first = secrets.randbelow(BIGGEST_SEED) if seed is None else seed
    names, regimes = set(strategy or StrategyName) | {StrategyName.random}, set(regime or RegimeName)
    recipe = {"image_size": image_size, "first_updates": first_updates, "warm_updates": warm_updates, "train_threads": 1}
    wanted = Wanted(
        data=data,
        out=(out or settings.home / "simulate").resolve(),
        strategies=tuple(item for item in STRATEGIES if item.name in names),
        regimes=tuple(item for item in REGIMES if item.name in regimes),
        seeds=tuple(range(first, first + seeds)),
        rounds=rounds,
        budget=per_round,
        settings=settings.model_copy(update=recipe),
        sizes=Sizes(base, start, pool, test),
        novelty=Novelty(new_source, rare_label),
        parts=parts,
        jobs=jobs or min(2, os.cpu_count() or 1),
    )
    if not data.is_dir():
        raise InputError(f"{data} is not a folder.", "Name one of labelled images: `--data FOLDER`.")
    aside = Console(stderr=True) if as_json else screen
    aside.print(f"seed {first}" + (f" to {wanted.seeds[-1]}" if seeds > 1 else "") + f"; repeat with --seed {first}", highlight=False)
    found = simulate(wanted, aside)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    show(rows(found), False, title=f"Round {rounds}: mean ± standard error over {seeds} seeds; differences with their 95 % interval")
    screen.print(f"{wanted.out / JSON}\n{wanted.out / PICTURE}", highlight=False)
