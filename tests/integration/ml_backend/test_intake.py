"""Webhooks on the real server: what was answered is in the database, whatever happens to the process right after."""

from __future__ import annotations

import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from sqlalchemy import func, select

from labelwheel.database import Database
from labelwheel.database.tables import Hint
from ml_backend.auth import WEBHOOK_HEADER
from ml_backend.intake import Said, note
from sync.exchange.pull import _settle_hints
from tests.fixtures.database import add_project
from tests.fixtures.doors import await_until
from tests.fixtures.label_studio import free_port
from tests.fixtures.line import LS_PROJECT, WEBHOOK_SECRET, Line
from tests.fixtures.served import serving

CLIENTS, KILLS = 8, 1


def test_what_was_answered_is_written_though_the_server_is_killed_at_once(either_line: Line) -> None:
    """Clients send without a pause while the process that answers is killed; each hint speaks of a task of its own."""
    settings = either_line.settings.model_copy(update={"ml_backend_port": free_port()})
    numbers, accepted, stop = itertools.count(1), set[int](), threading.Event()

    def client() -> None:
        while not stop.is_set():
            number = next(numbers)
            body = {"action": "ANNOTATION_CREATED", "task": {"id": number}, "project": {"id": LS_PROJECT}}
            try:
                answer = requests.post(
                    f"http://127.0.0.1:{settings.ml_backend_port}/webhook", json=body, headers={WEBHOOK_HEADER: WEBHOOK_SECRET}, timeout=10
                )
            except requests.RequestException:
                time.sleep(0.02)
                continue
            assert answer.status_code == 202, answer.text
            accepted.add(number)

    with serving(settings) as server, ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client) for _ in range(CLIENTS)]
        master = server.parent()
        for _ in range(KILLS):
            before = len(accepted)
            await_until(lambda before=before: len(accepted) > before + 30)
            max(master.children(), key=lambda child: child.pid).kill()
        before = len(accepted)
        await_until(lambda: len(accepted) > before + 30)
        stop.set()
        for one in clients:
            one.result()
    with either_line.database.read() as session:
        written = {number for ids in session.scalars(select(Hint.task_ids)) for number in ids}
    assert len(accepted) > 30 * KILLS
    assert accepted <= written


def test_what_waits_already_is_counted_and_what_was_handled_is_said_anew(either_database: Database) -> None:
    project = add_project(either_database)
    first, second = (Said(project.id, "ANNOTATION_UPDATED", (number,)) for number in (4, 5))
    note(either_database.url, [first, second, first])
    note(either_database.url, [first])
    assert waiting(either_database) == {(4,): 3, (5,): 1}
    with either_database.read() as session:
        read = list(session.scalars(select(Hint).where(Hint.handled_at.is_(None))))
    note(either_database.url, [first])  # while the pull looks: it may have looked before this happened
    _settle_hints(either_database, read)
    assert waiting(either_database) == {(4,): 4}
    with either_database.read() as session:
        read = list(session.scalars(select(Hint).where(Hint.handled_at.is_(None))))
    _settle_hints(either_database, read)
    note(either_database.url, [first])
    assert waiting(either_database) == {(4,): 1}
    with either_database.read() as session:
        assert session.scalar(select(func.count()).select_from(Hint)) == 3


def waiting(database: Database) -> dict[tuple[int, ...], int]:
    with database.read() as session:
        return {tuple(hint.task_ids): hint.times for hint in session.scalars(select(Hint).where(Hint.handled_at.is_(None)))}


def test_several_processes_and_a_pull_side_by_side_lose_nothing(either_database: Database) -> None:
    """All write and settle the same few hints: nobody waits for ever, and each is counted, or was there to be read after it was said."""
    project = add_project(either_database)
    said = [Said(project.id, "ANNOTATION_UPDATED", (number,)) for number in range(5)]
    start, stop = threading.Barrier(5), threading.Event()

    def write(worker: int) -> None:
        start.wait()
        for turn in range(20):
            note(either_database.url, said[(worker + turn) % 5 :] + said[: turn % 3])

    def settle() -> None:
        start.wait()
        while not stop.is_set():
            with either_database.read() as session:
                read = list(session.scalars(select(Hint).where(Hint.handled_at.is_(None))))
            _settle_hints(either_database, read)

    with ThreadPoolExecutor(5) as pool:
        pull = pool.submit(settle)
        writers = [pool.submit(write, worker) for worker in range(4)]
        try:
            for writer in writers:
                writer.result(30)
        finally:
            stop.set()
        pull.result(30)
    sent = sum(len(said[(worker + turn) % 5 :] + said[: turn % 3]) for worker in range(4) for turn in range(20))
    with either_database.read() as session:
        assert session.scalar(select(func.sum(Hint.times))) == sent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_writes_though_its_parent_stood_in_line(either_database: Database) -> None:
    from ml_backend.intake import _line

    project = add_project(either_database)
    held = _line(either_database.url)
    held._led = True  # a thread leads that the child will not have
    child = os.fork()
    if child == 0:
        try:
            _line(either_database.url).submit(Said(project.id, "ANNOTATION_CREATED", (7,)))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    held._led = False
    assert waiting(either_database) == {(7,): 1}
