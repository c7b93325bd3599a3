"""The workers of a simulation, and the doing of a step: at once where it was done before, else by the next free worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

from console.simulate.step import Outcome, Step, folder_of, read_outcome, write_step
from labelwheel.errors import TrainingError
from retrain.training.launch import environment

LAST_WORDS = 600  # characters of a worker's log that an error quotes


class Worker:
    """A process that works one step after the other, on one thread: of two busy cores, two trainings make better use than one.

    It is started when it is first asked, for it takes seconds; and again when it has died.
    """

    def __init__(self, root: Path, number: int) -> None:
        self._root, self._home = root, root / "workers" / str(number)
        self._process: subprocess.Popen[str] | None = None

    def work(self, folder: Path) -> None:
        """Work the step in a folder. Raises TrainingError."""
        process = self._started()
        answer = ""
        with suppress(OSError, ValueError):  # it died before it was asked
            self._ask(process, folder)
            answer = process.stdout.readline() if process.stdout else ""
        if not answer:
            self.close()
            raise TrainingError(f"A worker ended: {self._last_words()}", f"Read {self._home / 'log'}, then run the command again.")
        if error := json.loads(answer).get("error"):
            raise TrainingError(f"A training failed: {error}", f"Read {self._home / 'log'}.")

    def close(self) -> None:
        """Kill the process and its children, if there is one."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _started(self) -> subprocess.Popen[str]:
        self._home.mkdir(parents=True, exist_ok=True)
        if self._process is None:
            with (self._home / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "console.simulate.work", str(self._root)],
                    cwd=self._home,
                    env=environment(self._home, 1),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,  # its own process group, so that a kill reaches all of it
                )
        return self._process

    @staticmethod
    def _ask(process: subprocess.Popen[str], folder: Path) -> None:
        if process.stdin:
            process.stdin.write(f"{folder}\n")
            process.stdin.flush()

    def _last_words(self) -> str:
        return (self._home / "log").read_text(errors="replace")[-LAST_WORDS:].strip()


class Crew:
    """Workers that many threads may ask at once; closed with its `with`. All files lie below `root`."""

    def __init__(self, root: Path, jobs: int) -> None:
        self.root = root.resolve()
        self._workers = [Worker(self.root, number) for number in range(jobs)]
        self._free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def done(self, step: Step) -> Outcome | None:
        """The outcome of a step that was done before."""
        return read_outcome(folder_of(self.root, step.key))

    def do(self, step: Step) -> Outcome:
        """The outcome of a step. Raises TrainingError."""
        return self.done(step) or self._work(step)

    def _work(self, step: Step) -> Outcome:
        folder = folder_of(self.root, step.key)
        write_step(folder, step)
        worker = self._free.get()
        try:
            worker.work(folder)
        finally:
            self._free.put(worker)
        outcome = read_outcome(folder)
        if outcome is None:
            raise TrainingError("A worker ended a step without its outcome.", f"Nobody else may write to {folder}.")
        return outcome

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        for worker in self._workers:
            worker.close()
