"""The table of settings: for `labelwheel settings` and for `docs/settings.md`, which is generated from it."""

from __future__ import annotations

from pydantic import SecretStr

from labelwheel.settings import PREFIX, Settings


def rows(settings: Settings) -> list[dict[str, str]]:
    """One row for each setting: name, value (secrets hidden), meaning."""
    return [
        {"setting": PREFIX + name.upper(), "value": _shown(getattr(settings, name), settings), "meaning": field.description or ""}
        for name, field in Settings.model_fields.items()
    ]


def markdown() -> str:
    """The documented table, with defaults."""
    lines = [
        "# Settings",
        "",
        "Environment variables, or lines in `settings.env` of the home (`var/`), or in `.env` of the folder: the first that names one counts.",
        "Secrets are generated on the first start into `var/secrets.env` (mode 0600).",
        "This page is generated: `make docs`.",
        "",
        "| setting | default | meaning |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| `{PREFIX}{name.upper()}` | {_default(field.default)} | {field.description} |" for name, field in Settings.model_fields.items()
    ]
    return "\n".join(lines) + "\n"


def _shown(value: object, settings: Settings) -> str:
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "not set"
    text = str(value)
    for secret in settings.secret_values:  # addresses of databases carry passwords
        text = text.replace(secret, "•••")
    return text


def _default(value: object) -> str:
    return "" if isinstance(value, SecretStr) or value in ("", None) else f"`{value}`"
