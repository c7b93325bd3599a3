"""Labelwheel under a label-studio-ml server, the published 1.0.9 or 2.x: it asks ml_backend, and decides nothing by itself.

This one file is copied to where that server runs. It imports nothing of ours: 1.0.9 pins releases that Labelwheel cannot live with.
Where ml_backend is, and Label Studio's login there, stand in the environment: LABELWHEEL_ML_BACKEND_URL, LABELWHEEL_ML_BACKEND_USER
and LABELWHEEL_ML_BACKEND_PASSWORD. See docs/how-to.md.

    python hosted.py 9091                     serves under 1.0.9, on loopback
    from hosted import LabelwheelModel        the class for the _wsgi.py of a 2.x server
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import sys
from collections.abc import Sequence
from typing import Any
from urllib.request import Request, urlopen

from label_studio_ml.model import LabelStudioMLBase

URL = os.environ.get("LABELWHEEL_ML_BACKEND_URL", "http://127.0.0.1:9090").rstrip("/")
USER = os.environ.get("LABELWHEEL_ML_BACKEND_USER", "label-studio")
PASSWORD = os.environ.get("LABELWHEEL_ML_BACKEND_PASSWORD", "")
SECONDS = 95  # Label Studio waits for 100


class LabelwheelModel(LabelStudioMLBase):  # type: ignore[misc]  # the server's own package, which only its environment has
    """What the server makes for each request: stateless, whatever the server remembers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._project = kwargs.get("project_id") or kwargs.pop("project", None) or ""
        self._config = kwargs.get("label_config")
        super().__init__(*args, **kwargs)

    def setup(self) -> None:
        """2.x asks here which version the answers carry."""
        self.set("model_version", self.version or "")

    @property
    def version(self) -> str | None:
        """The version that predictions carry; None while nothing is deployed."""
        found: str | None = ask("/setup", {"project": self._project, "schema": self._config})["model_version"]
        return found

    def predict(self, tasks: Sequence[dict[str, Any]], context: dict[str, Any] | None = None, **_: Any) -> Any:
        """ml_backend's answers: one for each task, in order."""
        body = {"tasks": list(tasks), "project": self._project, "label_config": self._config, "params": {"context": context}}
        results = ask("/predict", body)["results"]
        try:
            from label_studio_ml.response import ModelResponse
        except ImportError:  # 1.0.9 sends what it gets
            return results
        return ModelResponse(predictions=results)


def ask(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """POST to ml_backend (GET without a body). Raises urllib's errors, which the server shows in its log."""
    headers = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(), "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(URL + path, data, headers), timeout=SECONDS) as answer:  # noqa: S310  our own address, from our own settings
        found: dict[str, Any] = json.load(answer)
    return found


def old_server() -> Any:
    """The Flask app of 1.0.9, without what makes it unfit: one model for all projects, a version that no prediction carries,
    a failure before the first setup, a process for each webhook, no login."""
    from flask import request
    from label_studio_ml import api
    from label_studio_ml.model import LabelStudioMLManager, ModelWrapper

    class Manager(LabelStudioMLManager):  # type: ignore[misc]
        @classmethod
        def fetch(cls, project: str = "", label_config: str | None = None, *_: Any, **__: Any) -> Any:
            model = LabelwheelModel(project=project, label_config=label_config)
            return ModelWrapper(model=model, model_version=model.version)

        @classmethod
        def predict(cls, tasks: list[Any], project: str = "", label_config: str | None = None, *_: Any, **params: Any) -> Any:
            model = LabelwheelModel(project=project, label_config=label_config)
            return model.predict(tasks, params.get("context")), ModelWrapper(model=model, model_version=None)

        @classmethod
        def webhook(cls, event: str, data: dict[str, Any]) -> dict[str, Any]:
            # Everything else is sent to ml_backend itself, with a secret.
            return ask("/webhook", {"action": event, **data}) if event == "START_TRAINING" else {"status": "ignored"}

    def demand_login() -> tuple[dict[str, Any], int] | None:
        given = request.authorization
        login = f"{given.username}:{given.password}" if given else ""
        if request.path in ("/health", "/") or hmac.compare_digest(login.encode(), f"{USER}:{PASSWORD}".encode()):
            return None
        return {"error": {"code": "unauthorized", "message": "Wrong login.", "cure": "Use the one of ml_backend."}}, 401

    api._manager = Manager()
    app = api.init_app(LabelwheelModel)
    app.before_request(demand_login)
    app.add_url_rule("/versions", "labelwheel_versions", lambda: ask("/versions"), methods=["GET"])
    return app


if __name__ == "__main__":
    old_server().run(host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 9091, threaded=True)
