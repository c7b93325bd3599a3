"""The programs that `up`, systemd or a container starts: two web servers, the workers, the scheduler."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from flask import Flask

from labelwheel.database import get_database
from labelwheel.log import configure_logging
from labelwheel.memory import share_arenas
from labelwheel.settings import Settings

PRELOAD = {
    "fast": (
        "sync.selection.select",
        "sync.exchange.push",
        "sync.exchange.pull",
        "sync.exchange.refresh",
        "label_studio_sdk.base_client",
        "retrain.jobs",
        "drift.jobs",
        "evidently",
    )
}
CONSOLE_THREADS = 8  # streams of progress hold three at most
WORKER_TTL = 30  # seconds; the default blocks a worker for minutes before it looks after jobs of a dead one


def serve_ml_backend(settings: Settings) -> None:
    """Label Studio's and the cameras' door, until SIGTERM."""

    def build() -> Flask:
        from ml_backend.app import create_app

        return create_app(settings)

    _serve(settings, "ml-backend", build, settings.ml_backend_port, settings.ml_backend_threads)


def serve_console(settings: Settings) -> None:
    """The pages and the REST API, until SIGTERM."""

    def build() -> Flask:
        from console.web import create_app

        return create_app(settings)

    _serve(settings, "console", build, settings.console_port, CONSOLE_THREADS)


def run_worker(settings: Settings, queue_name: str) -> None:
    """Work one queue, until SIGTERM; a job under way is finished first."""
    from rq.serializers import JSONSerializer

    from console.worker import LastingWorker, work_on
    from labelwheel.queue import get_queue

    configure_logging(settings, f"worker-{queue_name}")
    if queue_name == "training":
        os.nice(settings.train_nice)  # webhooks and Label Studio's one-second health check come first
    _preload(settings, queue_name)
    bell = get_queue(queue_name)
    options = {"connection": bell.connection, "serializer": JSONSerializer, "worker_ttl": WORKER_TTL, "maintenance_interval": 15}
    work_on(lambda: LastingWorker([bell], **options))


def _preload(settings: Settings, queue_name: str) -> None:
    """Import what every job needs before RQ forks, and compile what the pull asks: a forked job then starts in milliseconds instead of a second."""
    for name in PRELOAD.get(queue_name, ()):
        import_module(name)
    if queue_name == "fast":
        from sync.exchange.rehearse import rehearse

        rehearse(get_database(settings.database_url))


def run_scheduler(settings: Settings) -> None:
    """Fire ticks until SIGTERM."""
    from labelwheel import schedule

    configure_logging(settings, "scheduler")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    schedule.run(get_database(settings.database_url), settings, stopping.is_set, stopping.wait)


def _serve(settings: Settings, name: str, build: Callable[[], Flask], port: int, threads: int) -> None:
    """Serve what `build` makes. It is built after gunicorn's fork: native libraries keep threads that no fork carries over."""
    from gunicorn.app.base import BaseApplication

    from console.listen import Worker

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            options: dict[str, Any] = {
                "bind": f"{settings.bind}:{port}",
                "worker_class": Worker,
                "threads": threads,
                "workers": 1,
                "timeout": 120,
                "graceful_timeout": 8,
                "control_socket_disable": True,
            }
            for key, value in options.items():
                if key in self.cfg.settings:
                    self.cfg.set(key, value)

        def load(self) -> Flask:
            configure_logging(settings, name)
            share_arenas()
            return build()

    configure_logging(settings, name)
    Server().run()
