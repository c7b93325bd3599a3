"""A run under the real `labelwheel worker training` and the real scheduler, on SQLite and on PostgreSQL: whoever dies of them, it ends once.

    KILL_SEED=n .venv/bin/python -m pytest tests/integration/retrain/test_worker_killed.py -m prove -s

The kill matrix names the places and stands in for queue and scheduler; here these are real, and the moments are drawn by lot. Each death costs
the two minutes after which a heartbeat counts as missed.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from redis import Redis

from labelwheel.database.tables import ACTIVE_RUN_STATUSES, TrainingRun
from labelwheel.settings import PREFIX
from retrain.run.attempts import WORTH
from tests.fixtures import figures
from tests.fixtures.doors import await_until
from tests.fixtures.kills import House
from tests.integration.retrain.test_kill_matrix import HOLDOUT, QUICK, TRAIN, _label, _trigger

PATIENCE = 600  # a missed heartbeat, a dead worker's registration and a tick, on a machine that has other work
MOMENTS = (0.0, 8.0)
DEATHS = {
    "the trainer": ("trainers",),
    "the job": ("jobs",),
    "the worker": ("workers",),
    "worker, job and trainer": ("workers", "jobs", "trainers"),
    "worker and job, the queue forgets": ("workers", "jobs", "queue"),
}


@dataclass
class Crew:
    """A worker and a scheduler of a house, as `up` starts them."""

    house: House
    bell: Redis
    url: str
    hired: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def hire(self) -> None:
        """Start who is not there."""
        for name, arguments in (("worker", ["worker", "training"]), ("scheduler", ["scheduler"])):
            if name not in self.hired or self.hired[name].poll() is not None:
                self.hired[name] = self._start(arguments)

    def _start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        ours = {f"{PREFIX}{name}": value for name, value in self.house.recipe.items()}
        ours |= {f"{PREFIX}HOME": str(self.house.home), f"{PREFIX}REDIS_URL": self.url}
        with (self.house.home / f"{arguments[0]}.log").open("ab") as log:
            argv = [sys.executable, "-m", "console", *arguments]
            return subprocess.Popen(argv, env={**os.environ, **ours}, stdout=log, stderr=log, start_new_session=True)

    def kill(self, who: str) -> None:
        if who == "queue":
            self.bell.flushall()
            return
        for victim in self.house.trainers() if who == "trainers" else self._workers(jobs=who == "jobs"):
            with suppress(psutil.NoSuchProcess):
                victim.kill()

    def _workers(self, *, jobs: bool) -> list[psutil.Process]:
        """Workers of this house, or what they forked for a job: that outlives them."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                ours = process.environ().get(f"{PREFIX}HOME") == str(self.house.home)
                if ours and process.cmdline()[-2:] == ["worker", "training"]:
                    found.append(process)
        return [process for process in found if (process.pid != self.hired["worker"].pid) == jobs]

    def dismiss(self) -> None:
        for who in ("workers", "jobs", "trainers"):
            self.kill(who)
        self.hired["scheduler"].kill()
        for process in self.hired.values():
            process.wait(20)


@contextmanager
def hired(house: House, bell: Redis, url: str) -> Iterator[Crew]:
    crew = Crew(house, bell, url)
    crew.hire()
    try:
        yield crew
    finally:
        crew.dismiss()


@pytest.mark.prove
@pytest.mark.timeout(7200)
def test_whoever_dies_the_run_ends_once(bell: Redis, valkey_url: str, empty_url: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("KILL_SEED") or secrets.randbelow(2**32))
    lot, begun, done = random.Random(seed), time.monotonic(), []
    house = House(tmp_path / "home", {**QUICK, "FIRST_UPDATES": "400", "DATABASE_URL": empty_url})
    house.home.mkdir()
    house.build()
    _label(house, 0, TRAIN, "train")
    _label(house, 100, HOLDOUT, "holdout")
    _trigger(house)
    print(f"\nKILL_SEED={seed}", flush=True)
    with hired(house, bell, valkey_url) as crew:
        stood = 0.0
        for death in lot.sample(list(DEATHS), len(DEATHS)):
            await_until(lambda stood=stood: _got_on(house, stood) or _ended(house), PATIENCE)  # type: ignore[misc]
            time.sleep(lot.uniform(*MOMENTS))
            if _ended(house):
                break
            for who in DEATHS[death]:
                crew.kill(who)
            stood = _run(house).percent
            done.append(death)
            print(
                f"after {time.monotonic() - begun:.0f} s: {death}; the run is {_run(house).status}, {_run(house).percent:.0f} %", flush=True
            )
            crew.hire()
        await_until(lambda: _ended(house), PATIENCE)
    outcome = house.check(1, TRAIN)
    found = {"seed": seed, "deaths": done, "outcome": outcome, "seconds": round(time.monotonic() - begun), "attempts": _run(house).attempts}
    figures.write(f"prove/worker-killed-{empty_url.partition(':')[0].partition('+')[0]}.json", found)
    assert len(done) == len(DEATHS), "it ended before all of them had died: train longer"


def _run(house: House) -> TrainingRun:
    with house.database() as database, database.read() as session:
        return session.get_one(TrainingRun, 1)


def _got_on(house: House, stood: float) -> bool:
    """Whether this life brought it further: of three that do not, a run is given up, as it should be."""
    time.sleep(1)
    return _run(house).percent >= stood + WORTH + 1


def _ended(house: House) -> bool:
    return _run(house).status not in ACTIVE_RUN_STATUSES
