"""Entry points of the queue: each may run twice, at any moment, on any host."""

from __future__ import annotations

from labelwheel.database import get_database
from labelwheel.database.tables import utcnow
from labelwheel.lease import hold
from labelwheel.settings import get_settings

LEASE = "retention"


def retain() -> int:
    """Let images go that nobody needs; how many went."""
    from ml_backend.retention import retain

    with hold(get_database(), LEASE, seconds=300) as lease:
        return sum(retain(get_database(), get_settings(), utcnow()).expired.values()) if lease else 0
