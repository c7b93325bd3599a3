"""Images on which a brought model is tried: the project's own, or painted ones while there are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import Image
from labelwheel.errors import LabelwheelError
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore

MOST = 8


def stored(database: Database, settings: Settings, project_id: int) -> list[Path]:
    """Files of the newest images of the project: what the model will have to look at."""
    store, found = ImageStore(settings.images_dir), []
    with database.read() as session:
        uris = list(session.scalars(select(Image.uri).where(Image.project_id == project_id).order_by(Image.id.desc()).limit(MOST)))
    for uri in uris:
        try:
            found.append(store.path(uri))
        except LabelwheelError:  # erased since
            continue
    return found


def painted(folder: Path) -> list[Path]:
    """Pictures of soft blots, for a project that has no image yet."""
    random = np.random.default_rng(0)
    paths = [folder / f"sample-{number}.png" for number in range(4)]
    for path in paths:
        blots = random.integers(0, 256, (9, 12, 3), np.uint8)
        path.write_bytes(cv2.imencode(".png", cv2.resize(blots, (640, 480), interpolation=cv2.INTER_CUBIC))[1].tobytes())
    return paths
