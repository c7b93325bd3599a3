"""From what a task's data says to an image: ours by its address, anybody else's by fetching it once.

An image from elsewhere gets a row in `image` like one of ours, known by its SHA-256, so that predictions are stored under it.
Its bytes are a copy in the cache, which may vanish; they are fetched again when a model has not seen the image yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database import Database
from labelwheel.database.tables import Image, utcnow
from labelwheel.erased import refuse_erased
from labelwheel.errors import NotFoundError
from labelwheel.image_url import uri_of_token, uri_of_url
from labelwheel.labelstudio.connection import Connection
from labelwheel.resolver.address import Address, Bucket, Inline, LocalFile, Web, read_address, read_text
from labelwheel.resolver.allow import AllowList
from labelwheel.resolver.bucket import read_object
from labelwheel.resolver.cache import ImageCache
from labelwheel.resolver.document_root import document_root, read_file
from labelwheel.resolver.fetch import Fetched, Fetcher, Validators
from labelwheel.resolver.inline import read_inline
from labelwheel.resolver.memory import Known, confirm, find_image, key_of, recall, remember
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.image import Pixels, decode, digest, sniff_suffix


@dataclass(frozen=True, slots=True)
class Found:
    """An image, and its pixels where they had to be decoded anyway. `address` is None for one of ours."""

    image: Image
    address: Address | None
    pixels: Pixels | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image with its upright BGR pixels, shape (height, width, 3)."""

    image: Image
    pixels: Pixels


