"""Settings: where a value comes from, what follows from it, and how secrets are kept."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from labelwheel.credentials import GENERATED, generate_secrets, remember_secrets
from labelwheel.errors import SettingsError
from labelwheel.settings import (
    EMBEDDED,
    PREFIX,
    Settings,
    load_settings,
    unknown_variables,
)
from tests.fixtures.doors import living

TEXT = st.text(st.characters(blacklist_categories=["C", "Zl", "Zp"], blacklist_characters="$"), min_size=1, max_size=30)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_state_lies_in_home_unless_told_otherwise(folder: Path) -> None:
    settings = load_settings()
    home = folder / "var"
    assert settings.home == home
    assert settings.database_url == f"sqlite:///{home}/labelwheel.db"
    assert settings.redis_url.startswith("unix://")
    assert settings.redis_url.endswith("/valkey.sock")
    assert settings.images_dir.is_relative_to(settings.media_dir)
    assert not settings.secrets_file.is_relative_to(settings.media_dir), "Label Studio may read media_dir"


def test_a_value_given_is_never_overruled_by_a_derived_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWHEEL_DATABASE_URL", "postgresql+psycopg://host/name")
    monkeypatch.setenv("LABELWHEEL_ML_BACKEND_URL", "http://inside:9090/")
    monkeypatch.setenv("LABELWHEEL_LABEL_STUDIO_URL", "http://studio:8080/")
    settings = load_settings()
    assert settings.database_url == "postgresql+psycopg://host/name"
    assert settings.ml_backend_url == settings.ml_backend_public_url == "http://inside:9090"
    assert settings.label_studio_name == settings.label_studio_public_url == "http://studio:8080"


def test_environment_beats_dotenv_beats_secrets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "var").mkdir()
    (folder / "var/secrets.env").write_text(
        "LABELWHEEL_API_TOKEN=secrets\nLABELWHEEL_SECRET_KEY=secrets\nLABELWHEEL_WEBHOOK_SECRET=secrets\n"
    )
    (folder / ".env").write_text("LABELWHEEL_API_TOKEN=dotenv\nLABELWHEEL_SECRET_KEY=dotenv\n")
    monkeypatch.setenv("LABELWHEEL_API_TOKEN", "environment")
    settings = load_settings()
    found = [getattr(settings, name).get_secret_value() for name in ("api_token", "secret_key", "webhook_secret")]
    assert found == ["environment", "dotenv", "secrets"]


def test_a_home_has_its_settings_from_whatever_folder_it_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "home").mkdir()
    (folder / "home/settings.env").write_text("LABELWHEEL_FIRST_LABELS=170\nLABELWHEEL_IMAGE_SIZE=192\nLABELWHEEL_FIRST_LABEL=1\n")
    (folder / ".env").write_text("LABELWHEEL_HOME=home\nLABELWHEEL_FIRST_LABELS=50\nLABELWHEEL_REPLAY=0.5\n")
    monkeypatch.setenv("LABELWHEEL_IMAGE_SIZE", "320")
    settings = load_settings()
    assert (settings.first_labels, settings.image_size, settings.replay) == (170, 320, 0.5)
    assert unknown_variables() == {"LABELWHEEL_FIRST_LABEL": "LABELWHEEL_FIRST_LABELS"}


def test_addresses_that_up_took_are_found_by_others_but_are_not_configuration(folder: Path) -> None:
    with living(load_settings(), ml_backend_port=9191):
        assert load_settings().ml_backend_url == "http://127.0.0.1:9191"
        assert load_settings(live=False).ml_backend_port == 9090


def test_addresses_of_an_up_that_was_killed_are_not_believed(folder: Path) -> None:
    with living(load_settings(), label_studio_url="http://127.0.0.1:8081"):
        left = load_settings().addresses_file.read_text()
    load_settings().addresses_file.write_text(left)
    assert load_settings().supervisor_socket.exists(), "nobody was there to remove it"
    assert load_settings().label_studio_url == ""


def test_an_address_that_was_derived_is_not_one_that_was_given(folder: Path) -> None:
    assert not load_settings().ml_backend_given
    (folder / ".env").write_text("LABELWHEEL_ML_BACKEND_URL=http://127.0.0.1:9090\n")
    assert load_settings().ml_backend_given, "the default, if somebody says so"


def test_home_is_found_in_dotenv_too(folder: Path) -> None:
    (folder / ".env").write_text("LABELWHEEL_HOME=elsewhere\n")
    assert load_settings().home == folder / "elsewhere"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LABELWHEEL_ML_BACKEND_PORT", "70000"),
        ("LABELWHEEL_AUDIT_RATE", "often"),
        ("LABELWHEEL_IMAGE_SIZE", "100"),
        ("LABELWHEEL_IMAGE_URLS", "carrier-pigeon"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable) as caught:
        load_settings()
    assert caught.value.cure


def test_a_band_upside_down_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWHEEL_CONFIDENCE_LOW", "0.8")
    with pytest.raises(SettingsError, match="confidence_low is above confidence_high"):
        load_settings()


def test_a_wrong_secret_is_not_repeated_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWHEEL_API_TOKEN", "do-not-tell")
    monkeypatch.setenv("LABELWHEEL_PUSH_CHUNK", "0")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "do-not-tell" not in str(caught.value)


def test_secrets_are_generated_once_and_readable_by_the_owner_alone() -> None:
    first = generate_secrets(load_settings())
    second = generate_secrets(load_settings())
    assert len(set(first.secret_values)) == len(GENERATED)
    assert second.secret_values == first.secret_values
    assert stat.S_IMODE(first.secrets_file.stat().st_mode) == 0o600


def test_a_new_secret_leaves_the_known_ones_alone() -> None:
    settings = generate_secrets(load_settings())
    remember_secrets(settings, {PREFIX + "LABEL_STUDIO_TOKEN": "token"})
    assert set(load_settings().secret_values) == {*settings.secret_values, "token"}
    assert stat.S_IMODE(settings.secrets_file.stat().st_mode) == 0o600
    assert [path.name for path in settings.home.iterdir()] == ["secrets.env"], "a draft stayed behind"


def test_a_secret_that_the_environment_gives_is_not_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWHEEL_API_TOKEN", "given")
    settings = generate_secrets(load_settings())
    assert settings.api_token.get_secret_value() == "given"
    assert "LABELWHEEL_API_TOKEN" not in settings.secrets_file.read_text()


def test_a_password_inside_an_address_is_a_secret_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWHEEL_DATABASE_URL", "postgresql+psycopg://wheel:of-database@host/name")
    monkeypatch.setenv("LABELWHEEL_REDIS_URL", "redis://:of-redis@host:6379/0")
    assert load_settings().secret_values == ["of-database", "of-redis"]


@given(TEXT)
@example("two words # no comment")
@example('it\'s "quoted" and \\ more')
def test_a_secret_that_was_remembered_is_read_back_as_it_was(secret: str) -> None:
    settings = load_settings()
    remember_secrets(settings, {PREFIX + "LABEL_STUDIO_PASSWORD": secret})
    remember_secrets(settings, {PREFIX + "LABEL_STUDIO_TOKEN": "another"})  # rewrites what it found
    assert load_settings().label_studio_password.get_secret_value() == secret


def test_every_setting_is_described() -> None:
    fields = Settings.model_fields
    assert [name for name, field in fields.items() if not field.description] == []


def test_secrets_never_show_in_a_representation() -> None:
    settings = Settings(api_token=SecretStr("do-not-tell"))
    assert "do-not-tell" not in repr(settings) + str(settings) + str(settings.model_dump())


def test_without_an_address_the_server_is_our_own_and_keeps_its_name() -> None:
    assert load_settings().label_studio_name == EMBEDDED
    assert Settings(label_studio_url="http://studio:8080").label_studio_name == "http://studio:8080"


def test_a_misspelt_variable_is_found_with_what_it_resembles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWHEEL_BUGDET_PER_DAY", "3")
    monkeypatch.setenv("LABELWHEEL_BUDGET_PER_DAY", "3")
    (folder / ".env").write_text("LABELWHEEL_COFFEE=1\nOTHER=2\n")
    assert unknown_variables() == {"LABELWHEEL_BUGDET_PER_DAY": "LABELWHEEL_BUDGET_PER_DAY", "LABELWHEEL_COFFEE": ""}
