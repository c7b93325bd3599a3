"""What an address led to: remembered, so that a task opened again needs no download, and a replaced image is noticed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import Image, ImageAddress, utcnow
from labelwheel.erased import refuse_erased
from labelwheel.resolver.fetch import Validators


@dataclass(frozen=True, slots=True)
class Known:
    """The image that an address led to at `checked_at`."""

    image: Image
    validators: Validators
    checked_at: datetime

    def is_fresh(self, seconds: float) -> bool:
        """Whether it was looked at so lately that nobody asks again. A clock that was set back makes nothing fresh."""
        return timedelta(0) <= utcnow() - self.checked_at < timedelta(seconds=seconds)


def key_of(address: str) -> str:
    """The key of an address. Its text is not kept: it may carry a signature."""
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()


def recall(session: Session, project_id: int, key: str) -> Known | None:
    """What is remembered of an address."""
    query = select(ImageAddress).where(ImageAddress.project_id == project_id, ImageAddress.address_sha256 == key)
    row = session.scalar(query.options(joinedload(ImageAddress.image)))
    return Known(row.image, Validators(row.etag, row.modified), row.checked_at) if row else None


def find_image(session: Session, project_id: int, sha256: str) -> Image | None:
    """The image of these bytes, wherever it came from. Raises ErasedError."""
    image = session.scalar(select(Image).where(Image.project_id == project_id, Image.sha256 == sha256))
    refuse_erased(image)
    return image


def remember(database: Database, row: dict[str, object], key: str | None, validators: Validators) -> Image:
    """Record an image, and under `key` that its address leads there now; the newest look wins."""
    project_id = row["project_id"]
    with database.write() as session:
        insert_absent(session, Image, [row])
        image = session.scalars(select(Image).where(Image.project_id == project_id, Image.sha256 == row["sha256"])).one()
        if key is not None:
            seen = {"image_id": image.id, "etag": validators.etag, "modified": validators.modified, "checked_at": utcnow()}
            insert_absent(session, ImageAddress, [{"project_id": project_id, "address_sha256": key, **seen}])
            session.execute(
                update(ImageAddress).where(ImageAddress.project_id == project_id, ImageAddress.address_sha256 == key).values(**seen)
            )
    return image


def confirm(database: Database, project_id: int, key: str | None) -> None:
    """Record that an address still leads to the same image."""
    with database.write() as session:
        session.execute(
            update(ImageAddress)
            .where(ImageAddress.project_id == project_id, ImageAddress.address_sha256 == key)
            .values(checked_at=utcnow())
        )
