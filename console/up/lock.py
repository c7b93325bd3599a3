"""One `up` per home: a lock that the kernel frees when its holder dies, and the holder's process id beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dotenv import dotenv_values
from filelock import FileLock, Timeout

from labelwheel.errors import AlreadyRunning
from labelwheel.private import write_private_text
from labelwheel.settings import PREFIX, Settings


@contextmanager
def hold(settings: Settings, timeout: float = 0) -> Iterator[None]:
    """Hold the lock, or raise AlreadyRunning after `timeout` seconds."""
    lock, pid_file = _lock(settings), _pid_file(settings)
    try:
        lock.acquire(timeout=timeout)
    except Timeout as error:
        raise _already_running(settings) from error
    try:
        write_private_text(pid_file, str(os.getpid()))
        yield
    finally:
        pid_file.unlink(missing_ok=True)
        lock.release()


def holder(settings: Settings) -> int:
    """Process id of the `up` that runs; 0 when none does."""
    lock = _lock(settings)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _pid(settings)
    lock.release()
    return 0


def console(settings: Settings) -> str:
    """Where the console of the `up` that runs is, in words; "" when it has none yet."""
    address = dotenv_values(settings.addresses_file).get(PREFIX + "CONSOLE_URL")
    return f", console {address}" if address else ""


def _lock(settings: Settings) -> FileLock:
    return FileLock(settings.run_dir / "up.lock", mode=0o600)


def _pid_file(settings: Settings) -> Path:
    return settings.run_dir / "up.pid"


def _pid(settings: Settings) -> int:
    path = _pid_file(settings)
    return int(path.read_text()) if path.exists() else 0


def _already_running(settings: Settings) -> AlreadyRunning:
    told = f"Labelwheel runs already: process {_pid(settings)}{console(settings)}."
    return AlreadyRunning(told, "Use it, or end it with `labelwheel down`.")
