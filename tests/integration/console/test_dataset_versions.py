"""`labelwheel dataset list|show|restore`: versions are found by how their hash begins, and come back when only the remote is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from console.cli import app
from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, Dataset, Project, TrainingRun
from labelwheel.errors import InputError, LabelwheelError, NotFoundError
from labelwheel.settings import Settings, get_settings
from labelwheel.storage import ImageStore
from retrain.dataset import content
from retrain.dataset.add import add
from tests.integration.retrain.conftest import database, label, project, settings

__all__ = ["database", "label", "project", "settings"]  # fixtures


def say(*words: str) -> Any:
    done = CliRunner().invoke(app, ["dataset", *words, "--json"])
    if isinstance(done.exception, LabelwheelError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def make(database: Database, settings: Settings, project: Project) -> Dataset:
    with database.write() as session:
        classes = session.scalars(select(ClassMap)).one()
        plan = content.plan(session, project.id, classes, replay=None, seed=1)
        dvc_hash = add(plan, ImageStore(settings.images_dir), settings.home / "datasets", settings.dvc_remote)
        made = content.remember(session, project.id, classes, plan, "datasets/x", dvc_hash)
        session.add(TrainingRun(project_id=project.id, cause="manual", status="kept_champion", dataset_id=made.id))
    return made


def test_versions_are_listed_shown_and_brought_back(
    database: Database, settings: Settings, project: Project, label: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELWHEEL_DVC_REMOTE", str(tmp_path / "remote"))
    get_settings.cache_clear()
    assert say("list") == []
    label(0, 3, "train")
    label(3, 2, "holdout")
    label(5, 1, "quarantined")
    first = make(database, get_settings(), project)
    label(6, 2, "train")
    second = make(database, get_settings(), project)
    newest, oldest = say("list")
    assert (newest["train"], newest["holdout"], newest["quarantined"], newest["runs"]) == (5, 2, 1, "2")
    assert newest["holdout version"] == oldest["holdout version"] == (first.holdout or "")[:12], "the same holdout: scores compare"
    told = say("show", first.content_hash[:6])
    assert (told["version"], told["runs"], told["counts"]["quarantined"]) == (first.content_hash, [1], 1)
    assert set(told["counts"]["sources_by_split"]) == {"line-0", "line-1", "line-2"}
    shutil.rmtree(settings.home / "datasets")  # only the remote is left
    done = say("restore", second.content_hash[:6], "--out", str(tmp_path / "back"))
    assert done["files"] == len([path for path in (tmp_path / "back").rglob("*") if path.is_file()]) == 7 * 2 + 2
    assert json.loads((tmp_path / "back/manifest.json").read_text())["content_hash"] == second.content_hash
    with pytest.raises(InputError, match="there already"):
        say("restore", second.content_hash, "--out", str(tmp_path / "back"))
    with pytest.raises(InputError, match="too short"):
        say("show", second.content_hash[:2])
    with pytest.raises(NotFoundError):
        say("show", "abcdefgh")
