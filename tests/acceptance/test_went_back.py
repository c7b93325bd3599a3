"""A real Label Studio that loses what it knew, and one that people edit meanwhile: nothing is lost, and nothing is believed unasked."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import select

from console.connect import connect
from console.doctor import examine
from labelwheel.database import get_database, migrate
from labelwheel.database.tables import Label, LsTask, Project, QueueItem
from labelwheel.errors import WentBack
from labelwheel.labelstudio import LabelStudio
from labelwheel.labelstudio.provision import fetch_token
from sync.exchange.pull import pull
from sync.review.reading import reading_of
from sync.review.rebuild import rebuild
from tests.acceptance.test_sync_label_studio import Wheel, drawn, running, wheel
from tests.fixtures.label_studio import LABEL_CONFIG, Server, free_port, settings_for, started
from tests.fixtures.line import line_settings

__all__ = ["wheel"]

DATABASE = "label_studio.sqlite3"


def in_force(wheel: Wheel) -> dict[int, float]:
    """Left edge of the first box of each label that counts, by the image's id."""
    with wheel.database.read() as session:
        counting = (Label.approved_at.is_not(None), Label.superseded_by.is_(None), Label.withdrawn_at.is_(None))
        rows = session.execute(select(Label.image_id, Label.boxes).where(*counting)).tuples()
        return {image_id: round(boxes[0]["box"][0], 1) for image_id, boxes in rows}


def images(wheel: Wheel) -> dict[int, int]:
    """The image of each task, by Label Studio's id of the task."""
    with wheel.database.read() as session:
        return dict(session.execute(select(LsTask.ls_task_id, QueueItem.image_id).join(QueueItem)).tuples().all())


def mended(wheel: Wheel) -> None:
    """A rebuild finds nothing to do, each item is one task at most, and the pull goes on."""
    with wheel.database.read() as session:
        reading = reading_of(session, session.get_one(Project, wheel.project.id), wheel.settings)
    assert rebuild(wheel.database, wheel.project.id, reading, check=True).differing == []
    keys = [task["data"]["labelwheel_key"] for task in wheel.tasks()]
    assert len(keys) == len(set(keys))


def look(wheel: Wheel) -> int:
    return pull(wheel.database, wheel.settings, wheel.studio, thorough=True)


def faults(wheel: Wheel) -> set[str]:
    return {fault.code for fault in examine(wheel.settings)}


