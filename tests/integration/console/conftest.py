"""The console's app; see `tests.fixtures.console_app`."""

from __future__ import annotations

from tests.fixtures.console_app import app, bearer, database, filled, project, settings

__all__ = ["app", "bearer", "database", "filled", "project", "settings"]
