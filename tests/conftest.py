"""What every test folder shares: the servers of `tests/fixtures`, and an environment without the developer's own settings."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from labelwheel.settings import PREFIX, get_settings

pytest_plugins = [
    "tests.fixtures.label_studio",
    "tests.fixtures.studio",
    "tests.fixtures.postgres",
    "tests.fixtures.valkey",
    "tests.fixtures.database",
    "tests.fixtures.line",
    "tests.fixtures.faults",
    "tests.fixtures.image_server",
    "tests.fixtures.browser",
    "tests.fixtures.turn",
]

# Time limits of single examples say more about the neighbours on a shared core than about the code.
settings.register_profile("wheel", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wheel")

KEPT = {"LABELWHEEL_LABEL_STUDIO_COMMAND"}  # says which program to run, not how the wheel is set


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(PREFIX) and name not in KEPT]:
        monkeypatch.delenv(name)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()
