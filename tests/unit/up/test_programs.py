from __future__ import annotations

from pathlib import Path

import pytest

from console.up.engine import prepare_folders
from console.up.programs import Program, Task, plan
from labelwheel.errors import InputError
from labelwheel.settings import Settings, load_settings


def settings(home: Path, **fields: object) -> Settings:
    return Settings(_env_file=None, home=home, **fields)  # type: ignore[call-arg,arg-type]


def test_everything_starts_in_the_order_of_need(tmp_path: Path) -> None:
    steps = plan(settings(tmp_path), settings(tmp_path, label_studio_url="http://127.0.0.1:8080"))
    assert [step.name for step in steps] == [
        *("valkey", "database", "Label Studio's database", "label-studio", "ml-backend", "Label Studio project", "console"),
        *("worker-fast", "worker-training", "scheduler"),
    ]


def test_what_runs_elsewhere_is_not_started(tmp_path: Path) -> None:
    elsewhere = settings(tmp_path, label_studio_url="https://labels.example", redis_url="redis://queue:6379/0")
    assert not {"valkey", "label-studio"} & {step.name for step in plan(elsewhere, elsewhere)}


def test_our_programs_get_what_up_decided_over_what_the_user_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWHEEL_CONSOLE_PORT", "8700")
    monkeypatch.setenv("LABELWHEEL_LOG_LEVEL", "DEBUG")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "addresses.env").write_text("LABELWHEEL_CONSOLE_PORT=8702\n")
    programs = {step.name: step for step in plan(settings(tmp_path), settings(tmp_path)) if isinstance(step, Program)}
    environment = programs["console"].environment
    assert environment["LABELWHEEL_CONSOLE_PORT"] == "8702"
    assert environment["LABELWHEEL_LOG_LEVEL"] == "DEBUG"
    assert environment["LABELWHEEL_HOME"] == str(tmp_path)
    assert not any(name.startswith("LABELWHEEL_") for name in programs["label-studio"].environment)


def test_only_servers_are_waited_for_one_by_one(tmp_path: Path) -> None:
    steps = plan(settings(tmp_path), settings(tmp_path))
    assert [step.name for step in steps if isinstance(step, Program) and not step.health] == ["worker-fast", "worker-training", "scheduler"]
    assert [step.name for step in steps if isinstance(step, Task)] == ["database", "Label Studio's database", "Label Studio project"]


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written to") as told:
        prepare_folders(load_settings(tmp_path / "file" / "home"))
    assert "LABELWHEEL_HOME" in told.value.cure
