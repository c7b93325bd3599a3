"""The demo's own manners; the whole of it is played by the acceptance tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock


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
