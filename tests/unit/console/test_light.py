"""The web process stays light: what trains and reports is imported by jobs only."""

from __future__ import annotations

import subprocess
import sys


def test_the_app_loads_without_heavy_libraries() -> None:
    heavy = ["torch", "ultralytics", "mlflow", "evidently", "dvc", "pandas", "matplotlib", "sklearn"]
    code = f"import sys, console.web; print([name for name in {heavy!r} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
