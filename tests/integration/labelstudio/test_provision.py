from __future__ import annotations

import base64
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from labelwheel.errors import LabelStudioError
from labelwheel.labelstudio import LabelStudio, Project, inspect_setup
from labelwheel.labelstudio.inspection import Setup
from labelwheel.labelstudio.provision import (
    ensure_backend,
    ensure_options,
    ensure_project,
    ensure_storage,
    ensure_view,
    ensure_webhook,
    fetch_token,
)

HEADER, SECRET = "X-Labelwheel-Secret", "s3cret"
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
LABEL_CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="open"/></RectangleLabels></View>'
)
REGION = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["open"]}
RESULT = [{"type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": REGION}]


def hooks(client: LabelStudio, project: Project) -> list[dict[str, Any]]:
    return list(client.connection.read("api/webhooks/", project=project.id))


def backends(client: LabelStudio, project: Project) -> list[dict[str, Any]]:
    return list(client.connection.read("api/ml", project=project.id))


def connect(client: LabelStudio, project: Project, url: str, password: str = "pw") -> int:
    return ensure_backend(client, project.id, url, "label-studio", password)


def listen(client: LabelStudio, project: Project, url: str) -> int:
    return ensure_webhook(client, project.id, f"{url}/webhook", HEADER, SECRET)


def carrying(version: str) -> dict[str, Any]:
    return {"data": {"image": "/x.png"}, "predictions": [{"model_version": version, "score": 0.5, "result": RESULT}]}


@pytest.fixture
def session(label_studio_server: Any) -> Iterator[httpx.Client]:
    """A logged-in browser, as far as HTTP goes."""
    settings = label_studio_server.settings
    with httpx.Client(base_url=label_studio_server.url, follow_redirects=True, timeout=30) as browser:
        browser.get("/user/login/")
        form = {"email": settings.label_studio_username, "password": settings.label_studio_password.get_secret_value()}
        browser.post("/user/login/", data={**form, "csrfmiddlewaretoken": browser.cookies["csrftoken"]})
        yield browser


# tokens


@pytest.fixture
def someone(label_studio_server: Any, label_studio: LabelStudio) -> tuple[str, str]:
    """A second user, whose token may be revoked without harm to other tests."""
    database = label_studio_server.settings.home / "label-studio" / "label_studio.sqlite3"
    email = f"{uuid.uuid4().hex[:8]}@labelwheel.local"
    created = label_studio.connection.call(lambda sdk: sdk.users.create(email=email, username=email))
    settings = label_studio_server.settings
    with sqlite3.connect(database, timeout=30) as db:  # the API sets no password: lend the first user's
        db.execute(
            "UPDATE htx_user SET password = (SELECT password FROM htx_user WHERE email = ?) WHERE id = ?",
            (settings.label_studio_username, created.id),
        )
    return email, settings.label_studio_password.get_secret_value()


def test_a_token_is_fetched_and_replaces_the_one_before(label_studio_server: Any, someone: tuple[str, str]) -> None:
    first = fetch_token(label_studio_server.url, *someone)
    assert LabelStudio(label_studio_server.url, first).me()["email"] == someone[0]
    second = fetch_token(label_studio_server.url, *someone)
    assert LabelStudio(label_studio_server.url, second).me()["email"] == someone[0]
    with pytest.raises(LabelStudioError, match="LABELWHEEL_LABEL_STUDIO_TOKEN"):
        LabelStudio(label_studio_server.url, first).me()


def test_a_wrong_password_says_so(label_studio_server: Any) -> None:
    with pytest.raises(LabelStudioError, match=r"admin@labelwheel.local.*reset_password"):
        fetch_token(label_studio_server.url, "admin@labelwheel.local", "wrong")


def test_a_page_that_is_no_login_says_so(tiny_backend: Any) -> None:
    with pytest.raises(LabelStudioError, match="login page"):
        fetch_token(tiny_backend.url, "a", "b")


