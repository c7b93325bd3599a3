"""How our own Label Studio is started: on loopback, silent, closed to strangers, allowed to call our local servers.

Both values are for the supervisor, which merges the environment into the child's; it holds a password, so keep the
rendered file private.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from labelwheel.settings import Settings

QUIET = {
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "FEATURE_FLAGS_OFFLINE": "true",
    "SENTRY_DSN": "",
    "SENTRY_RATE": "0",
    "FRONTEND_SENTRY_DSN": "",
    "FRONTEND_SENTRY_RATE": "0",
}
# The only name by which Label Studio lets its SQLite keep a write-ahead log: an annotation then costs a quarter less, and readers do not wait.
QUICK = {"AZURE_MOUNT_FIX": "true"}
CLOSED = {
    "DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "false",
}
# Both guards together: with only the first off, an ML backend is refused after it was saved.
LOCAL_CALLS = {
    "ML_BLOCK_LOCAL_IP": "false",
    "SSRF_PROTECTION_ENABLED": "false",
}
# In seconds. It calls these inside the annotator's request, one after the other, while training may hold the cores.
PATIENCE = {
    "ML_CONNECTION_TIMEOUT": "3",
    "ML_TIMEOUT_HEALTH": "3",
    "ML_TIMEOUT_SETUP": "5",
    "ML_TIMEOUT_PREDICT": "100",
    "WEBHOOK_TIMEOUT": "3",
}

PREPARED = Path("share/labelwheel/label_studio.sqlite3")  # in Label Studio's own environment, made by `make label-studio`


def environment(settings: Settings, port: int | None = None) -> dict[str, str]:
    """What Label Studio must find in its environment, beyond the supervisor's own.

    `port` (the one really taken) matters where no public address is set. The user is created at the first start only;
    a password that changes later must be set with `label-studio reset_password`.
    """
    return {
        **QUIET,
        **QUICK,
        **CLOSED,
        **LOCAL_CALLS,
        **PATIENCE,
        **_addresses(settings, port or settings.label_studio_port),
        "LABEL_STUDIO_BASE_DATA_DIR": str(settings.home / "label-studio"),
        "LABEL_STUDIO_USERNAME": settings.label_studio_username,
        "LABEL_STUDIO_PASSWORD": settings.label_studio_password.get_secret_value(),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(settings.media_dir),
    }


def command(settings: Settings, port: int) -> list[str]:
    """The argv that serves on 127.0.0.1:`port`. Label Studio silently moves on when that is taken: choose a free one."""
    return [
        _program(settings.label_studio_command),
        "start",
        "--no-browser",
        *("--internal-host", "127.0.0.1"),
        *("--port", str(port)),
        *("--log-level", settings.log_level),
    ]


def ensure_database(settings: Settings) -> None:
    """Begin with the empty, migrated database that the installation prepared: migrating takes a minute. Else Label Studio makes its own."""
    program = shutil.which(settings.label_studio_command)
    prepared = Path(program).absolute().parents[1] / PREPARED if program else PREPARED
    wanted = settings.home / "label-studio" / PREPARED.name
    if wanted.exists() or not prepared.is_file():
        return
    wanted.parent.mkdir(parents=True, exist_ok=True)
    draft = wanted.with_name(f".{wanted.name}.{os.getpid()}")
    shutil.copyfile(prepared, draft)
    draft.replace(wanted)


def _program(name: str) -> str:
    # The supervisor may start it from another folder; a bare name is left to the search path.
    return str(Path(name).absolute()) if "/" in name else name


def _addresses(settings: Settings, port: int) -> dict[str, str]:
    public = settings.label_studio_public_url or f"http://127.0.0.1:{port}"
    # Behind TLS, Django compares a form's origin with this list instead of the address it was reached by.
    trusted = {"CSRF_TRUSTED_ORIGINS": public} if public.startswith("https://") else {}
    return {"LABEL_STUDIO_HOST": public, **trusted}
