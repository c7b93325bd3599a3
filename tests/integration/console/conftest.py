"""The console's app on a real SQLite database, empty or with a day's work in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from console.web import create_app
from labelwheel.database import Database
from labelwheel.database.tables import Project
from labelwheel.settings import Settings
from tests.fixtures import wheel


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return wheel.settings_for(tmp_path)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = wheel.migrated(settings)
    yield database
    database.dispose()


@pytest.fixture
def project(database: Database, settings: Settings) -> Project:
    """A connected project with no captures yet."""
    return wheel.connect(database, settings)


@pytest.fixture
def filled(database: Database, project: Project) -> Project:
    wheel.fill(database, project.id)
    return project


@pytest.fixture
def app(settings: Settings, database: Database) -> Flask:
    return create_app(settings)


@pytest.fixture
def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {wheel.TOKEN}"}