def test_strangers_cannot_sign_up(label_studio_server: Any) -> None:
    with httpx.Client(base_url=label_studio_server.url, follow_redirects=True) as stranger:
        stranger.get("/user/signup/")
        form = {"email": "x@example.org", "password": "12345678", "csrfmiddlewaretoken": stranger.cookies["csrftoken"]}
        assert stranger.post("/user/signup/", data=form).status_code == 403


# project


def test_a_project_is_made_once_and_its_options_are_restored(label_studio: LabelStudio, project: Project) -> None:
    label_studio.connection.call(lambda sdk: sdk.projects.update(id=project.id, enable_empty_annotation=False, maximum_annotations=3))
    again = ensure_project(label_studio, project.title, lambda: "<View/>")
    restored = label_studio.connection.read(f"api/projects/{project.id}/")
    assert (again.id, again.label_config) == (project.id, project.label_config)
    assert (restored["enable_empty_annotation"], restored["maximum_annotations"]) == (True, 1)
    assert (restored["show_collab_predictions"], restored["evaluate_predictions_automatically"]) == (True, False)
    ensure_project(label_studio, project.title, lambda: "<View/>", annotators=2)
    assert label_studio.connection.read(f"api/projects/{project.id}/")["maximum_annotations"] == 2, "the policy needs two who agree"


def test_options_keep_the_pinned_version(label_studio: LabelStudio, project: Project) -> None:
    label_studio.import_tasks(project.id, [carrying("m@1")])
    ensure_options(label_studio, project.id)
    assert label_studio.project(project.id).model_version == "m@1"


# images


def test_images_are_served_to_users_alone(label_studio_server: Any, label_studio: LabelStudio, project: Project, session: Any) -> None:
    folder = label_studio_server.settings.images_dir / uuid.uuid4().hex
    (folder / "ab").mkdir(parents=True)
    (folder / "ab" / "pixel.png").write_bytes(PIXEL)
    address = f"/data/local-files/?d=images/{folder.name}/ab/pixel.png"
    assert session.get(address).status_code == 404

    storage = ensure_storage(label_studio, project.id, folder)

    assert ensure_storage(label_studio, project.id, folder) == storage
    assert (session.get(address).content, session.get(address).headers["content-type"]) == (PIXEL, "image/png")
    assert httpx.get(label_studio_server.url + address).status_code == 401
    assert label_studio.task_ids(project.id) == set()


def test_a_folder_that_cannot_be_served_is_refused_with_a_cure(label_studio: LabelStudio, project: Project, tmp_path: Path) -> None:
    with pytest.raises(LabelStudioError, match="LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"):
        ensure_storage(label_studio, project.id, tmp_path)


# ML backend and webhook


def test_our_webhook_first_leaves_no_automatic_one(label_studio: LabelStudio, project: Project, tiny_backend: Any) -> None:
    hook = listen(label_studio, project, tiny_backend.url)
    backend = connect(label_studio, project, tiny_backend.url)
    assert (listen(label_studio, project, tiny_backend.url), connect(label_studio, project, tiny_backend.url)) == (hook, backend)
    [row] = hooks(label_studio, project)
    assert (row["id"], row["headers"], row["send_for_all_actions"]) == (hook, {HEADER: SECRET}, False)


def test_the_automatic_webhook_is_taken_over(label_studio: LabelStudio, project: Project, tiny_backend: Any) -> None:
    connect(label_studio, project, tiny_backend.url)
    [automatic] = hooks(label_studio, project)
    assert (automatic["headers"], automatic["send_for_all_actions"]) == ({}, True)
    assert listen(label_studio, project, tiny_backend.url) == automatic["id"]
    [row] = hooks(label_studio, project)
    assert (row["headers"], row["send_for_all_actions"]) == ({HEADER: SECRET}, False)


