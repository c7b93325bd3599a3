"""Uploads and local files of a real Label Studio, fetched with our token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from labelwheel.database import Database
from labelwheel.errors import FetchError, LabelwheelError, NotFoundError
from labelwheel.labelstudio import LabelStudio, Project
from labelwheel.labelstudio.provision import ensure_storage
from labelwheel.resolver.resolve import Resolver
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from tests.fixtures.database import add_project
from tests.fixtures.label_studio import Server
from tests.fixtures.line import picture


@pytest.fixture
def resolver(tmp_path: Path, label_studio_server: Server, label_studio_token: str, sqlite_database: Database) -> Iterator[Resolver]:
    """A resolver that shares no disk with Label Studio."""
    settings = Settings(
        home=tmp_path, label_studio_url=label_studio_server.url, label_studio_token=SecretStr(label_studio_token), image_urls="signed",
        image_recheck_seconds=0.0,
    )  # fmt: skip
    made = Resolver(settings, sqlite_database, ImageStore(settings.images_dir))
    yield made
    made.close()


def test_an_upload_is_fetched_and_again_only_when_needed(
    resolver: Resolver, sqlite_database: Database, label_studio: LabelStudio, project: Project
) -> None:
    ours = add_project(sqlite_database)
    headers = {"Authorization": label_studio.connection.authorization()}
    answer = httpx.post(
        f"{label_studio.url}/api/projects/{project.id}/import?commit_to_project=false",
        files={"file": ("a.png", picture(1), "image/png")},
        headers=headers,
    )
    uploads = httpx.get(f"{label_studio.url}/api/projects/{project.id}/file-uploads", headers=headers, params={"all": "true"}).json()
    address = f"/data/{uploads[0]['file']}"
    assert answer.is_success
    assert httpx.get(label_studio.url + address).status_code == 401, "Label Studio keeps uploads from strangers"
    first = resolver.find(address, ours.id)
    assert first.image.size == len(picture(1))
    assert resolver.find(label_studio.url + address, ours.id).image.id == first.image.id
    with pytest.raises((FetchError, NotFoundError)):
        resolver.find(f"/data/upload/{project.id}/gone.png", ours.id)


def test_a_local_file_is_fetched_through_label_studio(
    resolver: Resolver, sqlite_database: Database, label_studio: LabelStudio, label_studio_server: Server, project: Project
) -> None:
    ours = add_project(sqlite_database)
    folder = label_studio_server.settings.media_dir / f"line-{project.id}"
    folder.mkdir(parents=True)
    (folder / "a 1.png").write_bytes(picture(2))
    address = f"/data/local-files/?d=line-{project.id}/a%201.png"
    with pytest.raises(LabelwheelError):
        resolver.find(address, ours.id)  # no storage of the project covers it yet
    ensure_storage(label_studio, project.id, folder)
    assert resolver.find(address, ours.id).image.size == len(picture(2))
