"""A run that is killed at any stage, in worker, trainer or both, ends promoted or kept: once, with nothing half-made, lost or counted twice.

The long proof kills real trainings at each named place and at random moments. The sample kills one that is trained already, at places drawn
by lot: what its model answers is written by hand, all the rest is real.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from labelwheel.database.tables import Project, TrainingRun
from labelwheel.storage import ImageStore
from retrain.model.deploy import deploy
from retrain.run.trigger import trigger
from retrain.run.work import Work
from tests.fixtures import figures
from tests.fixtures.kills import House, Place
from tests.integration.retrain.conftest import RECIPE, as_if_trained, labelled, lay_mlflow

TRAIN, HOLDOUT = 16, 8
QUICK = {**RECIPE, "FIRST_UPDATES": "48", "WARM_UPDATES": "24", "TRAIN_NICE": "0", "DETECTOR_THREADS": "1", "MIN_FREE_BYTES": "0"}
QUEUED, EXPORTED, TRAINED, DUE = "queued", "exported", "trained", "due"  # houses to begin with
BATCHES = 4  # an epoch
FIGURES = "prove/kills.json"

EXPORTING = (
    Place("exporting", "worker", "retrain.run.stages:export"),
    Place("exporting", "worker", "retrain.run.work:Work.beat", "after", 7),
    Place("exporting", "worker", "pathlib:Path.write_bytes", "half", 9),
    Place("exporting", "worker", "retrain.dataset.add:_Shelf._remember", "after"),
    Place("adding to DVC", "worker", "retrain.run.stages:add"),
    Place("adding to DVC", "worker", "retrain.dataset.version:_open", "after"),
    Place("adding to DVC", "worker", "retrain.dataset.add:point"),
    Place("adding to DVC", "worker", "retrain.dataset.add:point", "after"),
    Place("adding to DVC", "worker", "retrain.run.stages:add", "after"),
    Place("adding to DVC", "worker", "retrain.dataset.content:remember", "after"),
    Place("adding to DVC", "worker", "retrain.run.stages:export", "after"),
    Place("laying the folder out", "worker", "retrain.dataset.version:link", "after", 7),
)
TRAINING = (
    Place("training", "trainer", "retrain.training.torchvision:ensure_torchvision"),
    Place("training epoch 1", "trainer", "os:getppid", "after", 2 + 2),
    Place("training epoch 1", "trainer", "pathlib:Path.write_bytes", "half", 1, "draft.pt"),
    Place("training epoch 2", "trainer", "pathlib:Path.replace", "after", 1, "last.pt"),
    Place("training epoch 6", "trainer", "os:getppid", "after", 2 + 5 * BATCHES + 2),
    Place("training epoch 12", "trainer", "os:getppid", "after", 2 + 12 * BATCHES),
    Place("exporting ONNX", "trainer", "retrain.training.export:export_onnx"),
    Place("exporting ONNX", "trainer", "retrain.training.export:add_embedding"),
    Place("exporting ONNX", "trainer", "retrain.training.spec:write", "before", 1, "Result"),
    Place("exporting ONNX", "trainer", "retrain.training.spec:write", "after", 1, "Result"),
)
MAKING = ("alembic.runtime.migration:HeadMaintainer.update_to_step", "labelwheel.registry:_make")  # MLflow's database
AFTER = (
    Place("evaluating", "worker", "retrain.run.stages:judge"),
    Place("evaluating", "worker", "labelwheel.vision.detector:Detector.detect", "after", 3),
    Place("evaluating", "worker", "retrain.run.stages:_keep_model", "after"),
    Place("registering", "worker", MAKING[0], "after", 25),
    Place("registering", "worker", MAKING[1], "after"),
    Place("registering", "worker", "labelwheel.registry:Registry.run", "after"),
    Place("registering", "worker", "labelwheel.registry:Registry.note", "after"),
    Place("registering", "worker", "labelwheel.registry:Registry.measure", "after"),
    Place("registering", "worker", "labelwheel.registry:Registry.attach"),
    Place("registering", "worker", "labelwheel.registry:Registry.attach", "after"),
    Place("registering", "worker", "labelwheel.registry:Registry.register", "after"),
    Place("registering", "worker", "retrain.run.stages:judge", "after"),
    Place("deploying", "worker", "retrain.model.deploy:_record", "after"),
    Place("deploying", "worker", "retrain.model.deploy:_announce"),
    Place("deploying", "worker", "labelwheel.registry:Registry.point", "after"),
    Place("deploying", "worker", "retrain.run.stages:conclude", "after"),
    Place("closing", "worker", "retrain.run.close:_drop_dataset", "after"),
    Place("closing", "worker", "labelwheel.registry:Registry.end"),
)
IN_PLACE = tuple(place for place in AFTER if place.target not in MAKING)
CONTROL = (
    Place("control", "worker", "retrain.run.control:_train_and_score"),
    Place("control", "trainer", "os:getppid", "after", 2 + 2 * BATCHES),
    Place("control", "trainer", "retrain.training.export:export_onnx"),
    Place("control", "worker", "retrain.run.control:score", "after"),
    Place("control", "worker", "labelwheel.registry:Registry.run", "after"),
    Place("control", "worker", "retrain.run.control:_mirror", "after"),
)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A plant with labels and a run that is queued."""
    house = House(tmp_path / "home", QUICK)
    house.home.mkdir()
    house.build()
    _label(house, 0, TRAIN, "train")
    _label(house, 100, HOLDOUT, "holdout")
    _trigger(house)
    return house


