"""Tasks that are there before a test of the contract begins."""

from __future__ import annotations

import pytest

from tests.fixtures.contract import task
from tests.fixtures.studio import Counterpart


@pytest.fixture
def tasks(studio: Counterpart) -> list[int]:
    return studio.client.import_tasks(studio.project.id, [task(f"k{number}") for number in range(7)])
