"""Our model under the published label-studio-ml 1.0.9, in an environment of its own, as Label Studio calls it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select

from labelwheel.database.tables import Image
from labelwheel.database.tables import Project as ProjectRow
from labelwheel.labelstudio.client import LabelStudio, Project
from labelwheel.labelstudio.provision import ensure_backend
from tests.fixtures.doors import open_door
from tests.fixtures.label_studio import ROOT, free_port
from tests.fixtures.line import BASIC_PASSWORD, LS_PROJECT, Line

LOGIN = ("label-studio", BASIC_PASSWORD)
PYTHON = ROOT / ".venv-label-studio-ml/bin/python"


@dataclass(frozen=True)
class Hosted:
    """The old server, and ml_backend behind it."""

    url: str
    behind: str

    def ask(self, path: str, body: dict[str, Any], login: tuple[str, str] | None = LOGIN) -> requests.Response:
        return requests.post(self.url + path, json=body, auth=login, timeout=30)

    def both(self, path: str, body: dict[str, Any]) -> tuple[Any, Any]:
        """What it answers, and what ml_backend itself does."""
        return self.ask(path, body).json(), requests.post(self.behind + path, json=body, auth=LOGIN, timeout=30).json()


@pytest.fixture
def hosted(line: Line, tmp_path: Path) -> Iterator[Hosted]:
    if not PYTHON.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("label-studio-ml 1.0.9 is not installed: make hosted")
    port = free_port()
    with open_door(line.app) as door, (tmp_path / "hosted.log").open("wb") as log:
        given = {"LABELWHEEL_ML_BACKEND_URL": door.url, "LABELWHEEL_ML_BACKEND_PASSWORD": BASIC_PASSWORD}
        copy = shutil.copy(ROOT / "ml_backend/hosted.py", tmp_path)  # as a person does: beside it our modules would hide Python's
        argv = [str(PYTHON), str(copy), str(port)]
        process = subprocess.Popen(argv, env={"PATH": os.environ["PATH"], **given}, cwd=tmp_path, stdout=log, stderr=log)
        try:
            found = Hosted(f"http://127.0.0.1:{port}", door.url)
            _await(found.url, process, tmp_path / "hosted.log")
            yield found
        finally:
            process.kill()
            process.wait()


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(f"{url}/health", timeout=2).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def batch(line: Line) -> dict[str, Any]:
    """A request about a good task and a bad one."""
    line.inspect(1)
    with line.database.read() as session:
        uri = session.scalars(select(Image.uri)).one()
    return {
        "tasks": [line.task(1, uri), {"id": 2, "data": {}}],
        "project": f"{LS_PROJECT}.1795455501",
        "label_config": line.project.label_config,
    }


def test_it_answers_what_ml_backend_answers(line: Line, hosted: Hosted) -> None:
    setup = {"project": f"{LS_PROJECT}.1", "schema": line.project.label_config, "hostname": "", "access_token": "", "extra_params": None}
    assert hosted.both("/setup", setup)[0] == {"model_version": None}
    line.deploy(0.9)
    body = batch(line)
    found, ours = hosted.both("/predict", body)  # 1.0.9 alone fails before its first setup, and with one task in a batch
    assert found["results"] == ours["results"] and [len(entry) for entry in found["results"]] == [1, 0]
    assert hosted.both("/setup", setup)[0] == {"model_version": found["results"][0][0]["model_version"]}
    assert hosted.ask("/predict", {**body, "project": "999.1"}).json()["results"] == [[], []]
    assert requests.get(f"{hosted.url}/versions", auth=LOGIN, timeout=30).json() == {"versions": ["labelwheel@1"]}


def test_it_opens_for_label_studio_alone(hosted: Hosted) -> None:
    assert [hosted.ask(path, {}, login).status_code for path in ("/setup", "/predict", "/webhook") for login in (None, ("a", "b"))] == [
        401
    ] * 6
    assert hosted.ask("/webhook", {"action": "ANNOTATION_CREATED"}).json() == {"status": "ignored"}


def test_label_studio_stores_its_predictions_once(line: Line, hosted: Hosted, label_studio: LabelStudio, project: Project) -> None:
    with line.database.write() as session:
        session.get_one(ProjectRow, line.project.id).ls_project_id = project.id
    line.deploy(0.9)
    [task, _] = batch(line)["tasks"]
    ensure_backend(label_studio, project.id, hosted.url, *LOGIN)
    ids = label_studio.import_tasks(project.id, [{"data": task["data"]}])
    for _ in range(2):
        label_studio._act("retrieve_tasks_predictions", project.id, ids)
    [seen] = label_studio.open_tasks(project.id)
    assert [entry["model_version"] for entry in seen["predictions"]] == ["labelwheel@1"]
    assert [region["value"]["rectanglelabels"] for region in seen["predictions"][0]["result"]] == [["open"]]
