"""Credentials that the first start generates, in `secrets.env` of the home."""

from __future__ import annotations

import os
import secrets

from dotenv import dotenv_values

from labelwheel.private import write_private
from labelwheel.settings import PREFIX, Settings, get_settings, load_settings

GENERATED = {  # bytes of randomness
    "LABEL_STUDIO_PASSWORD": 18,
    "ML_BACKEND_PASSWORD": 24,
    "WEBHOOK_SECRET": 24,
    "CONSOLE_PASSWORD": 12,
    "API_TOKEN": 24,
    "SECRET_KEY": 32,
}


def generate_secrets(settings: Settings) -> Settings:
    """Create what is missing in `secrets.env` (mode 0600) and return settings that hold it."""
    known = dotenv_values(settings.secrets_file) if settings.secrets_file.exists() else {}
    given = {**known, **{key: value for key, value in os.environ.items() if value}}
    missing = {PREFIX + name: secrets.token_urlsafe(size) for name, size in GENERATED.items() if not given.get(PREFIX + name)}
    if missing:
        remember_secrets(settings, missing)
    get_settings.cache_clear()
    return load_settings(settings.home)


def remember_secrets(settings: Settings, values: dict[str, str]) -> None:
    """Merge values into `secrets.env`, atomically and readable by the owner alone."""
    path = settings.secrets_file
    known = dotenv_values(path) if path.exists() else {}
    write_private(path, {**{key: value or "" for key, value in known.items()}, **values})