def test_the_automatic_webhook_is_removed_where_ours_lies_elsewhere(label_studio: LabelStudio, project: Project, tiny_backend: Any) -> None:
    connect(label_studio, project, tiny_backend.url)
    ensure_webhook(label_studio, project.id, "http://127.0.0.1:9/hints", HEADER, SECRET)
    assert [row["url"] for row in hooks(label_studio, project)] == ["http://127.0.0.1:9/hints"]


def test_a_new_address_moves_the_webhook_and_leaves_that_of_others(label_studio: LabelStudio, project: Project, tiny_backend: Any) -> None:
    hook = listen(label_studio, project, "http://127.0.0.1:9")
    stranger = label_studio.connection.call(lambda sdk: sdk.webhooks.create(project=project.id, url="http://127.0.0.1:9/theirs"))
    assert listen(label_studio, project, tiny_backend.url) == hook
    assert {row["url"] for row in hooks(label_studio, project)} == {f"{tiny_backend.url}/webhook", stranger.url}


def test_annotations_are_told_once_and_with_the_secret(label_studio: LabelStudio, project: Project, tiny_backend: Any) -> None:
    listen(label_studio, project, tiny_backend.url)
    connect(label_studio, project, tiny_backend.url)
    [task_id] = label_studio.import_tasks(project.id, [{"data": {"image": "/x.png"}}])
    tiny_backend.asked.clear()
    label_studio.create_annotation(task_id, RESULT)
    told = [(headers[HEADER], body["action"]) for _, path, headers, body in tiny_backend.asked if path == "/webhook"]
    assert told == [(SECRET, "ANNOTATION_CREATED")]


def test_the_backend_is_called_with_the_login_and_sent_again_only_when_it_differs(
    label_studio: LabelStudio, project: Project, tiny_backend: Any
) -> None:
    connect(label_studio, project, tiny_backend.url)
    [login, *_] = [headers["Authorization"] for _, path, headers, _ in tiny_backend.asked if path == "/setup"]
    assert login == "Basic " + base64.b64encode(b"label-studio:pw").decode()
    [before] = backends(label_studio, project)
    connect(label_studio, project, tiny_backend.url)
    [after] = backends(label_studio, project)
    assert (after["id"], after["auth_method"], after["basic_auth_user"]) == (before["id"], "BASIC_AUTH", "label-studio")


def test_a_changed_password_is_sent_because_the_backend_refuses_the_old_one(
    label_studio: LabelStudio, project: Project, tiny_backend: Any
) -> None:
    accepted = {"pw"}
    plain = tiny_backend.answer

    def guarded(path: str, body: Any) -> tuple[int, Any]:
        if path == "/webhook":
            return 200, {}
        login = base64.b64decode(tiny_backend.asked[-1][2]["Authorization"].split()[1]).decode()
        return plain(path, body) if login.removeprefix("label-studio:") in accepted else (401, {})

    tiny_backend.answer = guarded
    number = connect(label_studio, project, tiny_backend.url)
    accepted = {"new"}
    assert connect(label_studio, project, tiny_backend.url, password="new") == number
    assert backends(label_studio, project)[0]["state"] == "CO"
    accepted = {"newer"}
    with pytest.raises(LabelStudioError, match="authentication"):
        connect(label_studio, project, tiny_backend.url, password="wrong")


def test_updating_a_backend_brings_no_automatic_webhook_back(label_studio: LabelStudio, project: Project, tiny_backend: Any) -> None:
    number = connect(label_studio, project, tiny_backend.url)
    ensure_webhook(label_studio, project.id, "http://127.0.0.1:9/hints", HEADER, SECRET)
    older = {"title": "Older", "url": tiny_backend.url, "auth_method": "NONE", "project": project.id}
    label_studio.connection.call(lambda sdk: sdk.ml.update(number, **older))
    assert connect(label_studio, project, tiny_backend.url) == number
    [row] = backends(label_studio, project)
    assert (row["title"], row["auth_method"]) == ("Labelwheel", "BASIC_AUTH")
    assert [row["url"] for row in hooks(label_studio, project)] == ["http://127.0.0.1:9/hints"]


