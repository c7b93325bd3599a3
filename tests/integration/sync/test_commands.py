"""`select`, `pause` and `resume`, as a person types them; and where a pause is seen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from console.cli import app
from console.doctor import LOOKS
from console.overview import overview
from labelwheel.settings import PREFIX, get_settings
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
    assert "paused already" in say("pause", "selection", "--why", "Lunch.")
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
