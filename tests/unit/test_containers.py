"""The container files against the code: same commands, same order, known settings, nothing open, no secret written down."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml
from dotenv import dotenv_values

from console.cli import app
from console.up import programs
from console.up.health import HttpAnswers
from console.up.programs import Program, Step
from labelwheel.labelstudio import server
from labelwheel.settings import PREFIX, Settings, load_settings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("labelwheel:")}
ONE_SHOTS = {"database": "migrate", "Label Studio project": "connect"}  # tasks of `up`, by the command that does the same
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+\}")
OPTIONAL = re.compile(r"\$\{\w+:-([^}]*)\}")
ONLY_HERE = {"DJANGO_DB", "POSTGRE_HOST", "POSTGRE_PORT", "POSTGRE_NAME", "POSTGRE_USER", "POSTGRE_PASSWORD"}


def filled(value: str, secret: str = "0a1b") -> str:
    """A value as compose passes it on when every required variable is `secret`."""
    return OPTIONAL.sub(r"\1", REQUIRED.sub(secret, str(value)))


def environment(name: str) -> dict[str, str]:
    return {key: filled(value) for key, value in SERVICES[name]["environment"].items()}


def settings(name: str) -> Settings:
    values = {key.removeprefix(PREFIX).lower(): value for key, value in environment(name).items()}
    return Settings(_env_file=None, **values)  # type: ignore[call-arg,arg-type]


def plan(name: str = "console") -> list[Step]:
    return programs.plan(settings(name), settings(name))


def started() -> dict[str, Program]:
    return {step.name: step for step in plan() if isinstance(step, Program)}


def dockerfile(instruction: str) -> list[str]:
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    return re.findall(rf"^{instruction} (.+)$", text, re.MULTILINE)


def commands(command: click.Command) -> Iterator[tuple[str, ...]]:
    for name, child in getattr(command, "commands", {}).items():
        yield (name,)
        yield from ((name, *rest) for rest in commands(child))


def test_the_file_is_valid_by_the_compose_schema() -> None:
    tool = Path(sys.executable).with_name("check-jsonschema")
    found = subprocess.run([tool, "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_every_program_of_up_has_a_container_with_the_same_command() -> None:
    assert json.loads(dockerfile("ENTRYPOINT")[0]) == ["labelwheel"]
    assert set(OURS) == {*started(), *ONE_SHOTS.values()}
    for name, program in started().items():
        assert ["labelwheel", *OURS[name]["command"]] == [Path(program.argv[0]).name, *program.argv[1:]]


def test_one_shots_are_commands_that_exist() -> None:
    known = set(commands(typer.main.get_command(app)))
    for name in ONE_SHOTS.values():
        assert tuple(OURS[name]["command"]) in known
        assert OURS[name]["restart"] == "no"


def test_containers_start_in_the_order_of_up() -> None:
    order = ["valkey", "postgres", "migrate", "label-studio", *(ONE_SHOTS.get(step.name, step.name) for step in plan())]
    for name, service in SERVICES.items():
        assert all(order.index(other) < order.index(name) for other in service.get("depends_on", {})), name
    after_connect = order[order.index("connect") + 1 :]
    assert all(SERVICES[name]["depends_on"] == {"connect": {"condition": "service_completed_successfully"}} for name in after_connect)


def test_health_and_patience_are_those_of_up() -> None:
    for name, program in started().items():
        assert OURS[name].get("stop_grace_period", "10s") == f"{program.stop_seconds}s"
        if isinstance(program.health, HttpAnswers):
            assert program.health.url in " ".join(OURS[name]["healthcheck"]["test"])
    for service in SERVICES.values():
        for other, needed in service.get("depends_on", {}).items():
            assert needed["condition"] == "service_completed_successfully" or "healthcheck" in SERVICES[other]


def test_every_variable_is_a_setting_that_takes_its_value() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    image = {word.partition("=")[0]: word.partition("=")[2] for word in dockerfile("ENV")[0].split()}
    assert {name for name in image if name.startswith(PREFIX)} <= known
    for name in OURS:
        assert set(environment(name)) <= known
        assert settings(name).database_url.startswith("postgresql+psycopg://labelwheel:0a1b@postgres")
    proxies = {"NO_PROXY", "no_proxy"}  # for up's loopback alone
    assert {name: value for name, value in programs.QUIET.items() if name not in proxies}.items() <= image.items()


def test_label_studio_is_started_as_up_starts_it() -> None:
    ours = settings("connect")
    expected = {**server.environment(ours), "LABEL_STUDIO_BASE_DATA_DIR": "/label-studio/data"}
    assert {key: value for key, value in environment("label-studio").items() if key not in ONLY_HERE} == expected
    argv = server.command(ours, 8080)
    bound = ["0.0.0.0" if word == "127.0.0.1" else word for word in argv[1:]]
    assert SERVICES["label-studio"]["command"] == ["label-studio", *bound]


def test_label_studio_reads_the_media_folder_and_nothing_else_of_ours() -> None:
    mounts = [volume for volume in SERVICES["label-studio"]["volumes"] if not str(volume).startswith("label-studio:")]
    media = str(settings("connect").media_dir)
    assert mounts == [{"type": "volume", "source": "state", "target": media, "read_only": True, "volume": {"subpath": "media"}}]
    assert any(media in line for line in dockerfile("RUN"))  # a sub-path must be there when it is mounted


def test_connect_logs_in_with_the_given_password_and_all_others_find_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secrets.env").write_text("LABELWHEEL_LABEL_STUDIO_PASSWORD=generated\nLABELWHEEL_LABEL_STUDIO_TOKEN=fetched\n")
    monkeypatch.chdir(tmp_path)
    for name, value in environment("worker-fast").items():
        monkeypatch.setenv(name, value)
    found = load_settings(tmp_path)
    assert found.label_studio_password.get_secret_value() == "0a1b"
    assert found.label_studio_token.get_secret_value() == "fetched"


def test_nothing_is_published_beyond_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"label-studio", "ml-backend", "console"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert yaml.safe_load(COMPOSE)["networks"]["inside"] == {"internal": True}
    assert all(service["networks"] == ["inside"] for name, service in SERVICES.items() if name not in published)
    assert not any("network_mode" in service or service.get("privileged") for service in SERVICES.values())


def test_no_secret_is_written_down() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            without = filled(value, secret="")
            assert not (re.search(r"PASSWORD|SECRET|(?<!_API)_TOKEN", key) and without), f"{name}: {key}"
            assert not re.search(r"://[^/@]*:[^/@]+@", without), f"{name}: {key}"
    *flag, password = SERVICES["valkey"]["command"][-2:]
    assert (flag, filled(password, secret="")) == (["--requirepass"], "")


def test_the_example_names_every_required_variable_and_gives_none() -> None:
    example = dotenv_values(ROOT / ".env.example")
    assert set(example) == set(REQUIRED.findall(COMPOSE))
    assert not any(example.values())


def test_the_image_runs_as_nobody_special_and_names_no_registry() -> None:
    assert dockerfile("USER") == ["labelwheel"]
    assert dockerfile("FROM") == ["python:3.11-slim"]
    assert "://" not in DOCKERFILE
    assert 'pip install -c constraints.txt ".[buckets]"' in DOCKERFILE


def test_the_builder_gets_our_packages_and_no_state() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    packages = {f"!{name.removesuffix('*')}/" for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    files = {line for line in lines[1:] if line.startswith("!") and not line.endswith("/")}
    assert lines[0] == "*"
    assert packages == {line for line in lines if line.startswith("!")} - files
    assert files == {"!constraints.txt", "!label_config.xml", "!LICENSE", "!pyproject.toml", "!README.md"}
    assert {service["image"] for service in OURS.values()} == {f"labelwheel:{project['project']['version']}"}
