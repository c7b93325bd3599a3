from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labelwheel.labelstudio import server
from labelwheel.labelstudio.server import command, environment
from labelwheel.settings import Settings


def settings(tmp_path: Path, **changes: Any) -> Settings:
    return Settings(**{"home": tmp_path, "label_studio_password": "pw", "label_studio_url": "", "label_studio_public_url": "", **changes})


def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    argv = command(settings(tmp_path), 8123)
    assert argv[argv.index("--internal-host") + 1] == "127.0.0.1"
    assert argv[argv.index("--port") + 1] == "8123"


def test_the_program_is_found_from_any_folder(tmp_path: Path) -> None:
    assert Path(command(settings(tmp_path, label_studio_command=".venv-ls/bin/label-studio"), 1)[0]).is_absolute()
    assert command(settings(tmp_path, label_studio_command="label-studio"), 1)[0] == "label-studio"


def test_images_lie_below_the_served_root_and_are_not_the_root(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    root = Path(environment(chosen)["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"])
    assert root in chosen.images_dir.parents


def test_the_password_is_in_the_environment_and_not_in_the_command(tmp_path: Path) -> None:
    chosen = settings(tmp_path, label_studio_password="sesame-42")
    assert environment(chosen)["LABEL_STUDIO_PASSWORD"] == "sesame-42"
    assert not any("sesame-42" in word for word in command(chosen, 1))


def test_the_address_is_the_port_really_taken_unless_a_public_one_is_set(tmp_path: Path) -> None:
    assert environment(settings(tmp_path), 8123)["LABEL_STUDIO_HOST"] == "http://127.0.0.1:8123"
    public = environment(settings(tmp_path, label_studio_public_url="https://label.example/"), 8123)
    assert public["LABEL_STUDIO_HOST"] == public["CSRF_TRUSTED_ORIGINS"] == "https://label.example"


@pytest.fixture
def installed(tmp_path: Path) -> Settings:
    """An installation with a prepared database, and a home beside it."""
    program = tmp_path / "environment/bin/label-studio"
    prepared = tmp_path / "environment" / server.PREPARED
    for path in (program, prepared):
        path.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    prepared.write_text("migrated")
    return Settings(home=tmp_path / "var", label_studio_command=str(program))


def test_the_first_start_begins_with_the_prepared_database(installed: Settings) -> None:
    server.ensure_database(installed)
    assert [path.read_text() for path in (installed.home / "label-studio").iterdir()] == ["migrated"]


def test_a_database_in_use_is_never_replaced(installed: Settings) -> None:
    database = installed.home / "label-studio/label_studio.sqlite3"
    database.parent.mkdir(parents=True)
    database.write_text("a year of work")
    server.ensure_database(installed)
    assert database.read_text() == "a year of work"


@pytest.mark.parametrize("command", ["label-studio-that-is-not-there", "./neither/is/this"])
def test_without_a_prepared_one_label_studio_makes_its_own(tmp_path: Path, command: str) -> None:
    server.ensure_database(Settings(home=tmp_path / "var", label_studio_command=command))
    assert not (tmp_path / "var").exists()
