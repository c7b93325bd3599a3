"""Times of the day in which something rests, such as `22:00-06:00 12:00-13:00`. Pure."""

from __future__ import annotations

import re
from datetime import time

SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def read_hours(text: str) -> list[tuple[time, time]]:
    """Spans, each from its first minute to before its last; one that ends earlier than it begins lasts over midnight. ValueError."""
    found = []
    for word in text.split():
        match = SPAN.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is no span of hours such as 22:00-06:00")
        hours = [int(part) for part in match.groups()]
        begin, end = time(hours[0], hours[1]), time(hours[2], hours[3])
        if begin == end:
            raise ValueError(f"{word!r} begins when it ends")
        found.append((begin, end))
    return found


def open_at(text: str, moment: time) -> bool:
    """Whether no span covers this time of the day."""
    return not any(_covers(span, moment) for span in read_hours(text))


def until(text: str, moment: time) -> time:
    """When the rest that covers this time of the day ends, through spans that follow each other; `moment` itself when none covers it."""
    spans, end = read_hours(text), moment
    for _ in spans:
        end = next((span[1] for span in spans if _covers(span, end)), end)
    return end


def _covers(span: tuple[time, time], moment: time) -> bool:
    begin, end = span
    return begin <= moment < end if begin < end else moment >= begin or moment < end
