"""The report: each strategy over random and over the control, paired by seed, and said in words that promise no more than is there."""

from __future__ import annotations

import json

from console.simulate.chain import CONTROL
from console.simulate.curve import Point, Run
from console.simulate.report import markdown, report, rows


def run(strategy: str, seed: int, *scores: float, boxes: int = 50, new: float | None = None) -> Run:
    step = 0 if strategy == CONTROL else 1
    points = tuple(
        Point(number, 80 + 10 * number * step, 200 + boxes * number * step, 100 + 20 * number, score, score / 2, new, new, number, 0)
        for number, score in enumerate(scores)
    )
    return Run("shift", strategy, seed, points)


RUNS = [
    *(run("random", seed, 0.2, 0.3, 0.4, new=0.3) for seed in (1, 2, 3)),
    *(run("errors", seed, 0.2, 0.4, 0.5 + seed / 1000, boxes=75, new=0.35) for seed in (1, 2, 3)),
    *(run(CONTROL, seed, 0.2, 0.2 + 0.1 * (seed - 2), 0.3) for seed in (1, 2, 3)),
]


def test_gains_stand_against_random_and_against_the_control() -> None:
    found = report(RUNS, {"seeds": [1, 2, 3]})
    gained = {(item["strategy"], item["over"]): item for item in found["gains"]}
    assert gained.keys() == {("errors", "random"), (CONTROL, "random"), ("random", CONTROL), ("errors", CONTROL)}
    errors = gained["errors", "random"]
    assert errors["map50_by_images"]["verdict"] == "better"
    assert errors["map50_by_images"]["mean"] > errors["map50_by_boxes"]["mean"] > 0  # it spent half as many boxes again
    assert errors["new_last"]["mean"] == 0.05
    assert "map50_by_images" not in gained["random", CONTROL]  # the control labels nothing: only updates compare
    assert gained["random", CONTROL]["map50_by_updates"]["verdict"] == "noise"
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(report(RUNS, {"seeds": [1, 2, 3]})))


def test_the_table_names_noise_and_shows_boxes_beside_images() -> None:
    found = report(RUNS, {})
    table = {row["strategy"]: row for row in rows(found)}
    assert list(table) == ["random", "errors", CONTROL]
    assert (table["errors"]["images"], table["errors"]["boxes"], table["random"]["boxes"]) == ("100", "350", "300")
    assert "(better)" in table["errors"]["over random, by images"]
    assert "(noise)" in table[CONTROL]["over random, by images"] or "(worse)" in table[CONTROL]["over random, by images"]
    lines = markdown(found).splitlines()
    assert len(lines) == 5 and all(line.count("|") == lines[0].count("|") for line in lines)


def test_one_seed_has_no_error_bar_and_gets_no_verdict() -> None:
    table = rows(report([run("random", 1, 0.2, 0.3), run("errors", 1, 0.2, 0.4)], {}))
    assert table[1]["mAP50"] == "0.400"
    assert table[1]["over random, by images"] == "+0.050 (one seed)"
