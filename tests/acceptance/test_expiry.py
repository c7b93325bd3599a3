"""What nobody touched leaves a real Label Studio, and nothing else does."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from labelwheel.database.tables import LsTask, QueueItem, utcnow
from labelwheel.labelstudio import LabelStudio
from labelwheel.pause import pause, resume
from sync.selection.expire import expire
from tests.acceptance.test_sync_label_studio import Wheel, drawn, wheel  # noqa: F401

LATER = timedelta(days=31)


def expired(wheel: Wheel, client: LabelStudio | None = None) -> int:  # noqa: F811
    return expire(wheel.database, wheel.settings, client or wheel.studio, utcnow() + LATER)


def colleague(wheel: Wheel) -> Callable[..., Any]:  # noqa: F811
    """Another person of Label Studio's, whose requests are answered as a browser's are."""
    from httpx import Client

    transport = wheel.studio.connection._sdk._client_wrapper.httpx_client
    invite = transport.request("api/invite", method="GET").json()["invite_url"]
    browser = Client(base_url=wheel.settings.label_studio_url, follow_redirects=True)
    browser.get(invite)
    email = f"{os.urandom(4).hex()}@labelwheel.local"
    form = {
        "email": email,
        "password": "labelwheel-tests",
        "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        "allow_newsletters": "false",
    }
    browser.post(invite, data=form).raise_for_status()
    assert browser.get("/api/current-user/whoami").json()["email"] == email

    def act(method: str, path: str, **body: Any) -> Any:
        answer = browser.request(method, path, json=body, headers={"X-CSRFToken": browser.cookies["csrftoken"]})
        return answer.raise_for_status().json()

    return act


def test_only_what_nobody_touched_is_taken_back_and_it_comes_again_under_a_later_model(wheel: Wheel) -> None:  # noqa: F811
    idle, submitted, skipped, begun, others, adopted, audit = wheel.pushed(7)
    with wheel.database.write() as session:
        session.execute(update(LsTask).where(LsTask.ls_task_id == adopted).values(adopted=True))
        item = select(LsTask.queue_item_id).where(LsTask.ls_task_id == audit).scalar_subquery()
        session.execute(update(QueueItem).where(QueueItem.id == item).values(reason="audit"))
    wheel.studio.create_annotation(submitted, [drawn()])  # not pulled yet
    wheel.studio.create_annotation(skipped, [], was_cancelled=True)
    wheel.act("POST", f"api/tasks/{begun}/drafts", result=[drawn()])
    colleague(wheel)("POST", f"/api/tasks/{others}/drafts", result=[drawn()])
    assert [wheel.studio.is_untouched(task) for task in (idle, begun, others)] == [True, False, False]

    assert expire(wheel.database, wheel.settings, wheel.studio, utcnow() + timedelta(days=29)) == 0, "not yet"
    with wheel.database.write() as session:
        pause(session, wheel.project.id, "selection", "me", "Holidays.")
    assert expired(wheel) == 0, "paused"
    with wheel.database.write() as session:
        resume(session, wheel.project.id, "selection")
    assert (expired(wheel), expired(wheel)) == (1, 0)
    assert wheel.studio.task_ids(wheel.project.ls_project_id) == {submitted, skipped, begun, others, adopted, audit}
    wheel.pull()
    assert wheel.statuses() == {
        idle: "expired", submitted: "approved", skipped: "skipped", begun: "pushed", others: "pushed", adopted: "pushed", audit: "pushed",
    }  # fmt: skip

    assert (wheel.select(), wheel.push()) == (0, 0)
    wheel.deploy(0.5)
    assert (wheel.select(), wheel.push()) == (1, 1)
    assert len(wheel.tasks()) == 7
    assert sorted(task["data"]["labelwheel_key"][-2:] for task in wheel.tasks()) == ["r1"] * 6 + ["r2"]


class Killed(LabelStudio):
    """The process dies when Label Studio has deleted the tasks."""

    def delete_tasks(self, project_id: int, task_ids: Any) -> None:
        super().delete_tasks(project_id, task_ids)
        raise KeyboardInterrupt


@pytest.mark.parametrize("first", ["expiry", "pull"])
def test_a_crash_after_the_deletion_is_made_up_for(wheel: Wheel, first: str) -> None:  # noqa: F811
    wheel.pushed(2)
    killed = Killed(wheel.settings.label_studio_url, wheel.settings.label_studio_token.get_secret_value())
    with pytest.raises(KeyboardInterrupt):
        expired(wheel, killed)
    assert wheel.tasks() == []
    if first == "pull":
        wheel.pull()
    assert expired(wheel) == (2 if first == "expiry" else 0)
    assert set(wheel.statuses().values()) == {"expired"}
    assert wheel.push() == 0
    wheel.deploy(0.5)
    assert (wheel.select(), wheel.push(), len(wheel.tasks())) == (2, 2, 2), "it was us who deleted them"


def test_what_label_studio_holds_of_a_pending_item_goes_with_it(wheel: Wheel) -> None:  # noqa: F811
    """The answer to an import was lost, and the push after it never came."""
    wheel.pushed(2)
    with wheel.database.write() as session:
        session.query(LsTask).delete()
        session.execute(update(QueueItem).values(status="pending"))
    assert expired(wheel) == 2
    assert wheel.tasks() == []