def test_a_label_studio_restored_from_its_backup(tmp_path: Path, bell: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mirror", "sweep", "pull"):
        monkeypatch.setattr(f"sync.exchange.{module}.CLOCK", timedelta(0))  # here a backup is some moments old, not some days
    server_settings = settings_for(tmp_path / "studio")
    server_settings.home.mkdir()
    file, copy = server_settings.home / "label-studio" / DATABASE, tmp_path / "backup.sqlite3"
    (tmp_path / "label_config.xml").write_text(LABEL_CONFIG)
    port = free_port()

    def wheel_on(server: Server, token: str) -> Wheel:
        settings = line_settings(
            server.settings.home, database_url=f"sqlite:///{tmp_path / 'labelwheel.db'}", label_studio_url=server.url,
            label_studio_name="studio", label_studio_token=token, label_studio_project="Restored", ml_backend_port=port,
            label_config=tmp_path / "label_config.xml",
        )  # fmt: skip
        migrate(settings.database_url)
        with running(settings, port):
            row = connect(settings)
        return Wheel(settings, LabelStudio(settings.label_studio_url, token), row)

    with started(server_settings) as server:
        token = fetch_token(server.url, server_settings.label_studio_username, server_settings.label_studio_password.get_secret_value())
        wheel = wheel_on(server, token)
        with running(wheel.settings, port):
            edited, annotated, opened = wheel.pushed(3)
            annotation = wheel.studio.create_annotation(edited, [drawn(10)])
            look(wheel)
            with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            wheel.act("PATCH", f"api/annotations/{annotation}/", result=[drawn(20)])
            wheel.studio.create_annotation(annotated, [drawn(30)])
            wheel.capture(range(3, 5))
            assert (wheel.select(), wheel.push()) == (2, 2)
            later, unanswered = sorted(wheel.studio.task_ids(wheel.project.ls_project_id))[-2:]
            wheel.studio.create_annotation(later, [drawn(40)])
            look(wheel)
    image = images(wheel)
    before = {image[edited]: 19.2, image[annotated]: 28.8, image[later]: 38.4}
    assert in_force(wheel) == before

    for leftover in file.parent.glob(f"{DATABASE}-*"):
        leftover.unlink()
    shutil.copyfile(copy, file)
    with started(server_settings) as server:
        wheel = wheel_on(server, token)
        with running(wheel.settings, port):
            wheel.studio.create_annotation(opened, [drawn(50)])
            assert [wheel.pull(), look(wheel)] == [0, 0], "held"
            assert in_force(wheel) == before
            assert "label_studio_went_back" in faults(wheel)

            wheel.project = connect(wheel.settings, "keep")
            assert in_force(wheel) == {**before, image[opened]: 48.0}
            assert "label_studio_went_back" not in faults(wheel)
            with wheel.database.read() as session:
                items = dict(session.execute(select(QueueItem.image_id, QueueItem.status)).tuples().all())
            assert [items[image[task]] for task in (edited, annotated, opened, later, unanswered)] == [
                "approved", "approved", "approved", "approved", "pending",
            ]  # fmt: skip
            assert wheel.push() == 1
            look(wheel)
            new = images(wheel)
            assert image[unanswered] in [image_id for task, image_id in new.items() if task], "sent anew, under whatever id"
            wheel.act("PATCH", f"api/annotations/{annotation}/", result=[drawn(60)])
            look(wheel)
            assert in_force(wheel) == {**before, image[opened]: 48.0, image[edited]: 57.6}, "what is newer than the loss counts"
            mended(wheel)
    get_database(wheel.settings.database_url).dispose()


def test_a_project_that_was_made_anew_gets_the_open_tasks_and_keeps_the_labels(wheel: Wheel, bell: Redis) -> None:
    done, _ = wheel.pushed(2)
    wheel.studio.create_annotation(done, [drawn(10)])
    look(wheel)
    before, image = in_force(wheel), images(wheel)
    wheel.act("DELETE", f"api/projects/{wheel.project.ls_project_id}/")
    assert (look(wheel), in_force(wheel)) == (0, before)
    assert "label_studio_went_back" in faults(wheel)
    with pytest.raises(WentBack, match="is gone"):
        connect(wheel.settings)
    assert wheel.studio.find_project(wheel.project.title) is None, "nothing was made unasked"

    wheel.project = connect(wheel.settings, "keep")
    assert in_force(wheel) == before
    assert wheel.push() == 1
    look(wheel)
    (task,) = wheel.tasks()
    assert (images(wheel)[task["id"]], wheel.project.ls_created_at is not None) == (image[_other(image, done)], True)
    wheel.studio.create_annotation(task["id"], [drawn(20)])
    look(wheel)
    assert sorted(in_force(wheel).values()) == [9.6, 19.2]
    assert connect(wheel.settings).ls_project_id == wheel.project.ls_project_id
    mended(wheel)


def _other(image: dict[int, int], task: int) -> int:
    return next(other for other in image if other != task)


def test_a_star_counts_by_its_policy_and_makes_no_other_label(wheel: Wheel) -> None:
    wheel.settings = wheel.settings.model_copy(update={"approval": "star"})
    task, _ = wheel.pushed(2)
    annotation = wheel.studio.create_annotation(task, [drawn(10)])
    wheel.pull()
    assert (in_force(wheel), wheel.statuses()[task]) == ({}, "labeled")
    wheel.act("PATCH", f"api/annotations/{annotation}/", ground_truth=True)
    wheel.pull()
    assert (list(in_force(wheel).values()), wheel.statuses()[task], len(wheel.labels())) == ([9.6], "approved", 1)


def test_a_label_that_was_added_meanwhile_is_read_before_anybody_connects(wheel: Wheel) -> None:
    task, other = wheel.pushed(2)
    wheel.studio.create_annotation(other, [drawn(20)])
    config = LABEL_CONFIG.replace('<Label value="short"/>', '<Label value="hole"/>')
    wheel.act("PATCH", f"api/projects/{wheel.project.ls_project_id}/", label_config=config)
    wheel.studio.create_annotation(task, [drawn(10, "hole")])
    wheel.pull()
    assert sorted(in_force(wheel).values()) == [9.6, 19.2]
    assert {box["label"] for label in wheel.labels() for box in label["boxes"]} == {"hole", "open"}
