"""`select`, `pause` and `resume`, as a person types them; and where a pause is seen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from console.cli import app
from console.doctor import LOOKS, _names
from console.overview import overview
from labelwheel.project import change_classes
from labelwheel.settings import PREFIX, get_settings
from labelwheel.vision.class_change import rename
from tests.fixtures.line import Line
from tests.integration.sync.test_select import box, saw


def test_a_person_looks_ahead_pauses_and_lets_go_on(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "LABEL_STUDIO_URL", line.settings.label_studio_url)
    get_settings.cache_clear()

    def say(*words: str) -> str:
        done = CliRunner().invoke(app, [*words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return " ".join(done.stdout.split())

    saw(line, line.deploy(0.5), [box(0.5)], [box(0.99)])
    found: dict[str, Any] = json.loads(say("select", "--dry-run", "--json"))
    assert ([choice["reason"] for choice in found["choices"]], found["left_out"]) == (["low_confidence"], {"certain": 1})
    assert "1 capture would be chosen (1 low confidence)" in say("select", "--dry-run")

    say("pause", "selection", "--why", "Stocktaking.")
    assert "Stocktaking." in json.loads(say("select", "--dry-run", "--json"))["why_nothing"]
    again = say("pause", "selection", "--why", "Lunch.")
    assert "paused already" in again and "Stocktaking." in again and "labelwheel resume selection" in again
    assert "0 captures" in say("select")
    assert "Stocktaking." in say("queue")
    with line.database.read() as session:
        assert "Stocktaking." in overview(session, line.project, line.settings)["paused"]
        assert [fault.code for look in LOOKS if (fault := look(session, line.project))] == ["selection_paused"]

    say("resume", "selection")
    assert "not paused" in say("resume", "selection")
    assert json.loads(say("select", "--json")) == {"chosen": 1}
    with line.database.read() as session:
        assert overview(session, line.project, line.settings)["paused"] is None


def test_why_nothing_would_be_chosen_and_which_names_fit_nothing(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "LABEL_STUDIO_URL", line.settings.label_studio_url)
    monkeypatch.setenv(PREFIX + "CLASS_WEIGHTS", "shrot=0.5 short=1 *=0.2")
    monkeypatch.setenv(PREFIX + "QUOTA_SOURCES", "line-z=0.5")
    get_settings.cache_clear()

    def say(*words: str) -> tuple[str, str]:
        done = CliRunner().invoke(app, [*words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return " ".join(done.stdout.split()), " ".join(done.stderr.split())

    nothing, strangers = say("select", "--dry-run")
    assert nothing.startswith("No capture is left to choose from: send images")
    assert "CLASS_WEIGHTS names the label 'shrot', which fits nothing: the label config has open, short." in strangers
    assert "QUOTA_SOURCES" not in strangers, "before the first image no source is known"
    line.inspect(1)
    waits, strangers = say("select", "--dry-run")
    assert waits.startswith("Captures still arrive, 1 so far: without a model, a first batch waits")
    assert "QUOTA_SOURCES names the source 'line-z', which fits nothing: images have come from line-a." in strangers
    with line.database.write() as session:
        change_classes(session, line.project.id, lambda classes: rename(classes, "short", "bridge"), "anna", "")
    monkeypatch.setenv(PREFIX + "CLASS_WEIGHTS", "shrot=0.5 short=1 bridge=1")
    get_settings.cache_clear()
    strangers = say("select", "--dry-run")[1]
    assert "'shrot'" in strangers and "'bridge'" not in strangers, "selection reads either name of the class"
    assert say("thresholds", "--suggest")[0].startswith("No model serves yet: no box is drawn")
    assert json.loads(say("thresholds", "--suggest", "--json")[0])["classes"] == []
    assert [(fault.code, fault.broken) for fault in _names(get_settings(), line.database, line.project)] == [("unknown_name", False)] * 2
