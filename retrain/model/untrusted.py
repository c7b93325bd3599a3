"""Keep somebody's PyTorch weights at arm's length: what loads them is a child process without our secrets, and with a time limit.

It is a fence, not a prison: the child has the rights of who runs it. That is why a person is asked first.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labelwheel.errors import ModelError
from labelwheel.vision.class_match import Vocabulary
from retrain.model.agreement import Agreement
from retrain.training import launch, words

REQUEST, RESULT, SOURCE, WEIGHTS, LOG = "request.json", "result.json", "source.pt", "model.pt", "unpack.log"
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Request:
    """What the child shall do: match the classes with our labels for the task, and compare torch with ONNX on these image files."""

    vocabularies: dict[str, Vocabulary]
    renames: dict[str, str]
    ignore_others: bool
    samples: list[str]
    threads: int
    nice: int


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What the child found: why it refuses, else task and class names by id, and the ONNX file if these were accepted."""

    refusal: str = ""
    task: str = ""
    names: list[str] = field(default_factory=list)
    onnx: str = ""
    agreement: Agreement | None = None


def unpack(folder: Path, request: Request) -> Unpacked:
    """Load `folder/source.pt` in a child process. Raises ModelError when it cannot be served, or when the child ends badly."""
    write(folder / REQUEST, request)
    with (folder / LOG).open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "retrain.model.unpack", str(folder)],
            cwd=folder,
            env=environment(folder, request.threads),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its own process group, so that a kill reaches all of it
        )
        _await(child)
    result = _read(folder / RESULT)
    if child.returncode or result is None:
        raise ModelError(
            f"The weights could not be loaded: {words.said(folder / LOG)}", "Import the .pt that ultralytics wrote, or an ONNX export."
        )
    if result.refusal:
        raise ModelError(result.refusal, "Bring the weights of such a model.")
    return result


def environment(folder: Path, count: int) -> dict[str, str]:
    """Only what Python and torch need to start: no token, password or key of ours or of anybody else's, and an empty home."""
    return launch.quiet(folder, count, {name: os.environ[name] for name in KEPT if name in os.environ} | {"HOME": str(folder)})


def write(path: Path, value: Request | Unpacked) -> None:
    path.write_text(json.dumps(asdict(value)))


def read_request(path: Path) -> Request:
    data = json.loads(path.read_text())
    ours = {task: Vocabulary(tuple(found["labels"]), found["closed"]) for task, found in data["vocabularies"].items()}
    return Request(**{**data, "vocabularies": ours})


def _await(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"The weights were not loaded within {SECONDS} s.", "Try a smaller model.") from error
    finally:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _read(path: Path) -> Unpacked | None:
    if not path.is_file():
        return None
    data: dict[str, Any] = json.loads(path.read_text())
    agreement = Agreement(**data["agreement"]) if data["agreement"] else None
    return Unpacked(**{**data, "agreement": agreement})
