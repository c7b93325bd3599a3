"""Images that tasks of any Label Studio name, for an export without a server: files below a folder, `data:` URIs, and what settings allow."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cached_property
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from PIL import Image as Opened

from labelwheel.errors import AddressRefused, ImageError, NotFoundError
from labelwheel.resolver.address import Bucket, Inline, Web, read_address, shown
from labelwheel.resolver.allow import AllowList, read_networks, read_sources
from labelwheel.resolver.bucket import read_object
from labelwheel.resolver.fetch import Fetcher, Validators, too_large
from labelwheel.resolver.inline import read_inline
from labelwheel.settings import Settings
from labelwheel.vision import image
from retrain.dataset.own import ORIENTATION, upright
from retrain.dataset.tasks import Picture

LEAST_SIDE = 10  # ultralytics calls smaller images corrupt
UPLOAD = re.compile(r"/?(?:data/)?upload/(\d+)/(.+)")
CURE = "Name the folder that holds the images with --images-root, or leave them out with --no-images."


class Pictures:
    """Finds images for `tasks.samples`. Files are read below `root` only; nothing is fetched unless LABELWHEEL_IMAGE_SOURCES opens it."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self._root = root.expanduser().resolve()
        self._settings = settings

    def __call__(self, address: str) -> Picture:
        """The upright image at an address. Raises NotFoundError, AddressRefused, FetchError, or ImageError for what is no whole image."""
        remote = address[:5].lower() == "data:" or ("://" in address and not address.startswith("file://"))
        found = self._remote(address) if remote else self._file(address)
        data = found if isinstance(found, bytes) else self._read(found)
        return _picture(found, data, self._settings)

    def _remote(self, address: str) -> bytes:
        match read_address(address, ""):
            case Inline(uri):
                return read_inline(uri, self._settings.max_image_bytes)
            case Web(url):
                self._allowed.check_url(url)
                return self._fetcher.get(url).data or b""
            case Bucket(uri):
                self._allowed.check_object(uri)
                return read_object(uri, self._settings, Validators()).data or b""
        raise AddressRefused(f"{shown(address)!r} is on a server that nobody asks here.", CURE)

    def _file(self, address: str) -> Path:
        with suppress(ValueError):  # what looks like an address, and is none
            for path in filter(None, map(self._below, _names(address))):
                return path
        raise NotFoundError(f"{shown(address)!r} is no file below {self._root.name or self._root}", CURE)

    def _below(self, name: str) -> Path | None:
        """The file of this name, if there is one: a name may be too long, hold a zero, or lead through links that go round."""
        try:
            path = (self._root / name).resolve()
            return path if path.is_relative_to(self._root) and path.is_file() else None
        except (OSError, ValueError, RuntimeError):
            return None

    def _read(self, path: Path) -> bytes:
        try:
            if path.stat().st_size > self._settings.max_image_bytes:
                raise too_large(path.name, self._settings.max_image_bytes)
            return path.read_bytes()
        except OSError as error:
            raise NotFoundError(f"{path.name!r} cannot be read: {error.strerror}", CURE) from error

    @cached_property
    def _allowed(self) -> AllowList:
        settings = self._settings
        return AllowList(read_sources(settings.image_sources), read_networks(settings.image_networks))

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(self._settings, self._allowed, lambda: "")


def _names(address: str) -> list[str]:
    """Where below a folder the file of an address may lie; Label Studio's own addresses name uploads and local files."""
    text = unquote(urlsplit(address).path) if address.startswith("file://") else address
    given = parse_qs(urlsplit(text).query).get("d") if "/local-files/" in text else None
    if given:
        return [given[0].lstrip("/")]
    upload = UPLOAD.fullmatch(unquote(text))
    if upload:
        project, name = upload.groups()
        return [text, f"upload/{project}/{name}", f"{project}/{name}", name]
    return list(dict.fromkeys((text, unquote(text))))


def _picture(found: Path | bytes, data: bytes, settings: Settings) -> Picture:
    pixels = image.decode(data, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    height, width = pixels.shape[:2]
    if min(width, height) < LEAST_SIDE:
        raise ImageError(f"The image has {width} × {height} pixels; training takes none with a side below {LEAST_SIDE}.")
    with Opened.open(BytesIO(data)) as picture:
        turned = picture.getexif().get(ORIENTATION, 1) != 1
    if turned:
        return Picture(upright(data), image.digest(data), (width, height), ".png")
    return Picture(found, image.digest(data), (width, height), image.sniff_suffix(data))
