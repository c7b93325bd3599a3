"""What the process that loads somebody's weights finds around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrain.model.untrusted import environment


def test_no_secret_of_anybody_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"LABELWHEEL_API_TOKEN": "t1", "AWS_SECRET_ACCESS_KEY": "t2", "MLFLOW_TRACKING_PASSWORD": "t3", "SSH_AUTH_SOCK": "t4"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    found = environment(tmp_path, 1)
    assert not set(found) & set(secrets)
    assert not set(found.values()) & set(secrets.values())
    assert found["HOME"] == str(tmp_path)
    assert (found["YOLO_OFFLINE"], found["YOLO_AUTOINSTALL"]) == ("1", "false")
