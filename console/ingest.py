"""Send a folder of images through the camera's door: `labelwheel ingest DIR`."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
import stamina

from labelwheel.errors import InputError
from labelwheel.settings import Settings

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
THREADS = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file; `error` is empty when it was taken."""

    path: Path
    fresh: bool
    error: str = ""


def image_files(folder: Path) -> list[Path]:
    """Images below a folder, in name order; InputError when there are none."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", "Name a folder that holds images.")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise InputError(f"There are no images below {folder}.", f"Known kinds: {', '.join(sorted(SUFFIXES))}.")
    return files


def source_of(path: Path, folder: Path, source: str | None) -> str:
    """The given source, else the sub-folder that the file lies in, else the folder's own name."""
    parts = path.relative_to(folder).parts
    return source or (parts[0] if len(parts) > 1 else folder.resolve().name)


def ingest(settings: Settings, folder: Path, source: str | None) -> Iterator[Outcome]:
    """Send every image; the external id is its path below the folder, so that running it again changes nothing."""
    files = image_files(folder)
    token = settings.api_token.get_secret_value()
    with requests.Session() as session, ThreadPoolExecutor(THREADS) as pool:
        session.headers["Authorization"] = f"Bearer {token}"
        yield from pool.map(lambda path: _send(session, settings, folder, path, source), files)


def _send(session: requests.Session, settings: Settings, folder: Path, path: Path, source: str | None) -> Outcome:
    fields = {
        "source": source_of(path, folder, source),
        "external_id": str(path.relative_to(folder)),
        "captured_at": datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(),
    }
    try:
        answer = _post(session, f"{settings.ml_backend_url}/inspect", fields, path)
    except requests.RequestException as error:
        return Outcome(path, False, f"ml_backend does not answer ({type(error).__name__}): is `labelwheel up` running?")
    if answer.ok:
        return Outcome(path, answer.status_code == 201)
    return Outcome(path, False, _message(answer))


@stamina.retry(on=requests.ConnectionError, attempts=4, timeout=30)
def _post(session: requests.Session, url: str, fields: dict[str, str], path: Path) -> requests.Response:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return session.post(url, data=fields, files={"image": (path.name, path.read_bytes(), kind)}, timeout=60)


def _message(answer: requests.Response) -> str:
    try:
        error: dict[str, Any] = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
    return f"{error['message']} {error['cure']}".strip()
