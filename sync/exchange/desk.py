"""What a push or a refresh works with: the project, its tags, the models that serve it, and the lease that keeps others away."""

from __future__ import annotations

from dataclasses import dataclass

from labelwheel.database import Database
from labelwheel.database.tables import Project
from labelwheel.errors import LabelStudioError
from labelwheel.labelstudio.port import Studio
from labelwheel.lease import HeldLease
from labelwheel.project import current_classes, current_project
from labelwheel.serving import LineUp, load_line_up, newest_line_up
from labelwheel.settings import Settings
from labelwheel.vision.class_view import shown_under
from labelwheel.vision.label_config import ControlTag, names_of, parse
from sync.exchange.reset import look


@dataclass(frozen=True, slots=True)
class Desk:
    """What one push or refresh works with.

    `tags` are those of the label config as it stands in Label Studio now; `names`, those of all its tags, also those that no model fills.
    """

    database: Database
    settings: Settings
    client: Studio
    project: Project
    tags: list[ControlTag]
    line_up: LineUp | None
    names: frozenset[str] = frozenset()

    @property
    def served_as(self) -> str | None:
        """The `model_version` of the pre-annotations; None without a model."""
        return self.line_up.served_as if self.line_up else None


def open_desk(database: Database, settings: Settings, client: Studio) -> Desk:
    """Gather project, tags and served models; errors are those of `current_project`, `reset.look`, `parse` and `load_line_up`.

    WentBack where Label Studio has another project under our id: nothing may be sent there before the next pull stops.
    """
    with database.read() as session:
        project = current_project(session, settings)
        rows, classes = newest_line_up(session, project.id), current_classes(session, project.id)
    line_up = load_line_up(rows, settings, classes) if rows else None
    # Of now: the label config may have been edited since we were connected, and a bulk import stores what no longer fits.
    config = look(client, project).label_config
    return Desk(database, settings, client, project, shown_under(parse(config), classes), line_up, names_of(config))


def keep(lease: HeldLease) -> None:
    """Renew the lease before what cannot be taken back. LabelStudioError when it has lapsed: what was looked up does not hold any more."""
    if not lease.renew():
        raise LabelStudioError("Label Studio answered so slowly that another worker took over.", "It goes on by itself; look at its load.")
