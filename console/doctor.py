"""`labelwheel doctor`: look at every part that the wheel needs, and name each fault with its cure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import requests
from redis.exceptions import RedisError
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, joinedload

from console.names import unknown_names
from console.up import status
from labelwheel.database import Database, get_database
from labelwheel.database.tables import Decision, Hint, LsTask, Project, QueueItem, Tick, TrainingRun, utcnow
from labelwheel.errors import DatabaseMissing, InputError, LabelStudioError, LabelwheelError, TooLate, WentBack
from labelwheel.image_url import image_url
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.labelstudio.inspection import Fault, inspect_setup
from labelwheel.pause import RETRAINING, paused, told
from labelwheel.project import current_project
from labelwheel.serving import load, newest_deployment, slots
from labelwheel.settings import Settings, unknown_variables
from labelwheel.vision.label_config import Slot, parse

CURE_UP = "Start it with `labelwheel up`; its log is in {logs}."
HINT_SECONDS = 120
STARTING_SECONDS = 60  # until a worker has read its libraries and said that it is there


def examine(settings: Settings) -> list[Fault]:
    """All faults found, most basic first; empty when all is well. Nothing is changed. One that is not `broken` is only worth knowing."""
    strangers = list(_unknown_settings())
    faults = [*_database(settings)]
    if faults:
        return strangers + faults  # without a database nothing else can be judged
    faults = strangers
    database = get_database(settings.database_url)
    faults += [*_queue(settings), *_scheduler(settings, database), *_servers(settings)]
    faults += [*_unanswered(settings), *_door(settings, database), *_images(settings, database)]
    try:
        with database.read() as session:
            project = current_project(session, settings)
    except LabelwheelError as error:
        return [*faults, Fault("not_connected", error.message, error.cure)]
    return [
        *faults,
        *_label_studio(settings, database, project),
        *_model(settings, database, project),
        *_work(database, project),
        *_names(settings, database, project),
    ]


def _names(settings: Settings, database: Database, project: Project) -> Iterator[Fault]:
    with database.read() as session:
        for told in unknown_names(session, project, settings):
            yield Fault("unknown_name", told, "Correct the name; `*` stands for all that are not named.", broken=False)


def _unknown_settings() -> Iterator[Fault]:
    for name, like in unknown_variables().items():
        cure = f"Write {like}, if that is what you mean." if like else "Take it out; `labelwheel settings` lists every setting."
        yield Fault("unknown_setting", f"{name} names no setting, and changes nothing.", cure, broken=False)


def _database(settings: Settings) -> Iterator[Fault]:
    try:
        with get_database(settings.database_url).read() as session:
            session.execute(text("SELECT 1 FROM project"))
    except DatabaseMissing as error:
        yield Fault(error.code, error.message, error.cure)
    except SQLAlchemyError as error:
        message = f"The database cannot be used ({type(error).__name__})."
        yield Fault("database", message, "Run `labelwheel migrate`, and check LABELWHEEL_DATABASE_URL and LABELWHEEL_HOME.")


def _queue(settings: Settings) -> Iterator[Fault]:
    from rq import Worker

    from labelwheel.queue import QUEUES, connect

    try:
        workers = Worker.all(connection=connect(settings.redis_url))
    except RedisError as error:
        yield Fault("queue_unreachable", f"The job queue does not answer ({type(error).__name__}).", CURE_UP.format(logs=settings.log_dir))
        return
    served = {name for worker in workers for name in worker.queue_names()}
    for name in QUEUES:
        if name not in served:
            silent = Fault("no_worker", f"No worker serves the queue {name!r}.", f"Start one: `labelwheel worker {name}`.")
            yield _starting(settings, f"worker-{name}") or silent


def _starting(settings: Settings, program: str) -> Fault | None:
    """That `up` started it a moment ago, and it was not heard of yet."""
    state = next((state for state in status(settings) if state.name == program), None)
    if state is None or state.state not in ("STARTING", "RUNNING") or state.uptime_seconds >= STARTING_SECONDS:
        return None
    return Fault("starting", f"{program} starts, since {state.uptime_seconds} s.", "Look again in a minute.", broken=False)


def _scheduler(settings: Settings, database: Database) -> Iterator[Fault]:
    with database.read() as session:
        newest = session.scalar(select(func.max(Tick.fire_time)).where(Tick.name == "sweep"))
    if newest is not None and utcnow() - newest <= timedelta(seconds=2 * settings.tick_sweep + 30):
        return
    if yet := _starting(settings, "scheduler"):
        yield yet
        return
    since = f" since {newest:%Y-%m-%d %H:%M:%S} UTC" if newest else ""
    message = f"The scheduler is silent{since}: nothing is pulled, selected or trained."
    yield Fault("no_scheduler", message, "Start it with `labelwheel up`, or `labelwheel scheduler` where you run the parts yourself.")


def _servers(settings: Settings) -> Iterator[Fault]:
    for name, url, mark in (("ml_backend", settings.ml_backend_url, "unanswered"), ("console", settings.console_url, "database")):
        try:
            answer = requests.get(f"{url}/health", timeout=5)
            answer.raise_for_status()
            found = answer.json()
            if not isinstance(found, dict) or mark not in found:
                yield Fault(f"{name}_down", f"Something that is not {name} answers at {url}.", CURE_UP.format(logs=settings.log_dir))
        except requests.RequestException as error:  # no JSON, too
            yield Fault(f"{name}_down", f"{name} does not answer at {url} ({type(error).__name__}).", CURE_UP.format(logs=settings.log_dir))


def _unanswered(settings: Settings) -> Iterator[Fault]:
    """Tasks whose annotators saw no boxes, for reasons that Label Studio does not show."""
    try:
        said = requests.get(f"{settings.ml_backend_url}/health", timeout=5).json()["unanswered"]
        counts = {str(code): int(count) for code, count in said.items() if code != TooLate.code}
    except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError):
        return  # it is down, or no ml_backend: said already
    if counts:
        reasons = ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))
        message = f"Since its start ml_backend could not predict {sum(counts.values())} tasks, whose annotators saw no boxes: {reasons}."
        cure = "docs/how-to.md says what to do for each code (Images that live elsewhere); the log of ml_backend names the tasks."
        yield Fault("tasks_unanswered", message, cure, broken=False)


def _door(settings: Settings, database: Database) -> Iterator[Fault]:
    """Why cameras are asked to wait."""
    from ml_backend.pressure import excess, measure

    with database.read() as session:
        refusal = excess(measure(session, settings), settings)
    if refusal is not None:
        yield Fault(refusal.code, f"Cameras are asked to wait. {refusal.message}", refusal.cure)


def _images(settings: Settings, database: Database) -> Iterator[Fault]:
    """Images that are gone and did not expire."""
    from labelwheel.storage import ImageStore
    from ml_backend.retention import lost

    missing = lost(database, ImageStore(settings.images_dir))
    if missing:
        message = f"{len(missing)} stored images are gone, first {missing[0]}."
        yield Fault("images_lost", message, f"Restore {settings.images_dir} from a backup, or send these images again.")


def _label_studio(settings: Settings, database: Database, project: Project) -> Iterator[Fault]:
    from console.connect import wanted_setup
    from sync.exchange import reset

    token = settings.label_studio_token.get_secret_value()
    client = LabelStudio(settings.label_studio_url, token, public_url=settings.label_studio_public_url)
    try:
        client.me()
    except LabelStudioError as error:
        yield Fault(error.code, error.message, error.cure)
        return
    try:
        reset.look(client, project)
    except WentBack as error:
        with database.read() as session:
            known = reset.held(session, project.id)
        if known is None:  # else it is said below
            yield Fault(error.code, error.message, error.cure)
        return
    yield from inspect_setup(client, project.ls_project_id, wanted_setup(settings))
    yield from _approval(settings, project, client)
    yield from _label_config(project, client)
    yield from _shown(settings, database, project, client)
    yield from _visible(settings, database, project, client)


def _approval(settings: Settings, project: Project, client: LabelStudio) -> Iterator[Fault]:
    """An approval policy that is none, or that needs more annotators than Label Studio asks for."""
    from sync.review.approve import parse_policy

    try:
        policy = parse_policy(settings.approval)
    except LabelwheelError as error:
        yield Fault("approval", f"Nothing is pulled. {error.message}", error.cure)
        return
    asked = client.connection.read(f"api/projects/{project.ls_project_id}/")["maximum_annotations"]
    if asked < policy.annotators:
        message = f"Label Studio offers each task to {asked} annotators; the policy {policy} needs {policy.annotators}."
        yield Fault("annotators", message, "Run `labelwheel connect`.")


def _label_config(project: Project, client: LabelStudio) -> Iterator[Fault]:
    """A label config that was edited in Label Studio since we read it."""
    there = client.project(project.ls_project_id)
    if there.label_config == project.label_config:
        return
    try:
        parse(there.label_config)
    except InputError as error:
        cure = f"Edit it at {there.url}/settings/labeling. {error.cure}"
        yield Fault("label_config", f"The label config in Label Studio cannot be used. {error.message}", cure)
    else:
        message = "The label config was edited in Label Studio, and is not in use here yet."
        yield Fault("label_config_changed", message, "Run `labelwheel connect`.", broken=False)


def _shown(settings: Settings, database: Database, project: Project, client: LabelStudio) -> Iterator[Fault]:
    """Pre-annotations that an annotator will not see, and why."""
    with database.read() as session:
        deployment = newest_deployment(session, project.id)
    if deployment is None:
        return
    task = next(client.open_tasks(project.ls_project_id, page_size=1), None)
    versions = [entry["model_version"] for entry in task["predictions"]] if task else []
    if task and deployment.served_as not in versions:
        message = f"Open task {task['id']} has no prediction of the deployed {deployment.served_as}, so the annotator sees none."
        yield Fault("predictions_not_shown", message, "The refresh does that within a minute; if it does not, look into worker-fast's log.")


def _visible(settings: Settings, database: Database, project: Project, client: LabelStudio) -> Iterator[Fault]:
    """An image as the annotator's browser would fetch it."""
    with database.read() as session:
        query = select(LsTask).join(QueueItem, QueueItem.id == LsTask.queue_item_id)
        query = query.where(LsTask.project_id == project.id, QueueItem.status != "expired").order_by(LsTask.id.desc()).limit(1)
        newest = session.scalar(query.options(joinedload(LsTask.queue_item).joinedload(QueueItem.image)))
    if newest is None:
        return
    url = image_url(newest.queue_item.image.uri, settings)
    status = client.fetch_status(url) if url.startswith("/") else _status(url)
    if status != 200:
        message = f"The image of task {newest.ls_task_id} is answered {status or 'not at all'} where the browser asks for it."
        cure = "Run `labelwheel connect` (it adds the local storage), or set LABELWHEEL_IMAGE_URLS=signed and LABELWHEEL_ML_BACKEND_PUBLIC_URL."
        yield Fault("image_not_visible", message, cure)


