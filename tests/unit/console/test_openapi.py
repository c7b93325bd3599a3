"""The description of the REST API holds every request that is served, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import SecretStr

from console.api.openapi import describe
from console.web import create_app
from labelwheel.settings import Settings


def test_every_request_is_described(tmp_path: Path) -> None:
    secrets = {key: SecretStr("for tests") for key in ("console_password", "api_token", "secret_key")}
    rules = create_app(Settings(_env_file=None, home=tmp_path, **secrets)).url_map.iter_rules()  # type: ignore[call-arg,arg-type]
    paths = [(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), rule.methods - {"HEAD", "OPTIONS"}) for rule in rules]
    served = {(path, verb.lower()) for path, verbs in paths for verb in verbs if path.startswith(("/api/", "/health"))}
    assert served == {(path, verb) for path, verbs in describe()["paths"].items() for verb in verbs}
