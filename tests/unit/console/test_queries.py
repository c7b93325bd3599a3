"""What the API accepts is what the tables know."""

from __future__ import annotations

from typing import get_args, get_type_hints

from console.api.labeling_queue import QueueQuery
from labelwheel.database.tables import QUEUE_STATUSES, REASONS


def test_queue_filters_are_the_words_of_the_tables() -> None:
    hints = get_type_hints(QueueQuery)
    words = {name: get_args(get_args(hints[name])[0]) for name in ("status", "reason")}
    assert words == {"status": QUEUE_STATUSES, "reason": REASONS}