def _status(url: str) -> int:
    try:
        return requests.head(url, timeout=5).status_code
    except requests.RequestException:
        return 0


def _model(settings: Settings, database: Database, project: Project) -> Iterator[Fault]:
    with database.read() as session:
        rows = {slot: newest_deployment(session, project.id, slot) for slot in slots(project.label_config)}
    for slot, deployment in rows.items():
        if deployment is None:
            yield _absent(slot)
            continue
        try:
            load(deployment, settings)
        except LabelwheelError as error:
            yield Fault("model_broken", error.message, error.cure)


def _absent(slot: Slot) -> Fault:
    if slot.name:
        message = f"The label config names the model {slot}, which is not deployed: its tags show nothing yet."
        cure = f"Bring it: `labelwheel model import FILE --name {slot.name} --alias {slot.alias}`."
        return Fault("no_model_for_tag", message, cure, broken=False)
    message = "No model is deployed: annotators see no pre-annotations yet."
    return Fault(
        "no_model",
        message,
        "Label the first batch (see `labelwheel conditions`), or bring a model: `labelwheel model import`.",
        broken=False,
    )


def _work(database: Database, project: Project) -> Iterator[Fault]:
    with database.read() as session:
        yield from (fault for look in LOOKS if (fault := look(session, project)))


