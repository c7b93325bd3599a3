"""Adoption on both databases and the in-memory Label Studio: killed at every step, with odd tasks, and beside our own pushes."""

from __future__ import annotations

import base64
from collections import deque
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from labelwheel.database.tables import AnnotationRevision, Capture, Image, Label, Lease, LsTask, Project, QueueItem, utcnow
from labelwheel.errors import LabelStudioUnreachable
from sync.exchange.adopt import adopt, ask_for_adoption
from sync.exchange.pull import pull
from sync.exchange.push import push
from sync.exchange.reset import stop
from sync.selection.select import select_captures
from tests.fixtures.line import Line, picture, still
from tests.fixtures.studio import Counterpart, twin_counterpart
from tests.fixtures.trouble import LOST_AFTER, Kill, Trouble, Troubled, troubled_commits


@pytest.fixture
def studio(either_line: Line) -> Counterpart:
    """The twin of the line's project, with the id that the line knows."""
    counterpart = twin_counterpart()
    with either_line.database.write() as session:
        session.execute(update(Project).values(ls_project_id=counterpart.project.id))
    return counterpart


def others(studio: Counterpart, *seeds: int, **data: Any) -> list[int]:
    """Tasks that people made of these pictures."""
    uris = ["data:image/png;base64," + base64.b64encode(picture(seed)).decode() for seed in seeds]
    return studio.client.import_tasks(studio.project.id, [{"data": {"image": uri, **data}} for uri in uris])


def drawn(x: float = 10) -> dict[str, Any]:
    value = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["open"]}
    size = {"original_width": 96, "original_height": 64, "image_rotation": 0}
    return {"id": f"r{x}", "type": "rectanglelabels", "from_name": "label", "to_name": "image", **size, "value": value}


def splits(line: Line) -> list[str]:
    with line.database.read() as session:
        return list(session.scalars(select(Capture.split).order_by(Capture.id)))


def ask(line: Line, after: int = 0) -> None:
    with line.database.write() as session:
        ask_for_adoption(session, line.project.id, after)


def count(line: Line, table: Any, *conditions: Any) -> int:
    with line.database.read() as session:
        return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def statuses(line: Line) -> dict[int, str]:
    with line.database.read() as session:
        return dict(session.execute(select(LsTask.ls_task_id, QueueItem.status).join(QueueItem)).tuples().all())


def test_killed_at_any_step_each_task_is_one_item_with_its_labels(either_line: Line, studio: Counterpart) -> None:
    line, made, kills = either_line, 0, 0
    for step in range(0, 60, 5):
        first, second = others(studio, 2 * step, 2 * step + 1)
        studio.people.annotate(first, [drawn()])
        made += 2
        ask(line, first - 1)
        trouble = Trouble(kill_in=step)
        quiet = troubled_commits(line.database.engine, trouble)
        try:
            adopt(line.database, line.settings, Troubled(studio.client, trouble))  # type: ignore[arg-type]
        except Kill:
            kills += 1
        finally:
            quiet()
        with line.database.write() as session:  # its lease lapses
            session.execute(delete(Lease))
        assert adopt(line.database, line.settings, studio.client).ended
        assert statuses(line)[first] == "approved"
        assert statuses(line)[second] == "pushed"
        assert (count(line, LsTask), count(line, QueueItem), count(line, Image)) == (made, made, made)
        assert count(line, AnnotationRevision) == count(line, Label) == made // 2
    assert kills > 2
    keys = {stamp.id: stamp.key for stamp in studio.client.stamps(studio.project.id)}
    with line.database.read() as session:
        assert keys == dict(session.execute(select(LsTask.ls_task_id, LsTask.key)).tuples().all())
    before = statuses(line)
    pull(line.database, line.settings, studio.client, thorough=True)
    assert statuses(line) == before


def test_a_bad_task_spoils_no_other_and_is_named(either_line: Line, studio: Counterpart) -> None:
    good, *_ = others(studio, 1)
    odd: list[Any] = ["http://nowhere.example/a.png", "data:text/plain,hello", 7, None, "", "/data/upload/x.png\x00"]
    bad = studio.client.import_tasks(studio.project.id, [{"data": {"image": value, "captured_at": 5}} for value in odd])
    ask(either_line)
    done = adopt(either_line.database, either_line.settings, studio.client)
    assert (done.adopted, sorted(done.faults), done.ended) == (1, bad, True)
    assert all(done.faults.values())
    assert set(statuses(either_line)) == {good}


