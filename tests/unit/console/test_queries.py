"""What the API accepts is what the tables know."""

from __future__ import annotations

from typing import get_args, get_type_hints

from console.api.labeling_queue import QueueQuery
from labelwheel.database.tables import REASONS
from sync.queue import SHOWN


def test_queue_filters_are_the_words_of_the_tables() -> None:
    hints = get_type_hints(QueueQuery)
    assert (get_args(hints["status"]), get_args(get_args(hints["reason"])[0])) == (SHOWN, REASONS)
