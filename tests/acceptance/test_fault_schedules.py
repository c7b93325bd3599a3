"""Fault schedules against the real Label Studio: the same as on its twin, and sometimes the server is really restarted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labelwheel.labelstudio import LabelStudio
from labelwheel.settings import Settings
from tests.fixtures.faults import keep, run, world
from tests.fixtures.label_studio import Server, serving
from tests.fixtures.schedule_of_faults import World
from tests.fixtures.studio import server_counterpart

SAMPLE, PROOF = 3, 30


@pytest.fixture
def make_world(
    wheel_settings: Settings, empty_database: Path, label_studio_server: Server, label_studio: LabelStudio, second_token: str
) -> Iterator[Callable[[bool], World]]:
    """Makes a wheel with an empty database and a new project; whether its server may be restarted is said."""
    second = LabelStudio(label_studio.url, second_token)
    with serving() as receiver:
        yield lambda restarts: world(
            wheel_settings,
            empty_database,
            server_counterpart(label_studio, second, receiver),
            label_studio_server.restart if restarts else None,
        )


def test_a_sample_of_schedules_ends_well_on_the_real_server(make_world: Callable[[bool], World]) -> None:
    assert run(lambda: make_world(False), SAMPLE, 6, "server")["schedules"] >= SAMPLE


@pytest.mark.prove
@pytest.mark.timeout(7200)
def test_thirty_schedules_end_well_on_the_real_server(make_world: Callable[[bool], World]) -> None:
    keep("server", run(lambda: make_world(True), PROOF, 20, "server"))
