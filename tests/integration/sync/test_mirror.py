"""What the pull makes of tasks as Label Studio lists them: the rules of docs/labels.md, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from typer.testing import CliRunner

from console.cli import app
from labelwheel.database.tables import AnnotationRevision, Label, LsTask, QueueEvent, QueueItem, Review, utcnow
from labelwheel.errors import InputError, NotFoundError, WentBack
from labelwheel.project import remember_project
from sync.exchange import reset
from sync.exchange.mirror import identity
from sync.review.rebuild import rebuild
from sync.review.settle import MOST_ROUNDS, mark_deleted
from sync.review.verdict import give
from sync.review.withdraw import reinstate, withdraw
from tests.fixtures.line import LABELS, Line
from tests.fixtures.tasks import START, Tray, annotation, drawn

ANNA, BERT, CARL, TOKEN = (f"{name}@plant.example" for name in ("anna", "bert", "carl", "token"))


@pytest.fixture
def tray(line: Line) -> Tray:
    return Tray(line)


@pytest.fixture
def either_tray(either_line: Line) -> Tray:
    return Tray(either_line)


def policy(tray: Tray, text: str) -> None:
    tray.line.settings = tray.line.settings.model_copy(update={"approval": text})


def unchanged(tray: Tray) -> None:
    """A rebuild from the mirror finds nothing to do, and a second look changes nothing."""
    before = tray.labels(), tray.statuses()
    assert rebuild(tray.line.database, tray.line.project.id, tray.reading, check=True).differing == []
    with tray.line.database.write() as session:
        session.execute(delete(Label))
    rebuild(tray.line.database, tray.line.project.id, tray.reading)
    assert (tray.labels(), tray.statuses()) == before


def test_submitted_skipped_empty_and_untouched_tasks(either_tray: Tray) -> None:
    tray = either_tray
    submitted, empty, skipped, untouched = tray.push(4)
    tray.see(
        tray.task(submitted, annotation(1, drawn(10))),
        tray.task(empty, annotation(2)),
        tray.task(skipped, annotation(3, drawn(10), was_cancelled=True)),
        tray.task(untouched),
    )
    assert tray.statuses() == {submitted: "approved", empty: "approved", skipped: "skipped", untouched: "pushed"}
    assert [edges for _, edges in tray.in_force()] == [[pytest.approx(9.6)], []]
    with tray.line.database.read() as session:
        event = session.scalars(select(QueueEvent).where(QueueEvent.status == "approved").order_by(QueueEvent.id)).first()
    assert event is not None
    assert (event.who, event.why) == (ANNA, "approved by the policy submit")
    unchanged(tray)


def test_seeing_a_task_again_and_in_any_order_changes_nothing(tray: Tray) -> None:
    first, second = tray.push(2)
    tasks = [tray.task(first, annotation(1, drawn(10))), tray.task(second, annotation(2, drawn(20)))]
    tray.see(*tasks)
    before = tray.labels(), tray.statuses()
    assert tray.see(*reversed(tasks)).touched == set()
    assert (tray.labels(), tray.statuses()) == before


def test_an_edit_supersedes_a_deletion_withdraws_and_the_other_annotator_stands(tray: Tray) -> None:
    (key,) = tray.push(1)
    anna, bert = annotation(1, drawn(10)), annotation(2, drawn(20), seconds=5, created=5, who=2)
    tray.see(tray.task(key, anna, bert))
    assert tray.in_force() == [(BERT, [pytest.approx(19.2)])]
    tray.see(tray.task(key, anna, {**bert, "updated_at": annotation(2, seconds=9)["updated_at"], "result": [drawn(30)], "updated_by": 3}))
    assert tray.in_force() == [(CARL, [pytest.approx(28.8)])], "who edited it is its author"
    tray.see(tray.task(key, anna))
    assert tray.in_force() == [(ANNA, [pytest.approx(9.6)])]
    tray.see(tray.task(key))
    assert (tray.in_force(), tray.statuses()) == ([], {key: "pushed"})
    assert len(tray.labels()) == 3, "nothing is ever removed"
    unchanged(tray)


def test_a_deleted_task_expires_and_is_there_again_when_it_comes_back(tray: Tray) -> None:
    (key,) = tray.push(1)
    task = tray.task(key, annotation(1, drawn(10)))
    tray.see(task)
    with tray.line.database.write() as session:
        mark_deleted(session, tray.line.project.id, tray.reading, list(session.scalars(select(LsTask))))
    assert (tray.in_force(), tray.statuses()) == ([], {key: "expired"})
    unchanged(tray)
    tray.see(task)
    assert (len(tray.in_force()), tray.statuses()) == (1, {key: "approved"})


def test_a_reused_id_is_another_annotation(tray: Tray) -> None:
    first, second = tray.push(2)
    tray.see(tray.task(first, annotation(7, drawn(10))))
    tray.see(tray.task(first), tray.task(second, annotation(7, drawn(20), seconds=9, created=9)))
    assert tray.in_force() == [(ANNA, [pytest.approx(19.2)])]
    unchanged(tray)


def test_late_twins_do_not_delete_each_others_annotations(tray: Tray) -> None:
    (key,) = tray.push(1)
    first = tray.task(key, annotation(1, drawn(10)), number=11)
    second = tray.task(key, annotation(2, drawn(20), seconds=9, created=9), number=12)
    tray.see(first)
    tray.see(second)
    tray.see(first)
    assert [row["withdrawn_at"] for row in tray.labels()] == [None, None]
    tray.see(first, second)
    assert tray.in_force() == [(ANNA, [pytest.approx(19.2)])]


def test_what_was_new_is_handed_on_once_with_its_task(tray: Tray) -> None:
    (key,) = tray.push(1)
    told = annotation(1, drawn(10))
    shown = [{"id": 5, "created_at": told["created_at"], "model_version": "labelwheel@1", "result": []}]
    (seen,) = tray.see({**tray.task(key, told), "predictions": shown}).seen
    assert ([row.unique_id for row in seen.fresh], seen.row.key, seen.task["predictions"]) == ([identity(told)], key, shown)
    assert [one.fresh for one in tray.see(tray.task(key, told)).seen] == [[]]


def test_an_annotation_in_an_earlier_state_is_not_believed(tray: Tray) -> None:
    (key,) = tray.push(1)
    earlier, later = annotation(1, drawn(10)), annotation(1, drawn(50), seconds=60)
    tray.see(tray.task(key, earlier))
    tray.see(tray.task(key, later))
    with pytest.raises(WentBack, match="as it was at"):
        tray.see(tray.task(key, earlier))
    assert tray.in_force() == [(ANNA, [pytest.approx(48)])]
    tray.see(tray.task(key, earlier), accepted=True)
    assert tray.in_force() == [(ANNA, [pytest.approx(9.6)])], "somebody said that Label Studio is right"
    unchanged(tray)


def test_labels_of_a_lost_label_studio_are_kept_until_it_shows_something_newer(either_tray: Tray) -> None:
    tray = either_tray
    kept, gone, untouched = tray.push(3)
    tray.see(tray.task(kept, annotation(1, drawn(10))), tray.task(gone, annotation(2, drawn(20))), tray.task(untouched))
    before = tray.in_force()
    _accept(tray, "keep")
    assert tray.in_force() == before
    tray.see(tray.task(kept, annotation(1, drawn(10)), number=77))
    assert tray.in_force() == before
    with tray.line.database.read() as session:
        lost = dict(session.execute(select(AnnotationRevision.key, AnnotationRevision.lost_at)).tuples().all())
        tasks = dict(session.execute(select(LsTask.key, LsTask.ls_task_id)).tuples().all())
    assert (lost[kept], bool(lost[gone])) == (None, True)
    assert tasks == {kept: 77, gone: 0, untouched: 0}
    tray.see(tray.task(gone, annotation(2, drawn(70), seconds=9, created=9), number=78))
    assert [edges for _, edges in tray.in_force()] == [[pytest.approx(9.6)], [pytest.approx(67.2)]]
    unchanged(tray)


def test_what_was_taken_for_deleted_just_before_the_alarm_is_kept_too(tray: Tray) -> None:
    (key,) = tray.push(1)
    tray.see(tray.task(key, annotation(1, drawn(10))))
    began = utcnow()
    tray.see(tray.task(key))
    reset.stop(tray.line.database, tray.line.project.id, "gone", began)
    assert tray.in_force() == []
    _accept(tray, "keep")
    assert len(tray.in_force()) == 1
    with tray.line.database.read() as session:
        assert reset.held(session, tray.line.project.id) is None


def _accept(tray: Tray, answer: reset.Answer) -> None:
    from labelwheel.labelstudio.client import Project

    with tray.line.database.write() as session:
        row = session.merge(tray.line.project)
        reset.accept(session, row, Project(70, row.title, row.label_config, "", "", START), answer, tray.reading)
        tray.line.project = row
    assert (tray.line.project.ls_project_id, tray.line.project.ls_created_at) == (70, START)


def test_another_project_is_told_from_ours(tray: Tray) -> None:
    from labelwheel.labelstudio.client import Project

    ours = tray.line.project
    ours.ls_created_at = START
    same = Project(ours.ls_project_id, "", "", "", "", START)
    reset.refuse_other(ours, same)
    for other in (Project(8, "", "", "", "", START), Project(ours.ls_project_id, "", "", "", "", START + timedelta(days=1))):
        with pytest.raises(WentBack, match="is another one"):
            reset.refuse_other(ours, other)


def test_more_than_annotators_delete_at_once_is_noticed() -> None:
    watch = reset.Watch(standing=100, share=0.2)
    watch.count({f"a{n}" for n in range(20)})
    with pytest.raises(WentBack, match="21 of 100"):
        watch.count({"one more"})
    reset.Watch(standing=10, share=0.2).count({f"a{n}" for n in range(10)})
    reset.Watch(standing=100, share=0.2, off=True).count({f"a{n}" for n in range(100)})


def test_a_label_that_left_the_label_config_keeps_its_boxes(tray: Tray) -> None:
    (key,) = tray.push(1)
    tray.see(tray.task(key, annotation(1, drawn(10), drawn(60, "short"))))
    before = tray.labels()
    line = tray.line
    config = line.project.label_config.replace('"short"', '"hole"').replace('name="label"', 'name="box"')
    with line.database.write() as session:
        remember_project(session, line.project.ls_url, line.project.ls_project_id, line.project.title, config, ["open", "hole"])
    assert tray.reading.tags[0].labels == ("open", "hole")
    rebuild(line.database, line.project.id, tray.reading)
    assert tray.labels() == before
    tray.see(tray.task(key, annotation(1, drawn(10), drawn(60, "hole", "box"), drawn(80, "short"), seconds=9)))
    assert [box["label"] for box in tray.labels()[-1]["boxes"]] == ["open", "hole", "short"]
    unchanged(tray)


def test_who_wrote_through_our_api_is_the_author(tray: Tray) -> None:
    (key,) = tray.push(1)
    told = annotation(1, drawn(10), who=9)
    tray.see(tray.task(key, told))
    assert tray.in_force()[0][0] == TOKEN
    say(tray, told, "submitted", "dora")
    assert tray.in_force()[0][0] == "dora"
    starred = annotation(1, drawn(10), who=9, seconds=9, ground_truth=True)
    tray.see(tray.task(key, starred))
    assert tray.in_force()[0][0] == "dora", "our star is no author"
    assert len(tray.labels()) == 1
    unchanged(tray)


def say(tray: Tray, told: dict[str, object], verdict: str, who: str = "rita") -> None:
    with tray.line.database.write() as session:
        give(session, tray.line.project, tray.reading, identity(told), verdict, who, "because")


def test_a_star_that_moves_to_another_annotation_takes_the_approval_along(tray: Tray) -> None:
    policy(tray, "star")
    (key,) = tray.push(1)
    anna, bert = annotation(1, drawn(10)), annotation(2, drawn(20), seconds=5, created=5, who=2)
    tray.see(tray.task(key, {**anna, "ground_truth": True}, bert))
    assert tray.in_force() == [(ANNA, [pytest.approx(9.6)])]
    moved = annotation(2, seconds=9)["updated_at"]
    tray.see(tray.task(key, anna, {**bert, "ground_truth": True, "updated_at": moved}))
    assert tray.in_force() == [(BERT, [pytest.approx(19.2)])]
    tray.see(tray.task(key, anna, {**bert, "ground_truth": False, "updated_at": moved}))
    assert tray.in_force() == []
    unchanged(tray)


def test_explicit_approval_and_rejection(tray: Tray) -> None:
    policy(tray, "explicit")
    (key,) = tray.push(1)
    told = annotation(1, drawn(10))
    tray.see(tray.task(key, told))
    assert (tray.in_force(), tray.statuses()) == ([], {key: "labeled"})
    say(tray, told, "approved")
    say(tray, told, "approved")
    assert (len(tray.in_force()), tray.statuses()) == (1, {key: "approved"})
    say(tray, told, "rejected", "boss")
    assert (tray.in_force(), tray.statuses()) == ([], {key: "rejected"})
    with tray.line.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Review)) == 2
        moves = session.execute(select(QueueEvent.status, QueueEvent.who, QueueEvent.why).order_by(QueueEvent.id)).tuples().all()
    assert moves == [
        ("labeled", ANNA, "waits for approval by the policy explicit"),
        ("approved", "rita", "because"),
        ("rejected", "boss", "rejected: because"),
    ]
    tray.see(tray.task(key, annotation(1, drawn(30), seconds=9)))
    assert tray.statuses() == {key: "labeled"}, "an edit is another matter"
    unchanged(tray)


def test_a_verdict_needs_an_annotation_and_a_word_that_we_know(tray: Tray) -> None:
    with pytest.raises(NotFoundError), tray.line.database.write() as session:
        give(session, tray.line.project, tray.reading, "7@never", "approved", "rita", "")
    with pytest.raises(InputError, match="no verdict"), tray.line.database.write() as session:
        give(session, tray.line.project, tray.reading, "7@never", "praised", "rita", "")


def test_another_policy_reads_everything_anew(tray: Tray) -> None:
    first, second = tray.push(2)
    tray.see(tray.task(first, annotation(1, drawn(10))), tray.task(second, annotation(2, drawn(20), who=2)))
    assert len(tray.in_force()) == 2
    policy(tray, f"trusted:{BERT}")
    assert len(rebuild(tray.line.database, tray.line.project.id, tray.reading, check=True).differing) == 2
    assert len(tray.in_force()) == 2, "a look changes nothing"
    rebuild(tray.line.database, tray.line.project.id, tray.reading)
    assert (tray.in_force(), tray.statuses()) == ([(BERT, [pytest.approx(19.2)])], {first: "labeled", second: "approved"})
    unchanged(tray)


def test_annotators_who_do_not_agree_open_a_round_that_comes_first_and_a_third_decides(either_tray: Tray) -> None:
    tray = either_tray
    policy(tray, "agree:2@0.5")
    (key,) = tray.push(1)
    tray.see(tray.task(key, annotation(1, drawn(10))))
    assert tray.statuses() == {key: "labeled"}
    apart = tray.task(key, annotation(1, drawn(10)), annotation(2, drawn(60), who=2, seconds=5, created=5))
    for _ in range(2):
        tray.see(apart)
        again = key.replace("-r1", "-r2")
        assert tray.statuses() == {key: "rejected", again: "pending"}
    with tray.line.database.write() as session:
        item = session.scalars(select(QueueItem).where(QueueItem.round == 2)).one()
        assert (item.reason, item.priority) == ("disagreement", 1.0)
        session.add(LsTask(project_id=tray.line.project.id, key=again, queue_item_id=item.id, ls_task_id=99))
        item.status = "pushed"
    tray.see(tray.task(again, annotation(3, drawn(12), who=3, seconds=9, created=9), number=99))
    assert tray.statuses() == {key: "approved", again: "approved"}
    assert tray.in_force() == [(CARL, [pytest.approx(10.56)])], "the median of the two who agree"
    unchanged(tray)


def test_rounds_end(tray: Tray) -> None:
    policy(tray, "agree:2@0.5")
    (key,) = tray.push(1)
    with tray.line.database.write() as session:
        session.execute(update(QueueItem).values(round=MOST_ROUNDS))
    tray.see(tray.task(key, annotation(1, drawn(10)), annotation(2, drawn(60), who=2, seconds=5, created=5)))
    assert tray.statuses() == {key: "rejected"}


def test_a_bad_annotators_labels_are_taken_out_and_brought_back(either_tray: Tray) -> None:
    tray = either_tray
    keys = tray.push(4)
    bad, edited = annotation(1, drawn(10), who=2), annotation(2, drawn(20), who=2)
    tray.see(
        tray.task(keys[0], bad),
        tray.task(keys[1], edited),
        tray.task(keys[2], annotation(3, drawn(30))),
        tray.task(keys[3], annotation(4, drawn(40), who=2, seconds=7200)),
    )
    tray.see(tray.task(keys[1], {**edited, "result": [drawn(25)], "updated_by": 3, "updated_at": annotation(2, seconds=9)["updated_at"]}))
    line = tray.line
    told: dict[str, object] = {"who": "boss", "why": "careless"}

    def act(what: Callable[..., object], since: int | None = None, *, dry_run: bool = False) -> int:
        moment = START + timedelta(seconds=since) if since is not None else None
        done = what(line.database, line.project, tray.reading, BERT, moment, dry_run=dry_run, **told)
        return len(done.labels)  # type: ignore[attr-defined]

    assert act(withdraw, dry_run=True) == 2
    assert len(tray.in_force()) == 4
    assert (act(withdraw, 3600), act(withdraw), act(withdraw)) == (1, 1, 0)
    assert sorted(annotator for annotator, _ in tray.in_force()) == [ANNA, CARL]
    assert tray.statuses() == {keys[0]: "rejected", keys[1]: "approved", keys[2]: "approved", keys[3]: "rejected"}
    unchanged(tray)
    tray.see(tray.task(keys[0], {**bad, "result": [drawn(15)], "updated_by": 1, "updated_at": annotation(1, seconds=9)["updated_at"]}))
    assert sorted(annotator for annotator, _ in tray.in_force()) == [ANNA, ANNA, CARL], "somebody mended it"
    assert (act(reinstate), act(reinstate)) == (1, 0)
    assert sorted(annotator for annotator, _ in tray.in_force()) == [ANNA, ANNA, BERT, CARL]
    unchanged(tray)


def test_the_labels_reading_grows_the_class_map(tray: Tray) -> None:
    from labelwheel.project import current_class_map

    with tray.line.database.read() as session:
        row = current_class_map(session, tray.line.project.id)
    assert (row.labels, row.version, [entry["name"] for entry in row.drawn_with or []]) == (list(LABELS), 1, ["label"])


def test_the_command_lists_rebuilds_and_withdraws(tray: Tray) -> None:
    first, second = tray.push(2)
    tray.see(tray.task(first, annotation(1, drawn(10))), tray.task(second, annotation(2, who=2)))

    def told(*command: str, code: int = 0) -> Any:
        done = CliRunner().invoke(
            app, ["labels", *command, "--json"], env={"LABELWHEEL_LABEL_STUDIO_URL": tray.line.settings.label_studio_url}
        )
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    rows = told("list")
    assert [(row["annotator"], row["status"], len(row["boxes"])) for row in rows] == [(BERT, "approved", 0), (ANNA, "approved", 1)]
    assert told("list", "--annotator", ANNA, "--image", rows[1]["image"][:10], "--status", "approved") == rows[1:]
    assert [told("list", "--image", name)[0]["annotator"] for name in ("c-1", "c-2")] == [ANNA, BERT]
    assert told("rebuild", "--check") == {"images": 2, "labels": 2, "differing": []}
    out = told("withdraw", "--annotator", BERT, "--since", "2026-11-23", "--why", "careless", "--again")
    assert (len(out["labels"]), out["images"], out["used"]["models"]) == (1, 1, [])
    assert [row["annotator"] for row in told("list", "--status", "withdrawn")] == [BERT]
    told("withdraw", "--annotator", BERT, "--again")
    assert tray.statuses() == {first: "approved", second: "rejected", second.replace("-r1", "-r2"): "pending"}
    with tray.line.database.write() as session:
        session.execute(update(Label).values(approved_by="nobody"))
    assert len(told("rebuild", "--check", code=1)["differing"]) == 2
    assert len(told("rebuild")["differing"]) == 2
    assert told("rebuild", "--check")["differing"] == []
    assert len(told("withdraw", "--annotator", BERT, "--undo")["labels"]) == 1
    assert told("list", "--status", "withdrawn") == []
    strange = (
        CliRunner()
        .invoke(
            app, ["labels", "withdraw", "--annotator", "bret"], env={"LABELWHEEL_LABEL_STUDIO_URL": tray.line.settings.label_studio_url}
        )
        .exception
    )
    assert isinstance(strange, NotFoundError) and strange.cure == f"Labels are of {ANNA}, {BERT}."
