"""What the commands around retraining show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

KINDS = {"cause": "calls for it", "guard": "lets it go"}


def table(reasons: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The policy's conditions as rows."""
    return [{"met": "yes" if reason["met"] else "no", "condition": KINDS[reason["kind"]], "reason": reason["text"]} for reason in reasons]