class Resolver:
    """Images of tasks, wherever they are. Safe to share between threads; a process needs one."""

    def __init__(self, settings: Settings, database: Database, store: ImageStore) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._cache = ImageCache(settings.cache_dir / "images", settings.image_cache_bytes)

    def peek(self, value: object, project_id: int) -> Found | None:
        """The image that a task's data names, if nobody need be asked: one of ours, or one looked at lately. AddressRefused as in `find`."""
        text = read_text(value)
        ours = self._ours(text, project_id)
        if ours is not None:
            return Found(ours, None)
        address = read_address(text, self._settings.label_studio_url)
        self._check(address)
        known = self._known(address, project_id)
        return Found(known.image, address) if known and known.is_fresh(self._settings.image_recheck_seconds) else None

    def find(self, value: object, project_id: int) -> Found:
        """The image that a task's data names. Fetches only what is new or may have changed; raises the LabelwheelError that prevents it."""
        at_once = self.peek(value, project_id)
        if at_once is not None:
            return at_once
        address = read_address(read_text(value), self._settings.label_studio_url)
        if isinstance(address, Inline):
            return self._written_out(address, project_id)
        known = self._known(address, project_id)
        return self._changed(address, known, project_id) if known else self._anew(address, project_id)

    def load(self, found: Found) -> Loaded:
        """The same with pixels: those at hand, else fetched again. An image that was replaced meanwhile is the new one then."""
        if found.pixels is not None:
            return Loaded(found.image, found.pixels)
        data = self._at_hand(found.image)
        if data is not None:
            return Loaded(found.image, self._decode(data))
        if found.address is None:
            raise _erased()
        return self._keep(found.address, self._read(found.address, Validators()), found.image.project_id)

    def copy(self, value: object, project_id: int) -> tuple[Image, bytes]:
        """The image that a task's data names, and its bytes, for whoever keeps them. Raises as `find` does."""
        found = self.find(value, project_id)
        data = self._at_hand(found.image)
        if data is not None:
            return found.image, data
        if found.address is None:
            raise _erased()
        fetched = self._read(found.address, Validators())
        return self._keep(found.address, fetched, project_id).image, fetched.data or b""

    def close(self) -> None:
        self._fetcher.close()

    def _ours(self, text: str, project_id: int) -> Image | None:
        signed = f"{self._settings.ml_backend_public_url}/images/"
        # An address that only we can have made names an image of ours or none: a forged or lapsed one says so here.
        uri = uri_of_token(text.removeprefix(signed), self._settings) if text.startswith(signed) else uri_of_url(text, self._settings)
        if uri is None:
            return None
        with self._database.read() as session:
            return _stored(session, project_id, uri)

    def _known(self, address: Address, project_id: int) -> Known | None:
        key = _key(address)
        if key is None:
            return None
        with self._database.read() as session:
            return recall(session, project_id, key)

    def _written_out(self, address: Inline, project_id: int) -> Found:
        sha256 = digest(read_inline(address.uri, self._settings.max_image_bytes))
        with self._database.read() as session:
            image = find_image(session, project_id, sha256)
        return Found(image, address) if image else self._anew(address, project_id)

    def _changed(self, address: Address, known: Known, project_id: int) -> Found:
        fetched = self._read(address, known.validators)
        if fetched.data is None:
            confirm(self._database, project_id, _key(address))
            return Found(known.image, address)
        kept = self._keep(address, fetched, project_id)
        return Found(kept.image, address, kept.pixels)

    def _anew(self, address: Address, project_id: int) -> Found:
        kept = self._keep(address, self._read(address, Validators()), project_id)
        return Found(kept.image, address, kept.pixels)

    def _check(self, address: Address) -> None:
        """Refuse at once what is not open, whatever is remembered of it."""
        if isinstance(address, Bucket):
            self._allowed.check_object(address.uri)
        elif isinstance(address, (Web, LocalFile)):
            self._allowed.check_url(address.url)

    def _read(self, address: Address, known: Validators) -> Fetched:
        """Where each kind of address is read."""
        match address:
            case Inline(uri):
                return Fetched(read_inline(uri, self._settings.max_image_bytes), Validators())
            case Bucket(uri):
                return read_object(uri, self._settings, known)
            case LocalFile():
                return self._near(address, known) or self._fetcher.get(address.url, known)
            case Web(url):
                return self._fetcher.get(url, known)

    def _near(self, address: LocalFile, known: Validators) -> Fetched | None:
        """The file as it lies on our disk: only where the address is Label Studio's own, and we share its document root."""
        root = document_root(self._settings)
        own = self._allowed.check_url(address.url).own
        return read_file(root, address.path, self._settings.max_image_bytes, known) if root and own else None

    def _keep(self, address: Address, fetched: Fetched, project_id: int) -> Loaded:
        data = fetched.data or b""
        pixels = self._decode(data)
        sha256 = digest(data)
        height, width = pixels.shape[:2]
        # The uri is where the bytes lie once a camera sends the very same image; a copy in the cache goes by its digest.
        row = {"project_id": project_id, "sha256": sha256, "width": width, "height": height, "size": len(data), "created_at": utcnow()}
        row["uri"] = f"{sha256[:2]}/{sha256}{sniff_suffix(data)}"
        with self._database.read() as session:
            find_image(session, project_id, sha256)  # before anything is kept: it may have been erased
        if not isinstance(address, Inline):  # a picture within the text is always at hand
            self._cache.put(data, sha256)
        return Loaded(remember(self._database, row, _key(address), fetched.validators), pixels)

    def _at_hand(self, image: Image) -> bytes | None:
        try:
            return self._store.read(image.uri)
        except NotFoundError:
            return self._cache.get(image.sha256)

    def _decode(self, data: bytes) -> Pixels:
        return decode(data, max_bytes=self._settings.max_image_bytes, max_pixels=self._settings.max_image_pixels)

    @cached_property
    def _allowed(self) -> AllowList:
        return AllowList.of(self._settings)

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(self._settings, self._allowed, self._authorize)

    def _authorize(self) -> str:
        return self._label_studio.authorization()

    @cached_property
    def _label_studio(self) -> Connection:
        settings = self._settings
        return Connection(settings.label_studio_url, settings.label_studio_token.get_secret_value(), settings.image_read_seconds)


def _erased() -> NotFoundError:
    return NotFoundError("The task's image was erased from our store.", "Restore it from a backup; see docs/operations.md.")


def _key(address: Address) -> str | None:
    """The key to remember an address by; None for a picture within the text, which its own bytes identify."""
    match address:
        case LocalFile(_, url) | Web(url):
            return key_of(str(url))
        case Bucket(uri):
            return key_of(uri)
        case Inline():
            return None


def _stored(session: Session, project_id: int, uri: str) -> Image | None:
    image = session.scalar(select(Image).where(Image.project_id == project_id, Image.uri == uri))
    refuse_erased(image)
    return image
