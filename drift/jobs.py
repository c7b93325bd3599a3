"""The drift check: measure every source that has a window nobody tested, store the report, raise or resolve alerts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import structlog
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from drift import windows
from drift.alert import Verdict, decide
from drift.measure import Measurement, measure, obstacle, summarize
from drift.windows import FEATURES, Windows
from labelwheel.database import Database, get_database
from labelwheel.database.tables import Alert, DriftReport, utcnow
from labelwheel.errors import NotFoundError
from labelwheel.project import current_project
from labelwheel.settings import Settings, get_settings

log = structlog.get_logger(__name__)

KEEP_PAGES = 20


def check() -> None:
    """Check the connected project; nothing to do while there is none."""
    settings, database = get_settings(), get_database()
    try:
        with database.read() as session:
            project = current_project(session, settings)
    except NotFoundError:
        return
    check_project(database, settings, project.id)


def check_project(database: Database, settings: Settings, project_id: int) -> list[DriftReport]:
    """Test every source whose window is new enough; return the reports stored. A source that fails does not stop the others."""
    with database.read() as session:
        names = windows.sources(session, project_id)
    stored: list[DriftReport] = []
    for source in names:
        try:
            stored += _check_source(database, settings, project_id, source)
        except Exception:  # whatever one camera's numbers do to a statistics library, the other cameras are watched
            log.exception("drift not measured", source=source)
    return stored


def _check_source(database: Database, settings: Settings, project_id: int, source: str) -> list[DriftReport]:
    with database.read() as session:
        cut = windows.load(session, project_id, source, settings.drift_reference, settings.drift_window)
        due = [feature for feature in FEATURES if cut and _is_due(session, project_id, source, feature, cut)]
    reports = (_check_feature(database, settings, project_id, source, feature, cut) for feature in due if cut)
    return [report for report in reports if report is not None]


def _is_due(session: Session, project_id: int, source: str, feature: str, cut: Windows) -> bool:
    """A quarter of the window must be new: two reports on nearly the same captures are not two witnesses."""
    tested = session.scalar(_reports(project_id, source, feature).limit(1))
    return tested is None or 4 * cut.fresh_since(tested.last_capture_id) >= len(cut.window)


def _check_feature(database: Database, settings: Settings, project_id: int, source: str, feature: str, cut: Windows) -> DriftReport | None:
    reference, window = windows.values(cut.reference, feature), windows.values(cut.window, feature)
    if reason := obstacle(reference, window):
        log.info("drift not measurable", source=source, feature=feature, reason=reason)
        return None
    measurement = measure(feature, reference, window, settings.drift_threshold)
    report = _report(project_id, source, measurement, reference, window, cut)
    with database.write() as session:
        session.add(report)
        session.flush()
        _follow_up(session, report, settings.drift_repeats)
    _save_page(settings.home / "drift", report.id, measurement)
    return report


def _report(
    project_id: int, source: str, measurement: Measurement, reference: list[float], window: list[float], cut: Windows
) -> DriftReport:
    return DriftReport(
        project_id=project_id,
        source=source,
        reference_size=len(reference),
        window_size=len(window),
        last_capture_id=cut.last_capture_id,
        summary={
            "reference": summarize(reference),
            "window": summarize(window),
            "from": cut.window[0].captured_at.isoformat(),
            "to": cut.window[-1].captured_at.isoformat(),
        },
        **asdict(measurement.score),
    )


def _follow_up(session: Session, report: DriftReport, repeats: int) -> None:
    """Raise or resolve, in the transaction of the report: no crash can part the two."""
    latest = session.scalars(_reports(report.project_id, report.source, report.feature).limit(repeats)).all()
    alert = session.scalar(
        select(Alert).where(
            Alert.project_id == report.project_id,
            Alert.source == report.source,
            Alert.feature == report.feature,
            Alert.resolved_at.is_(None),
        )
    )
    verdict = decide([row.drifted for row in latest], alert is not None, repeats)
    if verdict is Verdict.RAISE:
        session.add(_alert(report))
        log.warning("drift alert raised", source=report.source, feature=report.feature, score=report.score)
    if verdict is Verdict.RESOLVE and alert is not None:
        alert.resolved_at = utcnow()
        log.info("drift alert resolved", source=report.source, feature=report.feature, score=report.score)


def _alert(report: DriftReport) -> Alert:
    before, now = report.summary["reference"]["mean"], report.summary["window"]["mean"]
    return Alert(
        project_id=report.project_id,
        drift_report_id=report.id,
        source=report.source,
        feature=report.feature,
        message=(
            f"{report.feature.capitalize()} of {report.source} moved from {before:.1f} to {now:.1f}: "
            f"{report.score:.2f} standard deviations of its reference, {report.threshold:.2f} are allowed."
        ),
    )


def _reports(project_id: int, source: str, feature: str) -> Select[DriftReport]:
    mine = (DriftReport.project_id == project_id, DriftReport.source == source, DriftReport.feature == feature)
    return select(DriftReport).where(*mine).order_by(DriftReport.id.desc())


def _save_page(folder: Path, report_id: int, measurement: Measurement) -> None:
    """Keep Evidently's page of the newest reports: at 4 MB each they would fill a disk."""
    measurement.save_html(folder / f"{report_id}.html")
    pages = sorted(folder.glob("*.html"), key=lambda page: int(page.stem), reverse=True)
    for page in pages[KEEP_PAGES:]:
        page.unlink(missing_ok=True)
