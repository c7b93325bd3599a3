"""The selection on real tables, of both engines: what it reads, what it spends, what it stores, and that a decision can be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import cv2
import numpy as np
import pytest
from sqlalchemy import delete, func, select, update

from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import (
    Alert,
    AnnotationRevision,
    Capture,
    Decision,
    Deployment,
    DriftReport,
    Image,
    Label,
    Prediction,
    QueueEvent,
    QueueItem,
    utcnow,
)  # fmt: skip
from labelwheel.errors import NotFoundError
from labelwheel.pause import pause, resume
from labelwheel.project import change_classes
from labelwheel.vision.class_change import remove, rename
from sync.selection import select as selecting
from sync.selection.expire import EXPIRY
from sync.selection.forget import forget
from sync.selection.replay import PACKED, replay
from sync.selection.select import look_out, select_captures
from tests.fixtures.line import Line, picture

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def box(confidence: float, label: str = "open", x: float = 0) -> dict[str, Any]:
    return {"label": label, "box": [x, 0, x + 16, 16], "confidence": confidence}


def saw(line: Line, deployment: Deployment, *images: Sequence[dict[str, Any]], first: int = 1) -> None:
    """Captures of pictures `first`, `first` + 1 …, in which the deployed model saw these boxes."""
    for seed, _ in enumerate(images, start=first):
        line.inspect(seed)
    with line.database.write() as session:
        captures = session.scalars(select(Capture).order_by(Capture.id.desc()).limit(len(images))).all()[::-1]
        session.execute(delete(Prediction).where(Prediction.image_id.in_([capture.image_id for capture in captures])))
        session.add_all(
            Prediction(image_id=capture.image_id, model_version_id=deployment.model_version_id, detections=list(boxes), count=0)
            for capture, boxes in zip(captures, images, strict=True)
        )


def chosen(line: Line, **changes: Any) -> list[tuple[str, str]]:
    """Select with these settings; external id and reason of what came into the queue, most urgent first."""
    with line.database.read() as session:
        before = session.scalar(select(func.max(QueueItem.id))) or 0
    count = select_captures(line.database, line.settings.model_copy(update=changes), utcnow())
    with line.database.read() as session:
        query = select(Capture.external_id, QueueItem.reason).join(Capture, Capture.id == QueueItem.capture_id)
        rows = session.execute(query.where(QueueItem.id > before).order_by(QueueItem.priority.desc(), QueueItem.id)).tuples().all()
    assert len(rows) == count
    return [tuple(row) for row in rows]


def decision(line: Line) -> Decision:
    with line.database.read() as session:
        return session.scalars(select(Decision).order_by(Decision.id.desc()).limit(1)).one()


def left_out(line: Line) -> dict[str, int]:
    return dict(decision(line).inputs["left_out"])


def stored(line: Line) -> list[tuple[int, str, float, dict[str, Any]]]:
    """What the newest decision put into the queue."""
    query = select(QueueItem).where(QueueItem.decision_id == decision(line).id).order_by(QueueItem.id)
    with line.database.read() as session:
        return [(item.capture_id, item.reason, item.priority, item.scores) for item in session.scalars(query)]


def replayed(line: Line) -> list[tuple[int, str, float, dict[str, Any]]]:
    choices = replay(decision(line)).choices
    return [(choice.candidate.capture_id, choice.reason, choice.priority, choice.scores) for choice in choices]


def alert(line: Line, source: str) -> None:
    with line.database.write() as session:
        report = DriftReport(
            project_id=line.project.id, source=source, feature="brightness", method="wasserstein", score=2, threshold=1, drifted=True,
            reference_size=40, window_size=40, last_capture_id=1, summary={},
        )  # fmt: skip
        session.add(report)
        session.flush()
        raised = Alert(project_id=line.project.id, drift_report_id=report.id, source=source, feature="brightness", message="It is dark.")
        session.add(raised)


def test_the_most_doubtful_are_chosen_and_the_decision_can_be_replayed(either_line: Line) -> None:
    deployment = either_line.deploy(0.5)
    saw(either_line, deployment, [box(0.5)], [box(0.97)], [], [box(0.5), box(0.55, "short", 30)], [box(0.3)], [box(0.6)])
    with either_line.database.write() as session:
        session.execute(update(Capture).where(Capture.external_id == "c-2").values(audit=True, propensity=0.1))
    assert chosen(either_line, budget_per_day=3, spread=0) == [
        ("c-2", "audit"), ("c-4", "low_confidence"), ("c-1", "low_confidence"), ("c-6", "low_confidence"),
    ]  # fmt: skip
    assert (left_out(either_line), stored(either_line)) == ({"certain": 1, "budget": 1}, replayed(either_line))
    assert stored(either_line)[0][3]["propensity"] == 0.1
    assert decision(either_line).verdict == "4 chosen"
    assert {reason["code"] for reason in decision(either_line).reasons} == {
        "audit", "low_confidence", "left_out:budget", "left_out:certain",
    }  # fmt: skip


def test_what_old_decisions_chose_from_is_forgotten_and_nothing_else_of_them(either_line: Line) -> None:
    saw(either_line, either_line.deploy(0.5), [box(0.5)], [box(0.6)])
    chosen(either_line, budget_per_day=1)
    before, month = decision(either_line), timedelta(days=30)
    database, settings = either_line.database, either_line.settings
    assert forget(database, settings, before.at + month) == 0, "it is not older than that yet"
    assert forget(database, settings.model_copy(update={"replay_days": 0}), before.at + 9 * month) == 0
    assert replayed(either_line) == stored(either_line)
    assert forget(database, settings, before.at + month + timedelta(seconds=1)) == 1
    assert forget(database, settings, before.at + 2 * month) == 0
    after = decision(either_line)
    assert before.inputs.keys() - after.inputs.keys() == set(PACKED)
    kept = [(row.verdict, row.reasons, row.at, row.inputs["rules"], row.inputs["left_out"]) for row in (before, after)]
    assert kept[0] == kept[1]
    with pytest.raises(NotFoundError, match="forgotten"):
        replay(after)


def test_a_first_batch_can_be_replayed_and_is_no_part_of_the_days_budget(line: Line) -> None:
    for seed in range(1, 9):
        line.inspect(seed)
    assert {reason for _, reason in chosen(line, first_batch=5)} == {"novelty"}
    assert (stored(line), left_out(line)) == (replayed(line), {"budget": 3})
    assert chosen(line, first_batch=5) == [], "it was chosen"
    line.deploy(0.5)
    assert len(chosen(line, budget_per_day=3, similar_distance=0)) == 3


def test_budgets_count_an_hour_and_a_day(line: Line) -> None:
    saw(line, line.deploy(0.5), *[[box(0.5)]] * 9)
    told = {"budget_per_day": 5, "budget_per_hour": 2, "similar_distance": 0}
    assert [len(chosen(line, **told)) for _ in range(2)] == [2, 0]
    for back, more in ((HOUR, 2), (HOUR, 1), (DAY, 2)):
        with line.database.write() as session:
            for item in session.scalars(select(QueueItem)):
                item.created_at -= back
        assert len(chosen(line, **told)) == more


def test_a_drifted_source_has_a_part_of_the_budget(either_line: Line) -> None:
    deployment = either_line.deploy(0.5)
    saw(either_line, deployment, *[[box(0.5)]] * 4)
    saw(either_line, deployment, *[[box(0.9)]] * 4, first=5)
    with either_line.database.write() as session:
        session.execute(update(Capture).where(Capture.id > 4).values(source="dark"))
    alert(either_line, "dark")
    found = chosen(either_line, budget_per_day=4, drift_share=0.5, similar_distance=0)
    assert sorted(reason for _, reason in found) == ["drift", "drift", "low_confidence", "low_confidence"]
    assert {name for name, reason in found if reason == "drift"} <= {f"c-{n}" for n in range(5, 9)}
    assert stored(either_line) == replayed(either_line)


def test_what_is_unlike_all_that_is_queued_is_new(line: Line) -> None:
    """Thirty pictures of one kind are queued; of the next ones, in which the model sees nothing, one is of another kind."""
    deployment = line.deploy(0.5)
    saw(line, deployment, *[[box(0.5)]] * 30, *[[]] * 4)
    kinds = np.random.default_rng(3).normal(0, 0.01, (34, 96)).astype(np.float32)
    kinds[32] += 1
    with line.database.write() as session:
        for capture in session.scalars(select(Capture)):
            capture.descriptor = kinds[capture.id - 1].tobytes()
    chosen(line, similar_distance=0)
    assert chosen(line, similar_distance=0) == [("c-33", "novelty")]
    assert stored(line)[0][3]["novelty"] > 5
    assert stored(line) == replayed(line)


def almost(seed: int) -> bytes:
    """The picture of `seed` with one pixel changed."""
    pixels = cv2.imdecode(np.frombuffer(picture(seed), np.uint8), cv2.IMREAD_COLOR)
    pixels[0, 0] ^= 1
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_a_near_duplicate_stands_back_until_the_model_sees_a_difference(either_line: Line, monkeypatch: Any) -> None:
    first, second = either_line.deploy(0.5), [box(0.5)]
    saw(either_line, first, [box(0.5)])
    assert len(chosen(either_line)) == 1
    monkeypatch.setattr("tests.fixtures.line.picture", lambda seed: almost(1))
    saw(either_line, first, second, first=2)
    assert chosen(either_line) == []
    outlook = look_out(either_line.database, either_line.settings, utcnow(), let_look=False)
    assert outlook is not None
    assert outlook.left_out["near_duplicate"] == 1, "it stays in the pool, and is counted"
    with either_line.database.write() as session:
        waiting = session.scalars(select(Capture.image_id).where(Capture.image_id.not_in(select(QueueItem.image_id)))).one()
        session.execute(update(Prediction).where(Prediction.image_id == waiting).values(detections=[*second, box(0.5, "short", 40)]))
    assert len(chosen(either_line)) == 1


def test_a_person_s_boxes_stand_in_for_a_model_that_has_not_looked(line: Line, monkeypatch: Any) -> None:
    line.inspect(1)
    with line.database.write() as session:
        drawn = AnnotationRevision(
            project_id=line.project.id, unique_id="1@", updated_at=utcnow(), key="k", ls_annotation_id=1, ls_task_id=1, annotator="a",
            was_cancelled=False, body={},
        )  # fmt: skip
        session.add(drawn)
        session.flush()
        about = {"project_id": line.project.id, "image_id": 1, "annotation_revision_id": drawn.id, "annotator": "a"}
        session.add(Label(**about, boxes=[box(1.0)], exclusions=[], annotated_at=utcnow()))
    monkeypatch.setattr("tests.fixtures.line.picture", lambda seed: almost(1))
    deployment = line.deploy(0.5)
    saw(line, deployment, [box(0.6)], first=2)
    monkeypatch.setattr(selecting, "LOOKS", 0)
    assert chosen(line) == []
    with line.database.write() as session:
        session.execute(update(Prediction).values(detections=[box(0.6), box(0.5, "short", 40)]))
    assert chosen(line) == [("c-2", "low_confidence")]


def test_quotas_bound_sources_and_labels_over_the_day(line: Line) -> None:
    deployment = line.deploy(0.5)
    saw(line, deployment, *[[box(0.5)]] * 6, *[[box(0.4, "short")]] * 3)
    told = {"budget_per_day": 6, "similar_distance": 0, "quota_labels": "open=0.5"}
    names = [name for name, _ in chosen(line, **told)]
    assert sum(name in {f"c-{n}" for n in range(1, 7)} for name in names) == 3
    assert len(names) == 6
    with line.database.write() as session:
        session.execute(delete(QueueEvent))
        session.execute(delete(QueueItem))
    told = {"budget_per_day": 6, "similar_distance": 0, "quota_sources": "*=0.3"}
    assert [len(chosen(line, **told)) for _ in range(2)] == [2, 0]
    assert left_out(line)["source_quota"] > 0


def test_a_renamed_class_keeps_its_quota_and_a_removed_one_is_not_looked_for(line: Line) -> None:
    deployment = line.deploy(0.5)
    saw(line, deployment, *[[box(0.5)]] * 6, *[[box(0.4, "short")]] * 3)
    told = {"budget_per_day": 6, "similar_distance": 0, "quota_labels": "gap=0.5"}
    with line.database.write() as session:
        change_classes(session, line.project.id, lambda classes: rename(classes, "open", "gap"), "anna", "")
        change_classes(session, line.project.id, lambda classes: remove(classes, "short"), "anna", "")
    names = [name for name, _ in chosen(line, **told)]
    assert len(names) == 3 and set(names) <= {f"c-{n}" for n in range(1, 7)}, "half of six are gaps, and nothing else is in doubt"
    assert (left_out(line)["label_quota"], left_out(line)["certain"]) == (3, 3)


def test_nothing_is_chosen_while_selection_is_paused(either_line: Line) -> None:
    saw(either_line, either_line.deploy(0.5), [box(0.5)])
    with either_line.database.write() as session:
        assert pause(session, either_line.project.id, "selection", "me", "Stocktaking.")
        assert not pause(session, either_line.project.id, "selection", "you", "Lunch.")
    assert chosen(either_line) == []
    with either_line.database.write() as session:
        assert resume(session, either_line.project.id, "selection")
        assert not resume(session, either_line.project.id, "selection")
    assert len(chosen(either_line)) == 1


def test_after_a_deployment_the_pool_is_looked_at_in_bounded_portions(line: Line, monkeypatch: Any) -> None:
    for seed in range(1, 8):
        line.inspect(seed)
    line.deploy(0.5)
    monkeypatch.setattr(selecting, "LOOKS", 6)
    told = {"similar_distance": 0}
    assert [len(chosen(line, **told)) for _ in range(4)] == [3, 3, 1, 0]


def test_what_is_not_reached_in_time_is_counted_and_the_newest_are_reached_first(line: Line, monkeypatch: Any) -> None:
    saw(line, line.deploy(0.5), *[[box(0.5)]] * 5)
    monkeypatch.setattr(selecting, "READ_SECONDS", 0)
    monkeypatch.setattr("sync.selection.pool.PORTION", 2)
    assert {name for name, _ in chosen(line, similar_distance=0)} == {"c-4", "c-5"}
    assert left_out(line) == {"not_reached": 3}


def test_a_dry_run_writes_nothing_and_lets_no_model_look(line: Line) -> None:
    line.inspect(1)
    line.deploy(0.5)
    saw(line, line.deploy(0.5), [box(0.5)], first=2)
    outlook = look_out(line.database, line.settings, utcnow(), let_look=False)
    assert outlook is not None
    assert [choice.reason for choice in outlook.selection.choices] == ["low_confidence"]
    assert outlook.left_out["not_looked_at"] == 1
    with line.database.read() as session:
        assert [session.scalar(select(func.count()).select_from(table)) for table in (QueueItem, Decision, Prediction)] == [0, 0, 1]


def test_an_image_that_cannot_be_read_stops_nothing(line: Line) -> None:
    for seed in (1, 2):
        line.inspect(seed)
    with line.database.read() as session:
        (line.store.root / session.get_one(Image, 1).uri).unlink()
    line.deploy(0.5)
    assert chosen(line) == [("c-2", "low_confidence")]


def test_what_expired_unseen_comes_again_under_a_later_model_and_what_a_person_deleted_does_not(either_line: Line) -> None:
    deployment = either_line.deploy(0.5)
    saw(either_line, deployment, [box(0.5)], [box(0.6)])
    assert len(chosen(either_line)) == 2
    with either_line.database.write() as session:
        for item in session.scalars(select(QueueItem)):
            item.status = "expired"
            who = EXPIRY if item.image_id == 1 else "pull"
            session.add(QueueEvent(queue_item_id=item.id, status="expired", who=who, why="gone"))
    assert chosen(either_line) == [], "the same model has nothing new to say"
    either_line.deploy(0.5)
    assert chosen(either_line) == [("c-1", "low_confidence")]
    with either_line.database.read() as session:
        assert session.scalars(select(QueueItem.round).where(QueueItem.image_id == 1).order_by(QueueItem.id)).all() == [1, 2]


def test_an_image_that_somebody_queued_meanwhile_gets_no_second_item(line: Line, monkeypatch: Any) -> None:
    saw(line, line.deploy(0.5), [box(0.5)], [box(0.6)])
    real = selecting._store

    def queued_meanwhile(*given: Any) -> int:
        row = {"project_id": line.project.id, "image_id": 1, "capture_id": 1, "round": 1, "status": "pushed", "reason": "disagreement"}
        with line.database.write() as session:
            insert_absent(session, QueueItem, [{**row, "priority": 1, "scores": {}, "created_at": utcnow(), "updated_at": utcnow()}])
        return real(*given)

    monkeypatch.setattr(selecting, "_store", queued_meanwhile)
    assert select_captures(line.database, line.settings, utcnow()) == 1
    with line.database.read() as session:
        assert session.scalars(select(QueueItem.image_id).order_by(QueueItem.id)).all() == [1, 2]
