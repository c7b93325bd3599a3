"""Retention on a real database and a real folder: what is needed stays whatever its state, crashes and races lose nothing."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from labelwheel.database import Database
from labelwheel.database.tables import (
    QUEUE_STATUSES,
    AnnotationRevision,
    Capture,
    ClassMap,
    Dataset,
    DatasetItem,
    Decision,
    Image,
    Label,
    Prediction,
    QueueItem,
    utcnow,
)
from labelwheel.image_url import image_url
from labelwheel.settings import Settings
from labelwheel.storage import ASIDE, ImageStore
from labelwheel.vision.image import digest
from ml_backend import keep, retention
from ml_backend.retention import retain, unnamed
from sync.selection import select as choosing
from sync.selection.select import select_captures
from tests.fixtures.database import add_project
from tests.fixtures.line import Line, line_settings, picture

LATER = timedelta(days=100)


def ask(line: Line, **changes: Any) -> Settings:
    return line.settings.model_copy(update={"retention_days": 30, **changes})


def images(line: Line) -> list[Image]:
    with line.database.read() as session:
        return list(session.scalars(select(Image).order_by(Image.id)))


def files(store: ImageStore) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


def killed(*_: Any) -> None:
    raise RuntimeError("killed")


def backdate(store: ImageStore, uri: str, hours: float = 3) -> None:
    moment = (store.root / uri).stat().st_mtime - hours * 3600
    os.utime(store.root / uri, (moment, moment))


def test_bytes_expire_and_rows_stay(line: Line) -> None:
    line.deploy(0.9)
    line.inspect(1)
    report = retain(line.database, ask(line), utcnow() + LATER)
    (image,) = images(line)
    assert (report.images, report.expired, report.lost) == (1, {"age": 1, "size": 0}, [])
    assert image.expired_at is not None
    assert files(line.store) == set()
    with line.database.read() as session:
        assert session.scalars(select(Capture)).one().features["brightness"] > 0
        assert session.scalars(select(Prediction)).one().count == 1
        decision = session.scalars(select(Decision)).one()
    assert (decision.kind, decision.verdict) == ("retention", "1 expired")
    again = retain(line.database, ask(line), utcnow() + LATER)
    assert (again.images, again.expired, again.lost) == (0, {"age": 0, "size": 0}, [])


def test_a_dry_run_says_the_same_and_changes_nothing(line: Line) -> None:
    for seed in range(3):
        line.inspect(seed)
    before = files(line.store)
    told = retain(line.database, ask(line), utcnow() + LATER, dry_run=True)
    assert (told.expired["age"], told.expired_bytes) == (3, sum(image.size for image in images(line)))
    assert (files(line.store), [image.expired_at for image in images(line)]) == (before, [None] * 3)
    assert retain(line.database, ask(line), utcnow() + LATER) == told


def test_above_its_bound_the_store_loses_the_oldest(line: Line) -> None:
    for seed in range(6):
        line.inspect(seed)
    sizes = [image.size for image in images(line)]
    bound = int(sum(sizes[2:]) / retention.ROOM) + 1
    retain(line.database, ask(line, retention_days=0, store_max_bytes=bound), utcnow() + timedelta(hours=2))
    assert [image.expired_at is not None for image in images(line)] == [True, True, False, False, False, False]


def test_an_image_that_comes_again_stays(line: Line) -> None:
    line.inspect(1, "c-1")
    with line.database.write() as session:
        session.execute(update(Capture).values(received_at=utcnow() - LATER))
    line.inspect(1, "c-2")
    assert retain(line.database, ask(line), utcnow()).expired["age"] == 0


def test_expired_bytes_that_arrive_again_are_there_again(line: Line) -> None:
    line.inspect(1, "c-1")
    retain(line.database, ask(line), utcnow() + LATER)
    assert line.inspect(1, "c-1").status_code == 200, "an old capture sent again is answered, and stays expired"
    assert files(line.store) == set()
    assert line.inspect(1, "c-2").status_code == 201
    (image,) = images(line)
    assert (image.expired_at, line.store.read(image.uri)) == (None, picture(1))


def test_a_stored_answer_outlives_the_bytes_and_a_new_one_is_refused_without_noise(line: Line) -> None:
    line.deploy(0.9)
    first = line.inspect(1).json
    retain(line.database, ask(line), utcnow() + LATER)
    assert line.inspect(1).json == first
    (image,) = images(line)
    signed = line.settings.model_copy(update={"image_urls": "signed", "ml_backend_public_url": ""})
    answer = line.client.get(image_url(image.uri, signed))
    assert (answer.status_code, answer.json["error"]["code"]) == (410, "expired")
    line.deploy(0.5)
    assert select_captures(line.database, line.settings, utcnow()) == 0, "what nobody can look at is no candidate"


def test_an_image_chosen_while_it_expires_is_not_queued(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool was read before the retention, the queue item is written after it."""
    line.deploy(0.5)
    line.inspect(1)
    line.inspect(2)
    real = choosing._store

    def expire_first(*given: Any) -> int:
        with line.database.write() as session:
            session.execute(update(Image).where(Image.id == 1).values(expired_at=utcnow()))
        return real(*given)

    monkeypatch.setattr(choosing, "_store", expire_first)
    assert select_captures(line.database, line.settings, utcnow()) == 1
    with line.database.read() as session:
        assert session.scalars(select(QueueItem.image_id)).all() == [2]