def test_surplus_backends_are_removed(label_studio: LabelStudio, project: Project, tiny_backend: Any) -> None:
    for title in ("Labelwheel", "another"):
        label_studio.connection.call(lambda sdk, title=title: sdk.ml.create(project=project.id, url=tiny_backend.url, title=title))
    connect(label_studio, project, tiny_backend.url)
    assert len(backends(label_studio, project)) == 1


def test_a_backend_that_does_not_run_is_refused_and_leaves_nothing(label_studio: LabelStudio, project: Project) -> None:
    with pytest.raises(LabelStudioError, match="Start ml_backend first"):
        connect(label_studio, project, "http://127.0.0.1:9")
    assert backends(label_studio, project) == []


def test_connecting_a_backend_never_pins_its_title(label_studio: LabelStudio, project: Project, tiny_backend: Any) -> None:
    connect(label_studio, project, tiny_backend.url)
    assert label_studio.project(project.id).model_version == ""


# what the annotator gets


def test_only_the_pinned_version_pre_labels(label_studio: LabelStudio, project: Project, tiny_backend: Any, session: Any) -> None:
    connect(label_studio, project, tiny_backend.url)
    [task_id] = label_studio.import_tasks(project.id, [carrying("m@1")])
    label_studio.import_predictions(project.id, [{"task": task_id, "model_version": "m@2", "score": 0.4, "result": RESULT}])
    tiny_backend.asked.clear()

    def shown() -> list[str]:
        upcoming = session.get(f"/api/projects/{project.id}/next").json()
        return [item["model_version"] for item in upcoming["predictions"]]

    assert shown() == ["m@1"]
    label_studio.set_model_version(project.id, "m@2")
    assert shown() == ["m@2"]
    assert tiny_backend.asked == [] or set(tiny_backend.paths()) == {"/webhook"}


def test_highest_priority_comes_first_as_a_number(label_studio: LabelStudio, project: Project) -> None:
    priorities = [0.9, 1e-05, 10, None, 2.5]
    tasks = [{"data": {"image": "/x.png", "priority": value, "source": "cam"}} for value in priorities]
    ids = label_studio.import_tasks(project.id, tasks)
    view = ensure_view(label_studio, project.id)
    assert ensure_view(label_studio, project.id) == view
    listed = label_studio.connection.read("api/tasks/", project=project.id, view=view, page=1)["tasks"]
    assert [entry["id"] for entry in listed] == [ids[2], ids[4], ids[0], ids[1], ids[3]]


# faults


def test_a_set_up_project_has_no_fault_and_an_empty_one_has_all(
    label_studio_server: Any, label_studio: LabelStudio, project: Project, tiny_backend: Any
) -> None:
    folder = label_studio_server.settings.images_dir / uuid.uuid4().hex
    folder.mkdir(parents=True)
    wanted = Setup(tiny_backend.url, f"{tiny_backend.url}/webhook", HEADER, storage=folder, model_version="m@1")

    def codes() -> list[str]:
        return [fault.code for fault in inspect_setup(label_studio, project.id, wanted)]

    assert codes() == ["backend_missing", "webhook_missing", "storage_missing", "model_version"]
    listen(label_studio, project, tiny_backend.url)
    connect(label_studio, project, tiny_backend.url)
    ensure_storage(label_studio, project.id, folder)
    label_studio.import_tasks(project.id, [carrying("m@1")])
    assert codes() == []
    tiny_backend.healthy = False
    assert codes() == ["backend_state"]


def test_a_server_that_does_not_answer_is_a_fault() -> None:
    [fault] = inspect_setup(LabelStudio("http://127.0.0.1:9", "0" * 40), 1, Setup("http://x", "http://x/webhook", HEADER))
    assert (fault.code, "LABELWHEEL_LABEL_STUDIO_URL" in fault.cure) == ("label_studio_unreachable", True)
