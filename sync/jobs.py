"""Entry points of the queue: each may run twice, at any moment, on any host."""

from __future__ import annotations

from labelwheel.database import get_database
from labelwheel.database.tables import utcnow
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.settings import Settings, get_settings

REFRESH_SECONDS = 120


def select() -> int:
    from sync.selection.select import select_captures

    return select_captures(get_database(), get_settings(), utcnow())


def expire() -> int:
    from sync.selection.expire import expire
    from sync.selection.forget import forget

    forget(get_database(), get_settings(), utcnow())
    return expire(get_database(), get_settings(), open_client(get_settings()), utcnow())


def push() -> int:
    from sync.exchange.push import push

    return push(get_database(), get_settings(), open_client(get_settings()))


def pull() -> int:
    from sync.exchange.pull import pull

    return pull(get_database(), get_settings(), open_client(get_settings()))


def check() -> int:
    from sync.doubts.check import check

    return check(get_database(), get_settings(), utcnow())


def refresh(deployment_id: int) -> int:
    """Some minutes' work: the sweep asks again until it is complete, and pulls come in between."""
    from sync.exchange.refresh import refresh

    return refresh(get_database(), get_settings(), open_client(get_settings()), deployment_id, seconds=REFRESH_SECONDS)


def adopt() -> int:
    """A minute's work: the sweep asks again while something is left, and pulls come in between."""
    from sync.exchange.adopt import adopt

    return adopt(get_database(), get_settings(), open_client(get_settings())).adopted


def open_client(settings: Settings) -> LabelStudio:
    """A client with our own token."""
    token = settings.label_studio_token.get_secret_value()
    return LabelStudio(settings.label_studio_url, token, public_url=settings.label_studio_public_url)
