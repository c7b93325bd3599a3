"""The command before anything was started, and with words that it does not know."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from console.cli import MEANT, app
from console.queue import QueueReason, QueueStatus
from console.reference import commands
from labelwheel.database.tables import QUEUE_STATUSES, REASONS
from labelwheel.errors import DatabaseMissing
from labelwheel.settings import get_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    return tmp_path


@pytest.mark.parametrize("command", ["queue", "conditions", "retrain"])
def test_before_the_first_start_a_command_says_so_and_leaves_nothing(folder: Path, command: str) -> None:
    error = CliRunner().invoke(app, [command]).exception
    assert isinstance(error, DatabaseMissing)
    assert str(folder) in error.message and "labelwheel up" in error.cure
    assert not list(folder.iterdir())


def test_a_status_that_is_none_is_refused_with_those_that_are() -> None:
    result = CliRunner().invoke(app, ["queue", "--status", "wrong"])
    assert result.exit_code == 2
    assert (tuple(QueueStatus), tuple(QueueReason)) == (QUEUE_STATUSES, REASONS)


@pytest.mark.parametrize(
    ("word", "ours"), [("status", "'ps'"), ("history", "'runs'"), ("conditons", "'conditions'"), ("train", "'retrain'")]
)
def test_a_command_that_is_none_names_those_that_were_meant(word: str, ours: str) -> None:
    result = CliRunner().invoke(app, [word])
    assert result.exit_code == 2 and f"Did you mean {ours}" in " ".join(result.output.split())


def test_another_tools_word_is_no_command_of_ours_and_leads_to_one() -> None:
    ours = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert not MEANT.keys() & ours.keys()
    assert {name.split()[0] for told in MEANT.values() for name in re.findall(r"'([^']+)'", told)} <= ours.keys()


def test_ps_names_the_home_in_which_nothing_runs(folder: Path) -> None:
    assert folder.name in CliRunner().invoke(app, ["ps"]).output.replace("\n", "")


def test_down_says_that_nothing_ran(folder: Path) -> None:
    assert f"Nothing ran in {folder / 'var'}" in CliRunner().invoke(app, ["down"]).output.replace("\n", "")


def test_every_argument_and_option_of_every_command_is_explained() -> None:
    silent = re.findall(r"^- `[^`]*`$", commands(), re.MULTILINE)
    assert not silent


def test_a_misspelt_variable_is_named_beside_the_answer_of_any_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWHEEL_BUDGET_PER_DAI", "9")
    answer = CliRunner().invoke(app, ["settings", "--json"])
    assert json.loads(answer.stdout)
    assert answer.stderr == "• LABELWHEEL_BUDGET_PER_DAI names no setting, and changes nothing; LABELWHEEL_BUDGET_PER_DAY is one.\n"
    monkeypatch.setenv("LABELWHEEL_PROGRAM", "worker-fast")
    assert CliRunner().invoke(app, ["settings", "--json"]).stderr == "", "of the programs of `up` nobody reads it"
