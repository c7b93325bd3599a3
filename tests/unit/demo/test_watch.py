"""How long the demo waits, and what it says meanwhile and at its end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from console.demo import play, report
from console.demo.stage import Stage
from console.demo.watch import DemoFailed, until

RUN = {"cause": "first", "model": None, "control": None, "dataset": None}


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in ("watch", "stage", "tell"):
        monkeypatch.setattr(f"console.demo.{module}.time", made)
    return made


def stage(**eyes: Any) -> Any:
    """A stage with nothing but what a step needs."""
    settings = SimpleNamespace(home=Path("/homes/a b"), console_url="http://c", label_studio_url="http://ls", secrets_file="secrets.env")
    scenario = SimpleNamespace(acts=SimpleNamespace(dimmed_source="line-a"))
    return Stage(scenario, settings, SimpleNamespace(**eyes), None, None, 1, 0.0)  # type: ignore[arg-type]


def test_what_goes_on_may_take_as_long_as_it_likes(clock: Clock) -> None:
    told: list[str] = []
    assert until("it", lambda: clock.now > 1000, 10, 1, how_far=lambda: f"{clock.now // 8} %", tell=told.append)
    assert told[-1] == "waiting for it, 1000 s: 125.0 %"


def test_what_stands_still_is_given_up_and_says_how_far_it_was(clock: Clock) -> None:
    with pytest.raises(DemoFailed, match=r"^Not observed within 109 s: it, 99\.0 %, without progress for 10 s$"):
        until("it", lambda: False, 10, 1, how_far=lambda: f"{min(clock.now, 99.0)} %")
    with pytest.raises(DemoFailed, match=r"^Not observed within 10 s: that$"):
        until("that", lambda: None, 10, 1)


def test_a_door_that_never_answers_is_no_progress(clock: Clock) -> None:
    def shut() -> str:
        raise requests.ConnectionError

    with pytest.raises(DemoFailed, match=r"within 10 s: it \(last trouble: ConnectionError\)"):
        until("it", lambda: None, 10, 1, how_far=shut)


def test_without_a_terminal_each_step_and_each_half_minute_has_a_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = stage()
    with waiting.step("A model trains") as seen:
        waiting.until("the model", lambda: clock.now > 100, 10, lambda: f"{clock.now} %")
        seen.append("there it is")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  A model trains …"
    assert [line.split(",")[0].strip() for line in lines[1:-1]] == ["waiting for the model"] * 3
    assert lines[-1].startswith("✓ A model trains")


def test_the_end_says_what_runs_on_and_how_to_follow_and_stop_it(capsys: pytest.CaptureFixture[str]) -> None:
    answers = {
        "retraining/status": {"run": 1, "state": "training", "percent": 55.9},
        "retraining/history": {"runs": [{"id": 1, "metrics": {"progress": {"epoch": 12, "epochs": 40}}}]},
    }
    play._say_what_next(stage(api=answers.get), "Not observed", keep=True)
    said = capsys.readouterr().out
    assert "The system runs on (run 1 training, 55.9 %, epoch 12 of 40): console http://c, Label Studio http://ls" in said
    assert "`LABELWHEEL_HOME='/homes/a b' labelwheel down`" in said
    play._say_what_next(stage(), "Not observed", keep=False)
    assert "`labelwheel demo --keep`" in capsys.readouterr().out


def test_a_demo_that_ended_in_its_first_training_has_broken_nothing() -> None:
    found = {
        "failure": "Not observed within 645 s: the first model deployed",
        "label_studio": {"tasks": 100, "keys": 100, "annotated": 98, "open_with_current_version": 0, "open": 0},
        "database": {"tasks": 100, "labels": 98},
        "training": [{**RUN, "status": "training"}],
        "drift": {"reports": [], "alerts": []},
        "mlflow": {"runs": {"1": "RUNNING"}, "champion": None},
        "dvc": {"3f9a": True},
    }
    judged = {check.name: check.ok for check in report.checks(stage(), found)}
    assert [name for name, ok in judged.items() if ok] == ["every chosen capture is one task", "every submitted annotation is one label"]
    assert False not in judged.values()
    found["training"] = [{**RUN, "status": "failed"}]
    assert {check.name: check.ok for check in report.checks(stage(), found)}["two runs, both promoted"] is False
