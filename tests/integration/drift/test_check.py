"""The drift check with the real Evidently on a real database: quiet when nothing changes, one alert when the light fails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from sqlalchemy import select

from drift import jobs
from drift.measure import measure
from drift.metrics import metrics
from labelwheel.database import Database, migrate
from labelwheel.database.tables import Alert, Capture, DriftReport, Image, Project
from labelwheel.settings import Settings

START = datetime(2026, 11, 2, 6, tzinfo=UTC)
STEP = 10  # a quarter of the window: the fewest captures that make a new window


class Line:
    """A camera whose frames have a brightness of 130 ± 8 grey levels, times the light that is left."""

    def __init__(self, database: Database, project_id: int, source: str, seed: int = 3) -> None:
        self.database, self.project_id, self.source = database, project_id, source
        self.rng, self.numbers = np.random.default_rng(seed), count()

    def send(self, captures: int, light: float = 1.0) -> None:
        with self.database.write() as session:
            image = session.scalar(select(Image.id))
            session.add_all(self._capture(image, light) for _ in range(captures))

    def _capture(self, image_id: int | None, light: float) -> Capture:
        number = next(self.numbers)
        return Capture(
            project_id=self.project_id, image_id=image_id, source=self.source, external_id=f"{self.source}-{number}",
            captured_at=START + timedelta(seconds=number), features={"brightness": float(self.rng.normal(130, 8)) * light},
            split="train", audit=False, propensity=0.1,
        )  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, label_studio_url="http://127.0.0.1:8080")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    migrate(settings.database_url)
    database = Database(settings.database_url)
    yield database
    database.dispose()


@pytest.fixture
def project(database: Database) -> Project:
    with database.write() as session:
        project = Project(ls_url="http://127.0.0.1:8080", ls_project_id=1, title="Labelwheel", label_config="<View/>", salt="s")
        session.add(project)
        session.flush()
        session.add(Image(project_id=project.id, sha256="0" * 64, width=640, height=480, size=1, uri="x"))
    return project


def open_alerts(database: Database) -> list[Alert]:
    with database.read() as session:
        return list(session.scalars(select(Alert).where(Alert.resolved_at.is_(None))))


def test_evidently_scores_what_the_setting_promises() -> None:
    rng = np.random.default_rng(0)
    reference, window = rng.normal(130, 8, 40), rng.normal(110, 8, 40)
    score = measure("brightness", list(reference), list(window), threshold=0.8).score
    assert score.score == round(wasserstein_distance(reference, window) / reference.std(), 4)
    assert (score.method, score.drifted) == ("wasserstein", True)


def test_no_change_no_alert_over_many_windows(database: Database, settings: Settings, project: Project) -> None:
    line = Line(database, project.id, "line-a")
    line.send(70)
    for _ in range(20):
        line.send(STEP)
        assert len(jobs.check_project(database, settings, project.id)) == 1
    with database.read() as session:
        assert session.scalars(select(Alert)).all() == []
        shown = metrics(session, project, settings)["sources"][0]["features"][0]
    assert (shown["state"], len(shown["series"])) == ("calm", 20)
    assert all(point["score"] < settings.drift_threshold for point in shown["series"])


def test_failing_light_raises_one_alert_that_calm_resolves(database: Database, settings: Settings, project: Project) -> None:
    failing, steady = Line(database, project.id, "line-a"), Line(database, project.id, "line-b", seed=4)
    failing.send(80)
    steady.send(80)
    jobs.check_project(database, settings, project.id)

    raised: list[int] = []
    for _ in range(6):
        failing.send(STEP, light=0.6)
        steady.send(STEP)
        jobs.check_project(database, settings, project.id)
        raised.append(len(open_alerts(database)))
    assert raised[0] == 0, "one window alone raises nothing"
    assert raised[-1] == 1
    alert = open_alerts(database)[0]
    assert (alert.source, alert.feature) == ("line-a", "brightness")
    assert "standard deviations" in alert.message
    with database.read() as session:
        states = [source["features"][0]["state"] for source in metrics(session, project, settings)["sources"]]
    assert states == ["alert", "calm"]

    for _ in range(6):
        failing.send(STEP)
        jobs.check_project(database, settings, project.id)
    assert open_alerts(database) == []
    with database.read() as session:
        assert len(session.scalars(select(Alert)).all()) == 1, "the same fault never rang twice"


def test_a_window_is_tested_once_and_needs_a_quarter_that_is_new(database: Database, settings: Settings, project: Project) -> None:
    line = Line(database, project.id, "line-a")
    line.send(79)
    assert jobs.check_project(database, settings, project.id) == [], "one capture short of a window"
    line.send(1)
    assert len(jobs.check_project(database, settings, project.id)) == 1
    assert jobs.check_project(database, settings, project.id) == []
    line.send(STEP - 1)
    assert jobs.check_project(database, settings, project.id) == []
    line.send(1)
    assert len(jobs.check_project(database, settings, project.id)) == 1


def test_a_source_that_cannot_be_measured_does_not_stop_the_others(
    database: Database, settings: Settings, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    Line(database, project.id, "a-broken").send(80)
    Line(database, project.id, "b-dark").send(80, light=0.0)
    Line(database, project.id, "c-fine").send(80)
    real = jobs.windows.load

    def broken_disk(session, project_id, source, reference, window):
        if source == "a-broken":
            raise OSError("the disk of this camera's rows is gone")
        return real(session, project_id, source, reference, window)

    monkeypatch.setattr(jobs.windows, "load", broken_disk)
    assert [report.source for report in jobs.check_project(database, settings, project.id)] == ["c-fine"]


def test_pages_are_kept_for_the_newest_reports(
    database: Database, settings: Settings, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "KEEP_PAGES", 2)
    line = Line(database, project.id, "line-a")
    line.send(70)
    for _ in range(4):
        line.send(STEP)
        jobs.check_project(database, settings, project.id)
    with database.read() as session:
        newest = [row.id for row in session.scalars(select(DriftReport).order_by(DriftReport.id.desc()).limit(2))]
    pages = sorted((settings.home / "drift").glob("*.html"))
    assert sorted(int(page.stem) for page in pages) == sorted(newest)
    assert all("brightness" in page.read_text() for page in pages)