def _old_hints(session: Session, project: Project) -> Fault | None:
    oldest = session.scalar(select(func.min(Hint.received_at)).where(Hint.project_id == project.id, Hint.handled_at.is_(None)))
    if oldest is None or (utcnow() - oldest).total_seconds() < HINT_SECONDS:
        return None
    return Fault("pull_behind", f"Webhooks since {oldest:%H:%M:%S} UTC wait for a pull.", "Look into the log of worker-fast.")


def _late_predictions(session: Session, project: Project) -> Fault | None:
    """Tasks of a batch that nobody works on: the job takes some seconds for twenty."""
    from ml_backend.later import progress

    now = utcnow()
    behind = progress(session, project.id, now)
    if behind.waiting_since is None or now - behind.waiting_since < timedelta(minutes=30):
        return None
    message = f"{behind.waiting} tasks wait for predictions since {behind.waiting_since:%Y-%m-%d %H:%M} UTC."
    return Fault("predictions_behind", message, "Look into the log of worker-fast.")


def _set_aside(session: Session, project: Project) -> Fault | None:
    """Items that cannot be pushed as they are."""
    waiting = select(QueueItem).where(QueueItem.project_id == project.id, QueueItem.status == "pending", QueueItem.fault.is_not(None))
    count = session.scalar(select(func.count()).select_from(waiting.subquery()))
    first = session.scalar(waiting.order_by(QueueItem.id).limit(1))
    if first is None:
        return None
    message = f"{count} queue items cannot become tasks, first {first.id}: {first.fault}"
    return Fault("items_set_aside", message, "Mend that, then `labelwheel connect`: they are pushed once more.")


