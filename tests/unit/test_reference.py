"""The written documents against the code: generated pages are fresh, links lead somewhere, and what is named exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from pydantic import SecretStr

from console.cli import app
from console.reference import pages
from labelwheel.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
GENERATED = {"settings.md", "commands.md"}
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
WRITTEN = [path for path in DOCUMENTS if path.name not in GENERATED]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
COMMAND = re.compile(
    r"(?<![\w./@=-])(?:\.venv/bin/)?labelwheel ((?:(?:serve|model|models|classes|dataset|labels|image|queue) )?[a-z][a-z-]*)"
)
SETTING = re.compile(rf"\b{PREFIX}[A-Z_]+")
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code(path: Path) -> str:
    """All that stands in code spans and code blocks."""
    return "\n".join(CODE.findall(path.read_text()))


def anchors(path: Path) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leaves(command: click.Command, path: str = "") -> Iterator[str]:
    children = getattr(command, "commands", {})
    yield from (leaf for key, child in children.items() for leaf in leaves(child, f"{path} {key}".strip()))
    if not children or command.invoke_without_command:
        yield path


@pytest.mark.parametrize("page", sorted(GENERATED))
def test_generated_pages_are_up_to_date(page: str) -> None:
    assert (ROOT / "docs" / page).read_text() == pages()[page], "run `make docs`"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_relative_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text()):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_every_command_setting_and_target_exists(path: Path) -> None:
    text = code(path)
    assert set(COMMAND.findall(text)) <= set(leaves(typer.main.get_command(app)))
    assert set(SETTING.findall(text)) <= {PREFIX + field.upper() for field in Settings.model_fields}
    assert set(TARGET.findall(text)) <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_no_path_of_somebodys_machine_is_named(path: Path) -> None:
    assert not re.search(r"/(?:home|root|work|Users)/", path.read_text())


def test_the_readme_lists_the_rest_api_as_it_is(tmp_path: Path) -> None:
    from console.web import create_app

    secrets = {key: SecretStr("for tests") for key in ("console_password", "api_token", "secret_key")}
    rules = create_app(Settings(_env_file=None, home=tmp_path, **secrets)).url_map.iter_rules()  # type: ignore[call-arg,arg-type]
    paths = [(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), rule.methods - {"HEAD", "OPTIONS"}) for rule in rules]
    served = {f"{verb} {path}" for path, verbs in paths for verb in verbs}
    listed = set(re.findall(r"^\| `((?:GET|POST) /[^`]*)`", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert listed == {request for request in served if request.split()[1].startswith(("/api/", "/health"))}


def test_decisions_are_one_page_each_and_all_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    written = {path.name for path in folder.glob("*.md")} - {"README.md"}
    assert set(LINK.findall((folder / "README.md").read_text())) == written
    for path in folder.glob("[!R]*.md"):
        text = path.read_text()
        assert len(text.splitlines()) <= 40, path.name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequence"], path.name