def test_a_run_is_killed_after_its_training(house: House, empty_mlflow: Path) -> None:
    seed = int(os.environ.get("KILL_SEED") or secrets.randbelow(2**32))
    print(f"KILL_SEED={seed}")
    _as_if_trained(house)
    lay_mlflow(house.home, empty_mlflow)
    for place in sorted(random.Random(seed).sample(IN_PLACE, 2), key=IN_PLACE.index):
        house.die("run", 1, place, "worker")
    house.sweep()
    assert house.check(1, TRAIN) == "promoted"


@pytest.mark.prove
@pytest.mark.timeout(7200)
def test_kills_of_the_export(house: House) -> None:
    house.keep(QUEUED)
    _keep("exporting", _matrix(house, QUEUED, EXPORTING, ("worker",)))


@pytest.mark.prove
@pytest.mark.timeout(7200)
def test_kills_of_the_training(house: House) -> None:
    house.die("run", 1, Place("", "worker", "retrain.run.stages:train"), "worker")
    house.keep(EXPORTED)
    _keep("training", _matrix(house, EXPORTED, TRAINING, ("worker", "trainer", "group")))


@pytest.mark.prove
@pytest.mark.timeout(7200)
def test_kills_after_the_training(house: House) -> None:
    _as_if_trained(house)
    house.keep(TRAINED)
    _keep("after the training", _matrix(house, TRAINED, AFTER, ("worker",)))


@pytest.mark.prove
@pytest.mark.timeout(7200)
def test_kills_at_any_moment(house: House) -> None:
    seed = int(os.environ.get("KILL_SEED") or secrets.randbelow(2**32))
    print(f"KILL_SEED={seed}")
    house.keep(QUEUED)
    outcomes = Counter(_random_kills(house, random.Random(seed)))
    _keep("at random, twice each", {"seed": seed, "kills": 2 * outcomes.total(), "outcomes": dict(outcomes)})


@pytest.mark.prove
@pytest.mark.timeout(7200)
def test_kills_of_the_control(house: House) -> None:
    found = list(_control(house))
    _keep("control", {"kills": len(found), "outcomes": dict(Counter(outcome for _, outcome in found))})


def _matrix(house: House, beginning: str, places: Sequence[Place], modes: Sequence[str]) -> dict[str, Any]:
    """Each place in each mode; outcomes by stage."""
    met: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for place in places:
        for mode in modes:
            met[f"{place.stage}, {mode}"][_through(house, beginning, place, mode)] += 1
    outcomes = sum(met.values(), Counter[str]())
    return {"kills": outcomes.total(), "outcomes": dict(outcomes), "by_stage": {name: dict(counts) for name, counts in met.items()}}


def _keep(group: str, found: dict[str, Any]) -> None:
    """Beside what the other groups met. A group that failed is not in it."""
    path = figures.ROOT / "var" / FIGURES
    known = json.loads(path.read_text()) if path.exists() else {}
    figures.write(FIGURES, {**known, group: {**found, "failures": 0}})


def _through(house: House, beginning: str, place: Place, mode: str, run_id: int = 1) -> str:
    house.restore(beginning)
    house.die("run", run_id, place, mode)
    lives = house.sweep()
    outcome = house.check(run_id, TRAIN)
    print(f"{place}, {mode}: {outcome} after {lives} more", flush=True)
    return outcome


def _random_kills(house: House, lot: random.Random) -> Iterator[str]:
    """Whole runs, killed twice at any moment."""
    for _ in range(8):
        house.restore(QUEUED)
        for _ in range(2):
            worker = house.start("run", 1)
            moment = lot.uniform(0, 40)
            time.sleep(moment)
            mode = lot.choice(("worker", "trainer", "group"))
            for victim in [*(house.trainers() if mode != "worker" else []), *([worker] if mode != "trainer" else [])]:
                victim.kill()
            worker.wait()
            print(f"at random: {mode} after {moment:.1f} s", flush=True)
        house.sweep()
        yield house.check(1, TRAIN)


def _control(house: House) -> Iterator[tuple[str, str]]:
    """A warm run whose control is killed at each place, and from two sides where it trains."""
    house.sweep()
    with house.database() as database, database.read() as session:
        challenger = session.get_one(TrainingRun, 1).challenger_id or 0
    with house.database() as database:
        deploy(database, house.settings, challenger, None)  # if the gate did not
    _label(house, 200, BATCHES * 2, "train")
    _trigger(house, start="labelwheel@1", freeze=5, augmentations="fliplr=0 degrees=5")
    house.start("run", 2).wait()
    assert house.check(2, BATCHES * 2)
    with house.database() as database, database.read() as session:
        assert session.get_one(TrainingRun, 2).metrics["training"]["warm"]
    house.keep(DUE)
    for place in CONTROL:
        for mode in ("worker", "trainer", "group") if place.process == "trainer" else ("worker",):
            house.restore(DUE)
            house.die("control", 2, place, mode)
            house.sweep()
            house.check(2, BATCHES * 2)
            with house.database() as database, database.read() as session:
                outcome = session.get_one(TrainingRun, 2).control or {}
            assert outcome["state"] == "done", outcome
            assert (house.home / "models" / "run-saltsalt-2" / "control.onnx").is_file() and not (
                house.home / "runs" / "2" / "control"
            ).exists()
            print(f"{place}, {mode}: done", flush=True)
            yield f"control, {mode}", "done"


def _label(house: House, first: int, count: int, split: str) -> None:
    with house.database() as database, database.write() as session:
        project_id = session.scalars(select(Project.id)).one()
        for number in range(first, first + count):
            labelled(session, ImageStore(house.settings.images_dir), project_id, number, split)


def _trigger(house: House, **asked: Any) -> None:
    with house.database() as database:
        trigger(database, house.settings, 1, "manual", request=asked)


def _as_if_trained(house: House) -> None:
    with house.database() as database:
        as_if_trained(Work(database, house.settings, 1), TRAIN)
