"""A Label Studio whose guards of private addresses are on, as in a default installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labelwheel.errors import LabelStudioError
from labelwheel.labelstudio import LabelStudio
from labelwheel.labelstudio.provision import ensure_backend, ensure_project, ensure_webhook, fetch_token
from tests.fixtures.label_studio import LABEL_CONFIG, settings_for, started


def test_guards_are_named_and_nothing_half_done_stays(tmp_path: Path, tiny_backend: Any) -> None:
    settings = settings_for(tmp_path)
    with started(settings, SSRF_PROTECTION_ENABLED="true") as server:
        token = fetch_token(server.url, settings.label_studio_username, settings.label_studio_password.get_secret_value())
        client = LabelStudio(server.url, token)
        project = ensure_project(client, "Guarded", lambda: LABEL_CONFIG)
        with pytest.raises(LabelStudioError, match="SSRF_PROTECTION_ENABLED=false"):
            ensure_webhook(client, project.id, f"{tiny_backend.url}/webhook", "X-Secret", "s")
        with pytest.raises(LabelStudioError, match="ML_BLOCK_LOCAL_IP=false"):
            ensure_backend(client, project.id, tiny_backend.url, "user", "pw")
        assert client.connection.read("api/ml", project=project.id) == []
