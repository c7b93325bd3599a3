"""The demo's own manners; the whole of it is played by the acceptance tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from console.demo import play
from console.demo.scenario import synthetic
from labelwheel.settings import get_settings, load_settings


def test_a_second_demo_does_not_touch_the_first(tmp_path: Path) -> None:
    running = tmp_path / "demo" / "system"
    running.mkdir(parents=True)
    (running / "labelwheel.db").touch()
    with FileLock(tmp_path / "demo" / "demo.lock"):
        environment = {**os.environ, "LABELWHEEL_HOME": str(tmp_path)}
        second = subprocess.run([sys.executable, "-m", "console", "demo"], env=environment, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "A demo runs already" in second.stderr
    assert (running / "labelwheel.db").exists()


def test_later_commands_read_the_settings_under_which_the_demo_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABELWHEEL_HOME", str(tmp_path / "var"))
    monkeypatch.setenv("LABELWHEEL_DATABASE_URL", "postgresql+psycopg://host/mine")
    monkeypatch.setenv("LABELWHEEL_FIRST_LABELS", "7")
    (tmp_path / ".env").write_text("LABELWHEEL_LABEL_STUDIO_URL=http://mine:8080\nLABELWHEEL_COOLDOWN_SECONDS=9\n")
    get_settings.cache_clear()
    home = play._prepare(synthetic(1))
    running = get_settings()
    get_settings.cache_clear()
    for name in ("LABELWHEEL_DATABASE_URL", "LABELWHEEL_FIRST_LABELS"):
        assert name not in os.environ
    assert load_settings(home) == running
    assert running.database_url == f"sqlite:///{home}/labelwheel.db"
    assert (running.first_labels, running.image_size, running.cooldown_seconds, running.label_studio_url) == (170, 192, 5, "")
    assert running.label_config == home / "label_config.xml"
