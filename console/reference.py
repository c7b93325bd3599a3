"""Generate the reference pages: settings and commands. A test fails when they are not up to date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from console.cli import app
from console.settings_table import markdown


def pages() -> dict[str, str]:
    """File name and content of each generated page."""
    return {"settings.md": markdown(), "commands.md": commands()}


def commands() -> str:
    """Every command with its help, as Markdown."""
    root = typer.main.get_command(app)
    lines = ["# Commands", "", "This page is generated: `make docs`.", ""]
    for path, command in _walk("labelwheel", root):
        lines += [f"## `{path}`", "", (command.help or "").strip(), ""]
        lines += [f"- {_signature(parameter)}" for parameter in command.params if parameter.name != "help"]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    target = Path(sys.argv[1])
    for name, text in pages().items():
        (target / name).write_text(text)


def _walk(path: str, command: Any) -> list[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    alone = [(path, command)] if not children or command.invoke_without_command else []
    return alone + [found for name, child in children.items() for found in _walk(f"{path} {name}", child)]


def _signature(parameter: Any) -> str:
    names = " / ".join(parameter.opts) if parameter.param_type_name == "option" else (parameter.metavar or parameter.name or "").upper()
    return f"`{names}` {getattr(parameter, 'help', None) or ''}".rstrip()


if __name__ == "__main__":
    main()
