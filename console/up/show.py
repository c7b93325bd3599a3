"""What `labelwheel up` shows in the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pydantic import SecretStr
from rich.console import Console

from labelwheel.settings import Settings, load_settings

TERMINAL = Console()
PORTS = {"label_studio_port": "Label Studio", "console_port": "the console", "ml_backend_port": "ml_backend"}


@contextmanager
def progress() -> Iterator[Progress]:
    """Show steps while they are taken, and leave the terminal as it was."""
    shown = Progress()
    try:
        yield shown
    finally:
        shown.waiting.stop()


class Progress:
    """A line for each step, with the seconds that it took."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}
        self.waiting = TERMINAL.status("")

    def __call__(self, name: str, state: str) -> None:
        """Hear that step `name` is "starting", "well" or "failed"."""
        if state == "starting":
            self.since[name] = time.monotonic()
        mark = {"well": "[green]✓[/]", "failed": "[red]✗[/]"}.get(state)
        if mark:
            TERMINAL.print(f"{mark} {name}  [dim]{time.monotonic() - self.since.pop(name):.1f} s[/]")
        self._wait()

    def _wait(self) -> None:
        if not self.since:
            self.waiting.stop()
            return
        self.waiting.update(f"starting {', '.join(self.since)} …")
        self.waiting.start()


def addresses(settings: Settings) -> None:
    """Where everything is and how to log in: an address or a login never breaks over two lines."""
    TERMINAL.print("[bold]Labelwheel runs; `labelwheel down` stops it[/]\n")
    embedded = settings.label_studio_url == f"http://127.0.0.1:{settings.label_studio_port}"  # else the login is not ours to know
    login = (settings.label_studio_username, _password(settings, settings.label_studio_password)) if embedded else None
    _place("Console", settings.console_url, (settings.console_user, _password(settings, settings.console_password)))
    _place("Label Studio", settings.label_studio_public_url, login)
    _place("ml_backend", settings.ml_backend_url, None)
    for line in moved(load_settings(settings.home, live=False), settings):
        TERMINAL.print(f"[yellow]•[/] {line}", highlight=False)


def _place(name: str, address: str, login: tuple[str, str] | None) -> None:
    TERMINAL.print(f"  {name:<14}{address}", highlight=False, markup=False, soft_wrap=True)
    if login:
        TERMINAL.print(f"  {'':<14}user {login[0]}   password {login[1]}", highlight=False, markup=False, soft_wrap=True)


def stopping() -> None:
    """Said on Ctrl-C, SIGTERM or `labelwheel down`: ending takes some seconds."""
    with suppress(OSError):  # the terminal may be gone, and that is why
        TERMINAL.print("Stopping …")


def moved(configured: Settings, live: Settings) -> list[str]:
    """Say which programs have another port than the one wanted."""
    names = [name for name in PORTS if getattr(configured, name) != getattr(live, name)]
    return [f"Port {getattr(configured, name)} was taken: {PORTS[name]} has {getattr(live, name)}." for name in names]


def _password(settings: Settings, password: SecretStr) -> str:
    # standard output may be a file, and a file is a log
    return password.get_secret_value() if TERMINAL.is_terminal else f"in {settings.secrets_file.name}"
