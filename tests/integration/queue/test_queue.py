"""The doorbell on a real Valkey: one job for one piece of work, and nothing lost when it forgets everything."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from rq import SimpleWorker
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from sqlalchemy import update

from labelwheel import queue, schedule
from labelwheel.database import Database
from labelwheel.database.tables import (
    Capture,
    ClassMap,
    Deployment,
    Hint,
    Image,
    ModelVersion,
    Project,
    QueueItem,
    TrainingRun,
    utcnow,
)
from labelwheel.errors import QueueUnreachable
from labelwheel.settings import PREFIX, Settings, get_settings
from tests.fixtures.database import add_project

OURS = Settings(label_studio_name="http://127.0.0.1:8080")  # of which `add_project` makes projects


def waiting(name: str = "fast") -> list[str]:
    return sorted(queue.get_queue(name).job_ids)


def work() -> None:
    bell = queue.get_queue("fast")
    SimpleWorker([bell], connection=bell.connection, serializer=JSONSerializer).work(burst=True, logging_level="CRITICAL")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """`sync.push` is a function that fails while this list is empty."""
    succeed: list[Any] = []

    def push() -> None:
        if not succeed:
            raise RuntimeError("no luck")

    monkeypatch.setattr("sync.jobs.push", push)
    return succeed


def test_a_waiting_job_is_not_doubled(bell: Redis) -> None:
    assert [queue.enqueue("sync.push") for _ in range(3)] == [True, False, False]
    assert [queue.enqueue("sync.refresh", number) for number in (1, 2, 1)] == [True, True, False]
    assert waiting() == ["sync-push", "sync-refresh-1", "sync-refresh-2"]
    assert queue.enqueue("retrain.run", 5)
    assert waiting("training") == ["retrain-run-5"]


def test_many_ringing_at_once_enqueue_one_job(bell: Redis) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: queue.enqueue("sync.pull"), range(40))) == 1
    assert waiting() == ["sync-pull"]


def test_a_job_that_failed_may_be_asked_for_again(bell: Redis, failing: list[Any]) -> None:
    queue.enqueue("sync.push")
    work()
    assert Job.fetch("sync-push", connection=bell, serializer=JSONSerializer).is_failed
    assert queue.enqueue("sync.push")
    failing.append("luck")
    work()
    assert not Job.exists("sync-push", connection=bell), "a job that is done leaves nothing that blocks its id"
    assert queue.enqueue("sync.push")


def test_a_running_job_is_not_doubled(bell: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr("sync.jobs.push", lambda: seen.append(queue.enqueue("sync.push")))
    queue.enqueue("sync.push")
    work()
    assert seen == [False]


def test_a_job_whose_worker_is_gone_may_be_asked_for_again(bell: Redis) -> None:
    """Its worker gave up when Redis was restarted: RQ would count the job as worked on for minutes."""
    queue.enqueue("sync.push")
    bell.lpop("rq:queue:fast")
    job = Job.fetch("sync-push", connection=bell, serializer=JSONSerializer)
    job.worker_name = "one"
    job.set_status(JobStatus.STARTED)
    job.save()
    bell.hset("rq:worker:one", "birth", "today")
    assert not queue.enqueue("sync.push")
    bell.hset("rq:worker:one", "death", "today")
    assert queue.enqueue("sync.push")
    assert waiting() == ["sync-push"]


def test_an_argument_reaches_the_job_as_json(bell: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr("sync.jobs.refresh", seen.append)
    queue.enqueue("sync.refresh", 42)
    assert b"pickle" not in bell.hget("rq:job:sync-refresh-42", "data")
    work()
    assert seen == [42]


def test_a_flushed_server_gets_back_what_the_database_says_is_due(bell: Redis, sqlite_database: Database) -> None:
    now = utcnow()
    deployment, run = due_rows(sqlite_database, now)
    expected = {("sync.push", None), ("sync.refresh", deployment), ("retrain.run", run)}
    for _ in range(2):
        bell.flushall()
        assert set(schedule.sweep(sqlite_database, OURS, now)) == expected
        assert waiting() == ["sync-push", f"sync-refresh-{deployment}"]
        assert waiting("training") == [f"retrain-run-{run}"]
    schedule.sweep(sqlite_database, OURS, now)
    assert len(waiting()) == 2, "sweeping again doubles nothing"


def test_while_hints_wait_the_pull_is_rung_for_every_few_seconds(bell: Redis, sqlite_database: Database) -> None:
    now, pause = datetime(2026, 11, 23, 12, tzinfo=UTC), timedelta(seconds=schedule.HINT_SECONDS)
    rung, project, former = [], add_project(sqlite_database), add_project(sqlite_database, 2)
    with sqlite_database.write() as session:
        session.get_one(Project, former.id).title = "A former one"
    schedule.turn(sqlite_database, OURS, now)
    with sqlite_database.write() as session:
        session.add(Hint(project_id=former.id, action="ANNOTATION_CREATED", task_ids=[1]))
    bell.flushall()
    schedule.turn(sqlite_database, OURS, now)
    assert waiting() == [], "another project's hint is none of ours"
    with sqlite_database.write() as session:
        session.add_all(Hint(project_id=project.id, action="ANNOTATION_CREATED", task_ids=[n]) for n in range(20))
    for moment in (now, now, now + pause):
        bell.flushall()
        schedule.turn(sqlite_database, OURS, moment)
        rung.append(waiting())
    assert rung == [["sync-pull"], [], ["sync-pull"]]
    with sqlite_database.write() as session:
        session.execute(update(Hint).values(handled_at=now))
    bell.flushall()
    schedule.turn(sqlite_database, OURS, now + 2 * pause)
    assert waiting() == []


def test_what_is_done_is_not_asked_for(bell: Redis, sqlite_database: Database) -> None:
    now = utcnow()
    due_rows(sqlite_database, now)
    with sqlite_database.write() as session:
        session.execute(update(Hint).values(handled_at=now))
        session.execute(update(QueueItem).values(status="pushed"))
        session.execute(update(Deployment).values(refreshed_at=now))
        session.execute(update(TrainingRun).values(heartbeat_at=now))
    assert schedule.sweep(sqlite_database, OURS, now) == []
    assert schedule.sweep(sqlite_database, OURS, now + timedelta(seconds=schedule.HEARTBEAT_SECONDS + 1)) == [("retrain.run", 1)]


def test_a_former_project_asks_for_nothing_in_label_studio(bell: Redis, sqlite_database: Database) -> None:
    """Its tasks are pushed by nobody: its rows would ring every few seconds for ever."""
    now = utcnow()
    _, run = due_rows(sqlite_database, now)
    with sqlite_database.write() as session:
        session.execute(update(Project).values(title="A former one", adopt_after=0))
    assert schedule.sweep(sqlite_database, OURS, now) == [("retrain.run", run)]
    add_project(sqlite_database, 2)
    assert schedule.sweep(sqlite_database, OURS, now) == [("retrain.run", run)]
    with sqlite_database.write() as session:
        session.execute(update(Project).where(Project.ls_project_id == 2).values(adopt_after=0))
    assert schedule.sweep(sqlite_database, OURS, now) == [("sync.adopt", None), ("retrain.run", run)]


def test_an_overtaken_deployment_is_not_refreshed(bell: Redis, sqlite_database: Database) -> None:
    first, _ = due_rows(sqlite_database, utcnow())
    with sqlite_database.write() as session:
        session.add(Deployment(project_id=1, tag="label", model_version_id=1, served_as="m@2"))
    assert ("sync.refresh", first + 1) in schedule.sweep(sqlite_database, OURS, utcnow())
    assert f"sync-refresh-{first}" not in waiting()


def test_a_model_of_a_tag_is_not_refreshed_by_itself(bell: Redis, sqlite_database: Database) -> None:
    first, _ = due_rows(sqlite_database, utcnow())
    with sqlite_database.write() as session:
        session.add(Deployment(project_id=1, tag="grade", model_version_id=1, served_as="grade@1"))
    asked = [argument for name, argument in schedule.sweep(sqlite_database, OURS, utcnow()) if name == "sync.refresh"]
    assert asked == [first], "its turn never ends: a refresh is the champion's"


def test_a_dead_server_is_named_and_costs_a_ring_next_to_nothing(monkeypatch: pytest.MonkeyPatch, sqlite_database: Database) -> None:
    for url in ("unix:///nowhere/valkey.sock", "redis://127.0.0.1:1/0"):
        monkeypatch.setenv(PREFIX + "REDIS_URL", url)
        get_settings.cache_clear()
        with pytest.raises(QueueUnreachable, match="does not answer"):
            queue.enqueue("sync.push")
        begun = time.monotonic()
        queue.ring("sync.push")
        assert time.monotonic() - begun < 0.5, "a webhook has one second"
    due_rows(sqlite_database, utcnow())
    assert len(schedule.sweep(sqlite_database, OURS, utcnow())) == 3


def test_a_server_that_takes_calls_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv(PREFIX + "REDIS_URL", f"redis://127.0.0.1:{deaf.getsockname()[1]}/0")
        monkeypatch.setattr(queue, "ANSWER_SECONDS", 0.2)
        get_settings.cache_clear()
        with pytest.raises(QueueUnreachable, match="does not answer"):
            queue.enqueue("sync.push")


def due_rows(database: Database, now: datetime) -> tuple[int, int]:
    """A hint, a pending item, a deployment that is not refreshed and a run that nobody took: ids of the last two."""
    project = add_project(database)
    with database.write() as session:
        image = Image(project_id=project.id, sha256="0" * 64, width=9, height=9, size=9, uri="u")
        class_map = ClassMap(project_id=project.id, version=1, labels=["open"])
        session.add_all([image, class_map, Hint(project_id=project.id, action="ANNOTATION_CREATED", task_ids=[1])])
        session.flush()
        capture = Capture(
            project_id=project.id, image_id=image.id, source="a", external_id="c", captured_at=now, features={}, split="train",
            audit=False, propensity=0.1,
        )  # fmt: skip
        model = ModelVersion(
            project_id=project.id,
            name="m",
            version=1,
            onnx_uri="m.onnx",
            onnx_sha256="0" * 64,
            weights_uri="m.pt",
            class_map_id=class_map.id,
        )
        session.add_all([capture, model])
        session.flush()
        item = QueueItem(project_id=project.id, image_id=image.id, capture_id=capture.id, reason="audit", priority=1, scores={})
        deployment = Deployment(project_id=project.id, tag="label", model_version_id=model.id, served_as="m@1")
        run = TrainingRun(project_id=project.id, status="queued", cause="manual")
        session.add_all([item, deployment, run])
    return deployment.id, run.id
