"""`labelwheel retention`: the scheduled job, by hand, and its report in words."""

from __future__ import annotations

from collections.abc import Iterator

from rich.filesize import decimal

from labelwheel.database import get_database
from labelwheel.database.tables import utcnow
from labelwheel.errors import AlreadyRunning
from labelwheel.lease import hold
from labelwheel.settings import Settings
from ml_backend.jobs import LEASE
from ml_backend.retention import Report, retain
from sync.selection.forget import forget


def run(settings: Settings, dry_run: bool) -> Report:
    """Let images go, or only say which. AlreadyRunning while the scheduled job is at it."""
    database = get_database(settings.database_url)
    if dry_run:
        return retain(database, settings, utcnow(), dry_run=True)
    with hold(database, LEASE, seconds=300) as lease:
        if lease is None:
            raise AlreadyRunning("A retention is running already.", "Wait for its end; a killed one blocks for at most five minutes.")
        forget(database, settings, utcnow())  # the scheduler does this with what expires in the queue
        return retain(database, settings, utcnow())


def lines(report: Report, dry_run: bool) -> Iterator[str]:
    """The report as a person reads it."""
    go = "would go" if dry_run else "went"
    needed = ", ".join(f"{count} {why}" for why, count in report.needed.items() if count)
    yield f"{report.images} images are stored, {decimal(report.bytes)}. Needed: {needed or 'none'}."
    count = sum(report.expired.values())
    causes = ", ".join(f"{number} by {cause}" for cause, number in report.expired.items() if number)
    yield f"[bold]{count}[/] {go}{f' ({causes})' if causes else ''}: {decimal(report.expired_bytes)}."
    if report.orphans:
        yield f"{report.orphans} files that no row names {go}: {decimal(report.orphan_bytes)}."
    if report.lost:
        yield f"[red]✗[/] {len(report.lost)} images are lost: `labelwheel doctor` names the cure."
