"""Connect the wheel to a Label Studio project: token, project, storage, ML backend, webhook, view. Safe at every start."""

from __future__ import annotations

from contextlib import suppress

from labelwheel.credentials import remember_secrets
from labelwheel.database import get_database
from labelwheel.database.tables import Project as ProjectRow
from labelwheel.database.tables import utcnow
from labelwheel.errors import InputError, LabelStudioError, LabelStudioUnreachable, NotFoundError, SettingsError, WentBack
from labelwheel.labelstudio import provision
from labelwheel.labelstudio.client import LabelStudio, Project
from labelwheel.labelstudio.inspection import Setup
from labelwheel.project import current_project, remember_project
from labelwheel.serving import newest_deployment
from labelwheel.settings import PREFIX, Settings
from labelwheel.vision.label_config import parse, trained_labels
from retrain.model.deploy import renew
from sync.exchange import reset
from sync.exchange.adopt import ask_for_adoption
from sync.exchange.pull import pull
from sync.exchange.reset import Answer
from sync.queue import take_up
from sync.review.approve import parse_policy
from sync.review.reading import reading_of


def connect(settings: Settings, accept_reset: Answer | None = None) -> ProjectRow:
    """Bring Label Studio to where the wheel can turn, and record the project. ml_backend must answer already.

    `accept_reset` says what a person decided about a Label Studio that went back (see `sync.exchange.reset`).
    Raises LabelStudioError (or LabelStudioUnreachable) with the cure, SettingsError when no label config is there.
    """
    client, policy = open_client(settings), parse_policy(settings.approval)
    known = _known_project(settings)
    if known is not None and accept_reset is None:
        _refuse_another(settings, client, known)
    project = provision.ensure_project(client, settings.label_studio_project, lambda: label_config(settings), policy.annotators)
    if known is not None and accept_reset is not None:
        _accept(settings, known, project, accept_reset)
    row = _remember(settings, project)
    renew(get_database(settings.database_url), settings, row.id)  # open tasks follow a label config that was edited
    if settings.image_urls == "local-files":
        settings.images_dir.mkdir(parents=True, exist_ok=True)
        provision.ensure_storage(client, project.id, settings.images_dir)
    password, secret = settings.ml_backend_password.get_secret_value(), settings.webhook_secret.get_secret_value()
    # The webhook first: with one at that address Label Studio adds no unauthenticated one of its own beside the backend.
    provision.ensure_webhook(client, project.id, webhook_url(settings), provision.WEBHOOK_HEADER, secret)
    provision.ensure_backend(client, project.id, settings.ml_backend_url, settings.ml_backend_user, password)
    provision.ensure_view(client, project.id)
    _pin_version(settings, client, row)
    if accept_reset is not None:
        pull(get_database(settings.database_url), settings, client, thorough=True, accepted=True)
    if settings.adopt and row.pull_cursor is None:  # nothing was ever seen of it: the scheduler sees to what is there already
        look_for_strangers(settings, row.id)
    return row


def look_for_strangers(settings: Settings, project_id: int) -> None:
    """Have all tasks that others made adopted, in the background, or by whoever calls `sync.exchange.adopt` first."""
    with get_database(settings.database_url).write() as session:
        ask_for_adoption(session, project_id)


def _known_project(settings: Settings) -> ProjectRow | None:
    with get_database(settings.database_url).read() as session, suppress(NotFoundError):
        return current_project(session, settings)
    return None


def _refuse_another(settings: Settings, client: LabelStudio, known: ProjectRow) -> None:
    """Another project under a known name is a server that was reset: nothing is made or sent there unasked."""
    there = client.find_project(settings.label_studio_project)
    try:
        reset.refuse_other(known, there or reset.look(client, known))
    except WentBack as error:
        reset.stop(get_database(settings.database_url), known.id, error.message, utcnow())
        raise
    if there is None:
        raise LabelStudioError(
            f"Label Studio's project {known.ls_project_id} is no longer called {known.title!r}.",
            "Give it its title back, or set LABELWHEEL_LABEL_STUDIO_PROJECT to another one for a project of its own.",
        )


def _accept(settings: Settings, known: ProjectRow, there: Project, answer: Answer) -> None:
    with get_database(settings.database_url).write() as session:
        row = session.get_one(ProjectRow, known.id)
        reset.accept(session, row, there, answer, reading_of(session, row, settings))


def open_client(settings: Settings) -> LabelStudio:
    """A client whose token works: the configured one, or a fresh one from the login that `up` created."""
    token = settings.label_studio_token.get_secret_value()
    client = LabelStudio(settings.label_studio_url, token, public_url=settings.label_studio_public_url)
    if token and _works(client):
        return client
    password = settings.label_studio_password.get_secret_value()
    fresh = provision.fetch_token(settings.label_studio_url, settings.label_studio_username, password)
    remember_secrets(settings, {PREFIX + "LABEL_STUDIO_TOKEN": fresh})
    return LabelStudio(settings.label_studio_url, fresh, public_url=settings.label_studio_public_url)


def webhook_url(settings: Settings) -> str:
    return f"{settings.ml_backend_url}/webhook"


def wanted_setup(settings: Settings) -> Setup:
    """What `labelwheel doctor` compares the project with."""
    with get_database(settings.database_url).read() as session:
        deployment = newest_deployment(session, current_project(session, settings).id)
    storage = settings.images_dir if settings.image_urls == "local-files" else None
    served_as = deployment.served_as if deployment and deployment.refreshed_at else None
    return Setup(settings.ml_backend_url, webhook_url(settings), provision.WEBHOOK_HEADER, storage, served_as)


def _works(client: LabelStudio) -> bool:
    try:
        client.me()
    except LabelStudioUnreachable:
        raise
    except LabelStudioError:
        return False
    return True


def label_config(settings: Settings) -> str:
    """The file's text, checked before a project is made of it: a project keeps its label config."""
    path = settings.label_config
    if not path.is_file():
        message = f"There is no label config at {path}."
        raise SettingsError(message, "Set LABELWHEEL_LABEL_CONFIG to a file, or run from the project's folder.")
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        parse(text)
    except InputError as error:
        raise SettingsError(f"{path} cannot be used. {error.message}", error.cure) from error
    return text


def _remember(settings: Settings, project: Project) -> ProjectRow:
    try:
        labels = trained_labels(parse(project.label_config))
    except InputError as error:
        page = f"{settings.label_studio_url}/projects/{project.id}/settings/labeling"
        message = f"The label config of the Label Studio project {project.title!r} cannot be used. {error.message}"
        raise LabelStudioError(message, f"Edit it at {page}. {error.cure}") from error
    with get_database(settings.database_url).write() as session:
        name = settings.label_studio_name
        row = remember_project(session, name, project.id, project.title, project.label_config, labels, project.created_at)
        take_up(session, row.id)  # what was in the way of these items may be mended now
        return row


def _pin_version(settings: Settings, client: LabelStudio, row: ProjectRow) -> None:
    """Show the deployed version's pre-annotations, or none: with the backend's title pinned Label Studio shows nothing while we are down."""
    with get_database(settings.database_url).read() as session:
        deployment = newest_deployment(session, row.id)
    if deployment is None or deployment.refreshed_at:  # else the refresh pins it, when the open tasks are ready
        client.set_model_version(row.ls_project_id, deployment.served_as if deployment else "")