def _failed_run(session: Session, project: Project) -> Fault | None:
    run = session.scalar(select(TrainingRun).where(TrainingRun.project_id == project.id).order_by(TrainingRun.id.desc()).limit(1))
    if run is None or run.status != "failed":
        return None
    return Fault("training_failed", f"Training run {run.id} failed: {run.error}", "Mend the cause, then `labelwheel retrain`.")


def _held_pull(session: Session, project: Project) -> Fault | None:
    """Label Studio lost what it knew, and nothing is believed of it until somebody decides."""
    from sync.exchange import reset

    pause = reset.held(session, project.id)
    if pause is None:
        return None
    message = f"Nothing is pulled since {pause.since:%Y-%m-%d %H:%M} UTC, and every label stays. {pause.why}"
    error = WentBack(message)
    return Fault(error.code, error.message, error.cure)


def _tasks_left(session: Session, project: Project) -> Fault | None:
    """Tasks that others made and that the last adoption left as they were."""
    mine = select(Decision).where(Decision.project_id == project.id, Decision.kind == "adoption")
    last = session.scalar(mine.order_by(Decision.id.desc()).limit(1))
    if last is None or not last.inputs["left"]:
        return None
    message = f"{last.inputs['left']} tasks of others were not adopted, first {last.reasons[0]['text']}"
    cure = "Mend or allow the addresses of their images (LABELWHEEL_IMAGE_SOURCES), then `labelwheel connect`."
    return Fault("tasks_not_adopted", message, cure, broken=False)


def _paused_selection(session: Session, project: Project) -> Fault | None:
    row = paused(session, project.id)
    return Fault("selection_paused", told(row), "Let it go on: `labelwheel resume selection`.", broken=False) if row else None


def _paused_retraining(session: Session, project: Project) -> Fault | None:
    row = paused(session, project.id, RETRAINING)
    return Fault("retraining_paused", told(row), "Let it go on: `labelwheel resume retraining`.", broken=False) if row else None


LOOKS: tuple[Callable[[Session, Project], Fault | None], ...] = (
    _old_hints,
    _late_predictions,
    _set_aside,
    _failed_run,
    _held_pull,
    _paused_selection,
    _paused_retraining,
    _tasks_left,
)
