"""A simulation for real on tiny pictures: torch, ONNX Runtime, the command; and what a second run leaves alone."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import cv2
import pytest
from typer.testing import CliRunner

from console.cli import app
from console.simulate.play import JSON, PICTURE
from labelwheel.errors import InputError
from tests.fixtures.shapes import LABELS, SIDE, draw

SETTINGS = ["--strategy", "expected_errors", "--regime", "shift", "--rounds", "1", "--seeds", "1", "--jobs", "1", "--per-round", "4"]
SIZES = ["--start", "8", "--pool", "12", "--test", "8", "--image-size", "64", "--first-updates", "4", "--warm-updates", "2"]
MOST = 4  # trainings: the start model, and one round of random, expected_errors and the control


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """A simulation with a fresh seed, that ends with its JSON."""
    seed = secrets.randbelow(2**20)
    with capsys.disabled():
        print(f"\nsimulation's seed: {seed}")
    places = ["--data", str(_folder(tmp_path / "boards")), "--out", str(tmp_path / "out")]
    return ["simulate", *places, "--seed", str(seed), "--json", *SETTINGS, *SIZES]


def test_a_simulation_tells_every_figure_and_is_not_done_twice(command: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = _run(command)
    _assert_whole(first, int(command[command.index("--seed") + 1]))
    assert (out / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / JSON).read_text()) == first
    done = _done(out)
    # A model of four updates finds nothing: its choice may then be the lot's, and the same training serves for both.
    assert MOST - 1 <= len(done) <= MOST
    assert _run(command) == first
    assert _done(out) == done


@pytest.mark.prove
def test_a_simulation_that_was_cut_short_gives_the_figures_of_one_that_was_not(command: list[str], tmp_path: Path) -> None:
    first, done = _run(command), _done(tmp_path / "out")
    lost = next(path for path in done if "round 1" in json.loads(path.with_name("step.json").read_text())["title"])
    lost.unlink()  # as if killed in the midst of a training
    assert _run(command) == first
    again = _done(tmp_path / "out")
    assert [path for path in again if again[path] != done[path]] == [lost]


def test_a_folder_that_is_none_is_said_before_a_seed_is_drawn(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", "--data", str(tmp_path / "nowhere")])
    assert isinstance(result.exception, InputError) and result.output == ""


def test_results_that_cannot_be_written_are_told_at_once(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, InputError)
    assert str(tmp_path / "out") in result.exception.message


def test_a_folder_without_labels_is_refused_with_a_cure(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "boards")
    for path in (folder / "labels").iterdir():
        path.unlink()
    result = CliRunner().invoke(app, ["simulate", "--data", str(folder), "--out", str(tmp_path / "out"), *SIZES])
    assert "no labelled image" in str(result.exception)
    result = CliRunner().invoke(app, ["simulate", "--data", str(folder), "--image-size", "100"])
    assert "Take 96" in str(result.exception)


def _assert_whole(found: dict[str, Any], seed: int) -> None:
    assert found["seeds"] == [seed]
    assert [run["strategy"] for run in found["runs"]] == ["random", "expected_errors", "control"]
    regime = found["regimes"]["shift"]
    assert (regime["new_source"], regime["start"], regime["test"]["images"]) == ("line-2", 8, 8)
    random, chosen, control = (run["points"] for run in found["runs"])
    assert [point["images"] for point in random] == [point["images"] for point in chosen] == [8, 12]
    assert [point["images"] for point in control] == [8, 8]
    assert random[1]["updates"] == chosen[1]["updates"] == control[1]["updates"] == 6
    assert all(0 <= point["map50_95"] <= point["map50"] <= 1 for run in found["runs"] for point in run["points"])
    assert {(gain["strategy"], gain["over"]) for gain in found["gains"]} == {
        ("expected_errors", "random"), ("control", "random"), ("random", "control"), ("expected_errors", "control")
    }  # fmt: skip


def _done(out: Path) -> dict[Path, int]:
    """Finished trainings, and when they finished."""
    return {path: path.stat().st_mtime_ns for path in out.glob("steps/*/outcome.json")}


def _run(command: list[str]) -> dict[str, Any]:
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, (result.stderr, result.exception)
    return dict(json.loads(result.stdout))


def _folder(root: Path) -> Path:
    """48 pictures of three lines in YOLO's layout; each has one disc or one square."""
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(LABELS))
    for number in range(48):
        pixels, drawn = draw(number)
        x1, y1, x2, y2 = (edge / SIDE for edge in drawn["box"])
        stem = f"line-{number % 3}_{number:04}"
        cv2.imwrite(str(root / "images" / f"{stem}.png"), pixels)
        label = LABELS.index(drawn["label"])
        (root / "labels" / f"{stem}.txt").write_text(f"{label} {(x1 + x2) / 2} {(y1 + y2) / 2} {x2 - x1} {y2 - y1}\n")
    return root
