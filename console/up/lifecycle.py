"""Start, watch, stop: the actions of `labelwheel up`, `down` and `ps`."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from xmlrpc.client import Fault

import psutil
import structlog

from console.up import lock, orphans, ports, show
from console.up.engine import Engine, prepare_folders, tail
from console.up.programs import Plan, Program, ProgramState, StartError, Step, demand_startable, plan
from labelwheel.credentials import generate_secrets
from labelwheel.errors import AlreadyRunning, LabelwheelError
from labelwheel.private import write_private
from labelwheel.settings import PREFIX, Settings, get_settings, load_settings

log = structlog.get_logger(__name__)
Progress = Callable[[str, str], None]
Ready = Callable[[Settings], None]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TRIES = 3
WATCH_SECONDS = 1.0
MISSES = 3
PAUSE_SECONDS = 10
OBEY_SECONDS = 120
ADOPTED = "what runs already"


def start(
    settings: Settings,
    *,
    detach: bool = False,
    on_progress: Progress | None = None,
    on_ready: Ready = show.addresses,
    plan: Plan = plan,
) -> None:
    """Start everything and stay until Ctrl-C, SIGTERM or `stop`; with `detach`, return once all is well and leave it running.

    A supervisord that survived an earlier `up` is adopted; programs whose configuration changed are started anew. `on_progress(name, state)`
    hears "starting", "well" and "failed". Raises AlreadyRunning when another `up` holds this home, or one from another folder left it
    running; StartError when a program does not come up (then nothing is left running but what ran before).
    """
    prepare_folders(settings)
    configured = load_settings(generate_secrets(settings).home, live=False)
    with lock.hold(configured), _signals(_interrupt):
        _demand_same_folder(Engine(configured))
        _run(Engine(configured), plan, nullcontext(on_progress) if on_progress else show.progress(), on_ready, detach)


def _demand_same_folder(engine: Engine) -> None:
    """Relative paths and `.env` count from the folder of an `up`: from another one, all that runs would seem changed, and be started anew."""
    folder = engine.folder() if engine.answers() else None
    if folder and folder != Path.cwd():
        raise AlreadyRunning(
            f"Labelwheel runs already, started in {folder}{lock.console(engine.settings)}.",
            "Use it, or end it with `labelwheel down`; in that folder `labelwheel up` applies changed settings and starts what is missing.",
        )


def stop(settings: Settings) -> None:
    """End what `start` started, from any terminal, whether its `up` still lives or not. Nothing running is no error."""
    if not settings.run_dir.exists():
        return
    holder = lock.holder(settings)
    if holder:
        _end_politely(holder)
    with lock.hold(settings, timeout=10):
        _close(Engine(settings))


def status(settings: Settings) -> list[ProgramState]:
    """Each program in the order of its start; [] when nothing runs."""
    return Engine(settings).states()


def _run(engine: Engine, plan: Plan, telling: AbstractContextManager[Progress], on_ready: Ready, detach: bool) -> None:
    leave_running = engine.answers()  # until all is well: what ran before is not ended for what does not come up now
    try:
        with telling as on_progress:
            live = _bring_up(engine, plan, on_progress)
        on_ready(live)
        leave_running = detach
        if not leave_running:
            _keep_up(engine, plan)
    except KeyboardInterrupt:
        leave_running = False
        show.stopping()
    finally:
        if not leave_running:
            with _signals(signal.SIG_IGN):
                _close(engine)


def _bring_up(engine: Engine, plan: Plan, on_progress: Progress) -> Settings:
    adopted = engine.answers()
    if not adopted:
        orphans.end(engine.settings.home)
    live = _take_addresses(engine.settings, adopted)
    steps = plan(engine.settings, live)
    programs = [step for step in steps if isinstance(step, Program)]
    demand_startable(programs)
    engine.configure(programs)
    if adopted:
        on_progress(ADOPTED, "starting")
        engine.update()
        on_progress(ADOPTED, "well")
    else:
        engine.spawn()
    _take_steps(engine, steps, on_progress)
    return live


def _take_addresses(configured: Settings, adopted: bool) -> Settings:
    wanted, note = ports.wanted_ports(configured), configured.run_dir / "ports.json"
    last = ports.recall(note, wanted)
    ours = set(last.values()) if adopted else set()  # our own programs hold them
    chosen = ports.choose_ports(wanted, last, lambda port: port in ours or ports.is_free(port))
    ports.remember(note, wanted, chosen)
    taken = ports.addresses(configured, chosen)
    write_private(configured.addresses_file, {PREFIX + name.upper(): str(value) for name, value in taken.items()})
    get_settings.cache_clear()
    return load_settings(configured.home).model_copy(update=taken)  # a variable in our own environment would hide what was taken


def _take_steps(engine: Engine, steps: Sequence[Step], on_progress: Progress) -> None:
    unsettled: list[Program] = []
    for step in steps:
        on_progress(step.name, "starting")
        if not isinstance(step, Program):
            with _told(step, on_progress):
                step.run()
            continue
        engine.start(step)
        if step.health:
            _await_health(engine, step, on_progress)
        else:
            unsettled.append(step)
    for program in unsettled:
        _await_health(engine, program, on_progress)


def _await_health(engine: Engine, program: Program, on_progress: Progress) -> None:
    deadline, starts = time.monotonic() + program.start_seconds, set()
    with _told(program, on_progress):
        while missing := _missing(info := engine.state(program), program):
            starts.add(info["start"])
            if len(starts) > TRIES or time.monotonic() > deadline:
                raise _did_not_start(engine.settings, program, missing)
            time.sleep(0.2)


def _missing(info: dict[str, Any], program: Program) -> str:
    """What a program lacks to be well; "" when nothing."""
    state = info["statename"]
    if program.health and state in ("STARTING", "RUNNING"):
        return program.health()
    return "" if state == "RUNNING" else info["spawnerr"] or f"its state is {state}"


def _did_not_start(settings: Settings, program: Program, missing: str) -> StartError:
    path = settings.log_dir / f"{program.name}.log"
    last_lines = tail(path)
    for secret in settings.secret_values:
        last_lines = last_lines.replace(secret, "•••")
    cure = program.cure or f"Read {path}, correct the cause, and run `labelwheel up` again."
    return StartError(f"{program.name} did not start: {missing}.\nThe last lines of {path}:\n{last_lines}\n", cure)


@contextmanager
def _told(step: Step, on_progress: Progress) -> Iterator[None]:
    try:
        yield
    except Exception:
        on_progress(step.name, "failed")
        raise
    on_progress(step.name, "well")


def _keep_up(engine: Engine, plan: Plan) -> NoReturn:
    while True:
        _watch(engine)
        while not _bring_up_again(engine, plan):
            time.sleep(PAUSE_SECONDS)


def _bring_up_again(engine: Engine, plan: Plan) -> bool:
    try:
        _bring_up(engine, plan, _log_progress)
    except (LabelwheelError, Fault) as error:
        log.warning("could not start again", reason=str(error))
        return False
    return True


def _watch(engine: Engine) -> None:
    """Return when supervisord has not answered several times in a row."""
    misses = 0
    while misses < MISSES:
        time.sleep(WATCH_SECONDS)
        misses = 0 if engine.answers() else misses + 1
    log.warning("supervisord is gone; starting again")


def _close(engine: Engine) -> None:
    engine.settings.addresses_file.unlink(missing_ok=True)  # first: a port that is let go is a stranger's
    engine.shutdown()
    get_settings.cache_clear()


def _end_politely(pid: int) -> None:
    try:
        process = psutil.Process(pid)
        process.terminate()
        process.wait(OBEY_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.NoSuchProcess:
        pass


def _log_progress(name: str, state: str) -> None:
    log.info("program", program=name, state=state)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python hands signals to the main thread alone
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
