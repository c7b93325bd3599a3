"""What `up` says: where everything is, and when a program could not have the port that was wanted."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console

from console.up import show
from console.up.show import moved
from labelwheel.settings import Settings


def test_an_address_and_a_login_are_whole_on_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(show, "TERMINAL", Console(width=40, force_terminal=True, no_color=True))
    password = "x" * 30 + "[red]"
    settings = Settings(home=tmp_path, console_password=SecretStr(password), label_studio_url="http://127.0.0.1:8080")
    show.addresses(settings)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Console", "http://127.0.0.1:8700"] in lines
    assert ["user", "engineer", "password", password] in lines


def test_nothing_is_said_while_every_port_is_the_wanted_one() -> None:
    assert moved(Settings(), Settings()) == []


def test_a_port_that_moved_is_named_with_the_new_one() -> None:
    assert moved(Settings(), Settings(ml_backend_port=9191)) == ["Port 9090 was taken: ml_backend has 9191."]
