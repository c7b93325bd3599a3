"""Send images through the camera's door: `labelwheel ingest`. What is known already is asked for first, and not sent again.

No journal is kept: the database knows what arrived, and hashing a file costs less than sending it (docs/decisions/ask-before-sending.md).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from console.door import Answer, Door
from console.fetch import fetch
from console.items import Item
from labelwheel.errors import InputError

THREADS = 4
PORTION = 200
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image: `new`, `known` or `refused`, and then why."""

    item: Item
    state: str
    reason: str = ""


def ingest(door: Door, items: Iterable[Item], max_bytes: int, threads: int = THREADS) -> Iterator[Outcome]:
    """Send every image that is not known; one bad image never ends it. Errors are those of `Door.send`."""
    rest = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        try:
            while portion := list(islice(rest, PORTION)):
                yield from _deliver(door, pool, portion, max_bytes)
        except BaseException:
            door.stopping.set()  # threads that wait for room would keep us here
            pool.shutdown(cancel_futures=True)
            raise


def summary(outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """Counts, also by source, and for each reason of refusal how often and which files first."""
    counts = Counter(outcome.state for outcome in outcomes)
    refused: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.state == "refused":
            refused.setdefault(outcome.reason, []).append(outcome.item.name)
    sources = Counter(outcome.item.source for outcome in outcomes)
    reasons = [{"reason": reason, "count": len(names), "files": names[:EXAMPLES]} for reason, names in refused.items()]
    return {
        **{state: counts[state] for state in ("new", "known", "refused")},
        "sources": dict(sources.most_common()),
        "seconds": round(seconds, 1),
        "per_second": round(len(outcomes) / seconds, 1) if seconds else None,
        "reasons": sorted(reasons, key=lambda entry: -entry["count"]),
    }


def _deliver(door: Door, pool: ThreadPoolExecutor, portion: Sequence[Item], max_bytes: int) -> Iterator[Outcome]:
    digests = list(pool.map(lambda item: _digest(item, max_bytes), portion))
    asked = {item.external_id: digest for item, digest in zip(portion, digests, strict=True) if digest}
    known = door.known(asked) if asked else set()

    def settle(item: Item, digest: str) -> Outcome:
        if item.external_id in known and asked[item.external_id] == digest:
            return Outcome(item, "known")
        return _send(door, item, max_bytes)

    yield from pool.map(settle, portion, digests)


def _digest(item: Item, max_bytes: int) -> str:
    """SHA-256 of a file; empty for what has to be fetched first, or cannot be read."""
    try:
        if item.path is None or item.path.stat().st_size > max_bytes:
            return ""
        with item.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def _send(door: Door, item: Item, max_bytes: int) -> Outcome:
    try:
        data, taken = fetch(item.url, max_bytes) if item.path is None else _read(item.path, max_bytes)
    except InputError as error:
        return Outcome(item, "refused", str(error))
    except (OSError, OverflowError, ValueError) as error:  # the latter two: a time stamp that no calendar has
        return Outcome(item, "refused", f"The file cannot be read ({getattr(error, 'strerror', None) or error}).")
    answer: Answer = door.send(item.source, item.external_id, taken, Path(item.external_id).name, data)
    return Outcome(item, answer.state, answer.reason)


def _read(path: Path, max_bytes: int) -> tuple[bytes, datetime]:
    found = path.stat()
    if found.st_size > max_bytes:
        raise InputError(f"The file has more than {max_bytes:,} bytes.", "Compress it, or raise LABELWHEEL_MAX_IMAGE_BYTES.")
    return path.read_bytes(), datetime.fromtimestamp(found.st_mtime, UTC)
