"""Ports: the wanted ones where they are free, last run's where it still fits, else the next free."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from labelwheel.errors import SettingsError
from labelwheel.private import write_private_text
from labelwheel.settings import EMBEDDED, PREFIX, Settings

SPAN = 100
Ports = Mapping[str, int]


def wanted_ports(configured: Settings) -> dict[str, int]:
    """What the user configured (or the defaults), by name of the setting."""
    names = ["ml_backend_port", "console_port", *([] if configured.label_studio_url else ["label_studio_port"])]
    return {name: getattr(configured, name) for name in names}


def choose_ports(wanted: Ports, last: Ports, is_free: Callable[[int], bool]) -> dict[str, int]:
    """One port per name: last run's, else the wanted one, else the next free above it; never the same twice."""
    chosen: dict[str, int] = {}
    for name, port in wanted.items():
        free = (candidate for candidate in _candidates(port, last.get(name)) if candidate not in chosen.values() and is_free(candidate))
        chosen[name] = next(free, 0) or _give_up(name, port)
    return chosen


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free for a server
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def addresses(configured: Settings, ports: Ports) -> dict[str, str | int]:
    """The settings that follow from the ports taken: the ports, and those URLs that the user left to us."""
    taken: dict[str, str | int] = dict(ports)
    for name, port in ports.items():
        room, there = name.removesuffix("_port"), _loopback(port)
        default = "" if room == "label_studio" else _loopback(getattr(configured, name))
        for url in (f"{room}_url", f"{room}_public_url"):
            if getattr(configured, url, None) == default:
                taken[url] = there
    if configured.label_studio_name == EMBEDDED:
        taken["label_studio_name"] = EMBEDDED
    return taken


def recall(path: Path, wanted: Ports) -> dict[str, int]:
    """Last run's ports, as far as the same ones are wanted now."""
    if not path.exists():
        return {}
    last: dict[str, dict[str, int]] = json.loads(path.read_text())
    return {name: ports["chosen"] for name, ports in last.items() if wanted.get(name) == ports["wanted"]}


def remember(path: Path, wanted: Ports, chosen: Ports) -> None:
    """Note which port stood in for which."""
    write_private_text(path, json.dumps({name: {"wanted": wanted[name], "chosen": chosen[name]} for name in wanted}))


def _candidates(wanted: int, last: int | None) -> Iterator[int]:
    if last:
        yield last
    yield from range(wanted, min(wanted + SPAN, 65536))


def _loopback(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _give_up(name: str, port: int) -> int:
    setting = PREFIX + name.upper()
    raise SettingsError(f"No port from {port} to {min(port + SPAN, 65536) - 1} is free.", f"Set {setting} to a free port.")