def test_an_image_queued_after_it_was_chosen_does_not_expire(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round: the retention has read, then the selection writes, then the retention writes."""
    line.inspect(1)
    line.inspect(2)
    real = retention.choose

    def queue_meanwhile(*given: Any) -> Any:
        chosen = real(*given)
        with line.database.write() as session:
            add_item(session, 1, line.project.id, "pending")
        return chosen

    monkeypatch.setattr(retention, "choose", queue_meanwhile)
    assert retain(line.database, ask(line), utcnow() + LATER).expired["age"] == 1
    assert [image.expired_at is not None for image in images(line)] == [False, True]


# crashes


def test_a_file_without_a_row_goes_when_it_is_old(line: Line) -> None:
    """What a crash between file and row leaves, and what a killed writer leaves."""
    orphan = line.store.put(picture(8), "ab" * 32, ".png")
    draft = "ab/tmpx1y2z3"
    (line.store.root / draft).write_bytes(b"half of an image")
    line.inspect(1)
    assert retain(line.database, line.settings, utcnow()).orphans == 0, "its row may be under way"
    backdate(line.store, orphan)
    backdate(line.store, draft)
    assert retain(line.database, line.settings, utcnow(), dry_run=True).orphans == 2
    assert retain(line.database, line.settings, utcnow()).orphans == 2
    assert files(line.store) == {images(line)[0].uri}


def test_a_crash_between_file_and_row_loses_and_doubles_nothing(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as crash:
        crash.setattr(keep, "_insert", killed)
        assert line.inspect(1).status_code == 500
    assert len(files(line.store)) == 1
    assert line.inspect(1).status_code == 201
    assert len(files(line.store)) == len(images(line)) == 1
    assert list(unnamed(line.database, line.store)) == []


def test_a_crash_between_row_and_file_is_made_up_for(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.inspect(1)
    (image,) = images(line)
    with monkeypatch.context() as crash:
        crash.setattr(ImageStore, "discard", killed)
        with pytest.raises(RuntimeError):
            retain(line.database, ask(line), utcnow() + LATER)
    assert files(line.store) == {image.uri}
    backdate(line.store, image.uri)
    report = retain(line.database, ask(line), utcnow() + LATER)
    assert (report.orphans, report.lost, files(line.store)) == (1, [], set())


@pytest.mark.parametrize("expired", [True, False])
def test_a_crash_in_the_middle_of_a_removal_is_settled(line: Line, expired: bool) -> None:
    line.inspect(1)
    (image,) = images(line)
    aside = line.store.root / ASIDE / image.uri
    aside.parent.mkdir(parents=True)
    (line.store.root / image.uri).rename(aside)
    with line.database.write() as session:
        session.execute(update(Image).values(expired_at=utcnow() if expired else None))
    retain(line.database, line.settings, utcnow())
    assert files(line.store) == (set() if expired else {image.uri})


def test_a_lost_image_is_told_from_an_expired_one_and_comes_back_when_it_is_sent_again(line: Line) -> None:
    for seed in (1, 2):
        line.inspect(seed)
    gone = images(line)[0].uri
    (line.store.root / gone).unlink()
    assert retain(line.database, line.settings, utcnow()).lost == [gone]
    line.inspect(1)
    assert retain(line.database, line.settings, utcnow()).lost == []


# races between the door and a removal: whichever is first, no row is left without its file


def test_a_row_written_just_before_the_question_saves_the_file(line: Line) -> None:
    uri = line.store.put(picture(1), digest(picture(1)), ".png")

    def arrives_meanwhile(asked: str) -> bool:
        line.inspect(1)
        return retention.is_named(line.database, asked)

    assert line.store.discard(uri, arrives_meanwhile) is False
    assert line.store.read(uri) == picture(1)


def test_a_row_written_just_after_the_question_finds_its_file_again(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = line.store.put(picture(1), digest(picture(1)), ".png")
    insert = keep._insert

    def removed_before_the_row(*given: Any) -> Any:
        assert line.store.discard(uri, lambda asked: retention.is_named(line.database, asked))
        return insert(*given)

    monkeypatch.setattr(keep, "_insert", removed_before_the_row)
    assert line.inspect(1).status_code == 201
    assert line.store.read(uri) == picture(1)


def test_arrivals_and_removals_that_meet_lose_nothing(either_line: Line) -> None:
    """A camera sends the same few images again and again under new ids, while a retention finds each of them too old at once."""
    line, over = either_line, threading.Event()

    def send(thread: int) -> list[int]:
        client = line.app.test_client()
        return [line.inspect(number % 3, f"c-{thread}-{number}", client=client).status_code for number in range(15)]

    def remove() -> int:
        rounds = 0
        while not over.is_set():
            rounds += sum(retain(line.database, ask(line), utcnow() + LATER).expired.values())
        return rounds

    with ThreadPoolExecutor(4) as pool:
        removed, sent = pool.submit(remove), [pool.submit(send, thread) for thread in range(3)]
        try:
            answers = [status for one in sent for status in one.result()]
        finally:
            over.set()
    assert set(answers) == {201}
    assert removed.result() > 0, "they never met"
    for uri in files(line.store):  # an arrival that came too late may have left a file that no row names
        backdate(line.store, uri)
    report = retain(line.database, ask(line, retention_days=0), utcnow() + LATER)
    assert report.lost == []
    assert files(line.store) == {image.uri for image in images(line) if image.expired_at is None}


def test_two_projects_share_a_file(line: Line) -> None:
    line.inspect(1)
    (image,) = images(line)
    other = add_project(line.database, 99)
    with line.database.write() as session:
        columns = ("sha256", "width", "height", "size", "uri")
        twin = Image(project_id=other.id, **{name: getattr(image, name) for name in columns})
        session.add(twin)
        session.flush()
        add_item(session, twin.id, other.id, "pushed")
    assert retain(line.database, ask(line), utcnow() + LATER).expired["age"] == 1
    assert files(line.store) == {image.uri}, "the other project still needs it"


# the property: whatever the states, nothing that is needed goes


def add_item(session: Any, image_id: int, project_id: int, status: str, round_: int = 1) -> None:
    capture = session.scalar(select(Capture.id).where(Capture.image_id == image_id)) or session.scalar(select(func.min(Capture.id)))
    session.add(
        QueueItem(
            project_id=project_id, image_id=image_id, capture_id=capture, status=status, reason="audit", priority=1, scores={}, round=round_
        )
    )  # fmt: skip


def add_label(session: Any, image: Image, withdrawn: datetime | None) -> Label:
    revision = AnnotationRevision(
        project_id=image.project_id, unique_id=f"u{image.id}", updated_at=utcnow(), key=f"k{image.id}", ls_annotation_id=1, ls_task_id=1,
        annotator="a", was_cancelled=False, body={},
    )  # fmt: skip
    session.add(revision)
    session.flush()
    label = Label(
        project_id=image.project_id, image_id=image.id, annotation_revision_id=revision.id, boxes=[], exclusions=[], annotator="a",
        annotated_at=utcnow(), withdrawn_at=withdrawn,
    )  # fmt: skip
    session.add(label)
    session.flush()
    return label


STATES = st.fixed_dictionaries(
    {
        "audit": st.booleans(),
        "queue": st.lists(st.sampled_from(QUEUE_STATUSES), max_size=2),
        "label": st.sampled_from(["none", "standing", "withdrawn"]),
        "dataset": st.booleans(),
        "age": st.floats(0, 400),
    }
)


def is_needed(state: dict[str, Any]) -> bool:
    """Said once more and in other words than retention does."""
    asked = [status for status in state["queue"] if status != "expired"]
    return bool(asked) or state["audit"] or state["label"] != "none" or state["age"] * 24 < 1


def test_whatever_the_states_nothing_needed_goes_and_what_is_free_goes(tmp_path: Path, either_database: Database) -> None:
    chosen = line_settings(tmp_path, retention_days=30, store_max_bytes=1)
    store, now, number = ImageStore(chosen.images_dir), utcnow(), iter(range(1, 10**6))

    def fill(states: list[dict[str, Any]]) -> dict[int, tuple[dict[str, Any], str]]:
        project = add_project(either_database, next(number))
        made = {}
        with either_database.write() as session:
            classes = ClassMap(project_id=project.id, version=1, labels=["open"])
            session.add(classes)
            session.flush()
            dataset = Dataset(project_id=project.id, content_hash="h", path="p", class_map_id=classes.id, counts={})
            session.add(dataset)
            for state in states:
                image = put_image(session, project.id, state, store, next(number), now)
                label = add_label(session, image, now if state["label"] == "withdrawn" else None) if state["label"] != "none" else None
                if label and state["dataset"]:
                    session.add(DatasetItem(dataset_id=dataset.id, image_id=image.id, label_id=label.id, split="train"))
                made[image.id] = (state, image.uri)
        return made

    @given(st.lists(STATES, min_size=1, max_size=20))
    @settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    def check(states: list[dict[str, Any]]) -> None:
        made = fill(states)
        retain(either_database, chosen, now)
        with either_database.read() as session:
            for image_id, (state, uri) in made.items():
                expired = session.get_one(Image, image_id).expired_at is not None
                assert expired is not is_needed(state), state
                assert (store.root / uri).is_file() is is_needed(state), state

    check()


def put_image(session: Any, project_id: int, state: dict[str, Any], store: ImageStore, number: int, now: datetime) -> Image:
    sha256 = f"{number * 7919 % 256:02x}{number:062x}"
    uri = store.put(b"bytes", sha256, ".png")
    image = Image(project_id=project_id, sha256=sha256, width=9, height=9, size=5, uri=uri)
    session.add(image)
    session.flush()
    seen = now - timedelta(days=state["age"])
    session.add(
        Capture(
            project_id=project_id, image_id=image.id, source="a", external_id=f"c{number}", captured_at=seen, received_at=seen, features={},
            split="train", audit=state["audit"], propensity=0.1,
        )
    )  # fmt: skip
    session.flush()
    for round_, status in enumerate(state["queue"], start=1):
        add_item(session, image.id, project_id, status, round_)
    return image
