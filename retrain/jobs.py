"""What the workers call. A job carries an id at most; everything else is read from the rows, so a job may be asked twice."""

from __future__ import annotations

import contextlib
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

from labelwheel.database import get_database
from labelwheel.database.tables import ENDED_RUN_STATUSES, TrainingRun, utcnow
from labelwheel.errors import ConflictError, DatasetError, InputError, NotFoundError
from labelwheel.project import current_project
from labelwheel.settings import get_settings
from retrain import policy
from retrain.run.attempts import MOST_FRUITLESS, Stood, Waits
from retrain.run.trigger import by_hand, trigger
from retrain.run.work import CONTROL_LOCK, LOCK, Work
from retrain.training.launch import Cancelled

log = structlog.get_logger(__name__)

HOPELESS = (DatasetError, InputError)  # the same labels would end the same way


def consider() -> None:
    """A look of the policy: decide, store the decision if it is news, and start a run if it says so."""
    settings = get_settings()
    database, now = get_database(settings.database_url), utcnow()
    with database.read() as session:
        try:
            project = current_project(session, settings)
        except NotFoundError:
            return
        state = policy.observe(session, project, settings, now)
    rules = policy.PolicyRules.of(settings)
    verdict = policy.decide(state, rules, now)
    with database.write() as session:
        decision = policy.record(session, project.id, verdict, state, rules, now)
    if verdict.cause is None:
        return
    try:
        run = trigger(database, settings, project.id, verdict.cause, decision.id, focus=verdict.slice)
        log.info("training triggered", run=run.id, cause=verdict.cause, slice=verdict.slice)
    except ConflictError:
        log.info("training already under way", cause=verdict.cause)


def start() -> None:
    """Somebody pressed "Start Training" in Label Studio: a run by hand, whatever the policy says, if there is anything to train on."""
    settings = get_settings()
    database = get_database(settings.database_url)
    with database.read() as session:
        project = current_project(session, settings)
    try:
        run = by_hand(database, settings, project.id, who="Label Studio")
        log.info("training triggered", run=run.id, cause="manual")
    except ConflictError as error:
        log.warning("training not started", reason=str(error))


def run(run_id: int) -> None:
    """Take a run from where it stands to its end. Its row tells how it went; a stumble is tried again by the sweep."""
    work = _work(run_id)
    try:
        with _alone(work.folder / LOCK):
            if _begin(work):
                _attempt(work)
    except Timeout:
        log.info("run is under way in another process", run=run_id)


def control(run_id: int) -> None:
    """Train the control of an ended run, if it is due."""
    from retrain.run.control import run_control

    work = _work(run_id)
    try:
        with _alone(work.folder / CONTROL_LOCK):
            run_control(work)
    except Timeout:
        log.info("control is under way in another process", run=run_id)


def _work(run_id: int) -> Work:
    settings = get_settings()
    return Work(get_database(settings.database_url), settings, run_id)


def _alone(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=0)


def _begin(work: Work) -> bool:
    """Count an attempt. False when the run has ended, or when too many attempts in a row brought it nowhere."""
    row = work.row()
    if row.status in ENDED_RUN_STATUSES:
        return False
    stood = Stood.of(row.metrics).now(row.percent, row.attempts)
    lost = stood.fruitless(row.attempts)
    if lost >= MOST_FRUITLESS:
        _fail(work, row.error or f"It was interrupted {lost} times without a word: look at memory and disk of the worker's host.")
        return False
    work.set(attempts=row.attempts + 1, metrics={**row.metrics, "stood": stood.as_dict()})
    return True


def _attempt(work: Work) -> None:
    from retrain.run import stages
    from retrain.run.close import close_ended

    close_ended(work)  # what earlier runs left may be the room that this one needs
    try:
        stages.turn(work)
    except Cancelled:
        log.info("training cancelled", run=work.run_id)
    except Waits as error:
        _wait(work, error)
    except Exception as error:
        log.exception("training stumbled", run=work.run_id)
        _stumble(work, error)
    if work.row().status in ENDED_RUN_STATUSES:
        close_ended(work)


def _stumble(work: Work, error: Exception) -> None:
    """Note the error. The row without a heartbeat is what the sweep rings again for."""
    row = work.row()
    hopeless = isinstance(error, HOPELESS) and error.__cause__ is None  # what another error caused, such as DVC's remote, may pass
    if hopeless or Stood.of(row.metrics).fruitless(row.attempts) >= MOST_FRUITLESS:
        _fail(work, str(error))
        return
    _note(work, error)


def _wait(work: Work, error: Waits) -> None:
    """Say what is missing, and look again at the next sweep, however often; what was begun stays."""
    log.warning("training waits", run=work.run_id, reason=error.message)
    row = work.row()
    with contextlib.suppress(Cancelled):
        work.set(status=row.status if row.dataset_id else "queued", attempts=row.attempts - 1)
    _note(work, error)


def _note(work: Work, error: Exception) -> None:
    with work.database.write() as session:
        row = session.get_one(TrainingRun, work.run_id)
        if row.status not in ENDED_RUN_STATUSES:  # who ended it meanwhile has said why
            row.error, row.heartbeat_at = str(error), None


def _fail(work: Work, error: str) -> None:
    with contextlib.suppress(Cancelled):
        work.set(status="failed", error=error, finished_at=utcnow())
        log.error("training failed", run=work.run_id, error=error)
