"""Entry points of the queue: each may run twice, at any moment, on any host."""

from __future__ import annotations

from labelwheel.database import get_database
from labelwheel.database.tables import utcnow
from labelwheel.lease import hold
from labelwheel.settings import get_settings

LEASE = "retention"


def predict_later() -> int:
    """Predict what batches of Label Studio's left over, and store it there; how many were stored."""
    from labelwheel.labelstudio.client import LabelStudio
    from labelwheel.project import projects
    from labelwheel.storage import ImageStore
    from ml_backend.later import work_off_each
    from ml_backend.model import DetectorModel
    from ml_backend.state import State

    settings, database = get_settings(), get_database()
    here = State(settings, database, ImageStore(settings.images_dir))
    client = LabelStudio(settings.label_studio_url, settings.label_studio_token.get_secret_value())
    with database.read() as session:
        served = list(projects(session, settings).values())
    return work_off_each(database, client, [(project, DetectorModel(here, project, project.label_config)) for project in served])


def retain() -> int:
    """Let images go that nobody needs; how many went."""
    from ml_backend.retention import retain

    with hold(get_database(), LEASE, seconds=300) as lease:
        return sum(retain(get_database(), get_settings(), utcnow()).expired.values()) if lease else 0