def test_our_own_tasks_are_known_even_when_their_answer_was_lost(either_line: Line, studio: Counterpart) -> None:
    line = either_line
    line.inspect(1)
    line.inspect(2)
    assert select_captures(line.database, line.settings, utcnow()) == 2
    trouble = Trouble(faults=deque([LOST_AFTER]))
    with pytest.raises(LabelStudioUnreachable, match="cut"):
        push(line.database, line.settings, Troubled(studio.client, trouble))  # type: ignore[arg-type]
    ask(line)
    done = adopt(line.database, line.settings, studio.client)
    assert (done.adopted, done.known, done.faults) == (0, 2, {})
    assert push(line.database, line.settings, studio.client) == 2
    assert count(line, LsTask, LsTask.adopted) == 0


def test_tasks_that_carry_a_key_of_a_lost_database_keep_it(either_line: Line, studio: Counterpart) -> None:
    key = "a" * 32 + "-r1"
    [task] = others(studio, 1, labelwheel_key=key)
    ask(either_line)
    assert adopt(either_line.database, either_line.settings, studio.client).adopted == 1
    with either_line.database.read() as session:
        assert session.scalars(select(LsTask)).one().key == key
    assert studio.client.tasks(studio.project.id, [task])[task]["data"]["labelwheel_key"] == key


def test_two_tasks_of_one_image_stay_two_and_the_newer_annotation_counts(either_line: Line, studio: Counterpart) -> None:
    first, second = others(studio, 1, 1)
    studio.people.annotate(second, [drawn(10)])
    studio.people.annotate(first, [drawn(50)])
    ask(either_line)
    adopt(either_line.database, either_line.settings, studio.client)
    with either_line.database.read() as session:
        rounds = dict(session.execute(select(LsTask.ls_task_id, QueueItem.round).join(QueueItem)).tuples().all())
        standing = session.scalars(select(Label).where(Label.superseded_by.is_(None), Label.withdrawn_at.is_(None))).one()
    assert rounds == {first: 1, second: 2}
    assert standing.boxes[0]["box"][0] == pytest.approx(48)


def test_nothing_is_adopted_while_the_pull_is_held(either_line: Line, studio: Counterpart) -> None:
    others(studio, 1)
    ask(either_line)
    stop(either_line.database, either_line.project.id, "it went back", utcnow())
    done = adopt(either_line.database, either_line.settings, studio.client)
    assert (done.adopted, done.held) == (0, "it went back")


def test_a_pull_asks_for_what_others_made_and_not_again_at_each_look_back(either_line: Line, studio: Counterpart) -> None:
    def mark() -> int | None:
        with either_line.database.read() as session:
            return session.scalar(select(Project.adopt_after))

    task, _ = others(studio, 1, 2)
    pull(either_line.database, either_line.settings, studio.client)
    assert mark() == task - 1
    adopt(either_line.database, either_line.settings, studio.client)
    assert mark() is None
    [bad] = studio.client.import_tasks(studio.project.id, [{"data": {"image": "http://nowhere.example/a.png"}}])
    pull(either_line.database, either_line.settings, studio.client)
    assert mark() == bad - 1
    adopt(either_line.database, either_line.settings, studio.client)
    pull(either_line.database, either_line.settings, studio.client)
    assert mark() is None


def test_frames_of_one_still_scene_share_a_split(either_line: Line, studio: Counterpart) -> None:
    settings = either_line.settings.model_copy(update={"audit_rate": 0.5, "holdout_rate": 1.0})
    uris = ["data:image/png;base64," + base64.b64encode(still(1, level)).decode() for level in range(12)]
    studio.client.import_tasks(studio.project.id, [{"data": {"image": uri}} for uri in uris])
    ask(either_line)
    assert adopt(either_line.database, settings, studio.client).adopted == len(uris)
    assert len(splits(either_line)) == len(uris)
    assert len(set(splits(either_line))) == 1
