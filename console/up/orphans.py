"""Processes that carry our mark in their environment though no supervisord answers for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import structlog

log = structlog.get_logger(__name__)
PATIENCE_SECONDS = 10
SUPERVISORD = "supervisord"


def find(home: Path) -> list[psutil.Process]:
    """Every process started by an `up` of this home, supervisord first; never ourselves or those who started us."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    marked = [(mark, process) for process in psutil.process_iter() if process.pid not in spared and (mark := _mark(process, home))]
    return [process for mark, process in sorted(marked, key=lambda pair: pair[0] != SUPERVISORD)]


def end(home: Path) -> int:
    """End them and what they start meanwhile: supervisord at once, so that it restarts none, the others gently. Gives their number."""
    ended = 0
    for _ in range(3):
        found = find(home)
        if not found:
            break
        ended += len(found)
        log.warning("ending processes of an earlier run", pids=[process.pid for process in found])
        _end(found, home)
    return ended


def _end(processes: list[psutil.Process], home: Path) -> None:
    servers = [process for process in processes if _mark(process, home) == SUPERVISORD]
    others = [process for process in processes if process not in servers]
    for process in servers:
        _quietly(process.kill)
    for process in others:
        _quietly(process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)
    for process in alive:
        _quietly(process.kill)
    psutil.wait_procs(alive, timeout=PATIENCE_SECONDS)


def _mark(process: psutil.Process, home: Path) -> str:
    try:
        environment = process.environ()
    except (psutil.Error, OSError):  # another user's, or gone
        return ""
    return environment.get("LABELWHEEL_PROGRAM", "") if environment.get("LABELWHEEL_HOME") == str(home) else ""


def _quietly(act: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        act()
