"""What a task's data says of its image, read into one of five kinds of address. Pure: nothing is looked up here.

One parser reads an address for all that follows. What was checked is therefore what is connected to: there is no second
reading of the same text that could disagree with the first.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import httpx

from labelwheel.errors import AddressRefused

LONGEST = 4096  # characters of an address; pictures within the text itself aside
BUCKET_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az", "azure-blob": "az"}
LOCAL_FILES = "/data/local-files/"
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")  # as httpx returns it: lower case, international names in their ASCII form
CURE = "Put an http(s), s3, gs or az address, a data: URI, or a path of Label Studio into the task's data."


@dataclass(frozen=True, slots=True)
class Inline:
    """A `data:` URI: the picture is the text itself."""

    uri: str


@dataclass(frozen=True, slots=True)
class Web:
    """An http or https address, normalised. A path of Label Studio has become one."""

    url: httpx.URL


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file below Label Studio's document root. `path` is relative and stays inside; `url` is where Label Studio serves it."""

    path: str
    url: httpx.URL


@dataclass(frozen=True, slots=True)
class Bucket:
    """An object in a bucket. `uri` has the canonical scheme: s3, gs or az."""

    uri: str


Address = Inline | Web | LocalFile | Bucket


def read_text(value: object) -> str:
    """What stands under the image key of a task's data, if it is text that a database and a disk can take; else AddressRefused."""
    if not isinstance(value, str) or not value or any("\ud800" <= character <= "\udfff" for character in value[:LONGEST]):
        raise AddressRefused("The task's data holds no address of an image.", CURE)
    return value


def read_address(text: str, label_studio_url: str) -> Address:
    """Read an address. Raises AddressRefused for whatever no rule knows."""
    if text[:5].lower() == "data:":
        return Inline(text)
    if len(text) > LONGEST or CONTROL.search(text):
        raise AddressRefused("The address of the task's image is too long, or holds control characters.", CURE)
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in BUCKET_SCHEMES:
        return _bucket(text)
    return _local_or_web(_absolute(text, scheme, label_studio_url))


def read_url(text: str) -> httpx.URL:
    """Read an http or https address; AddressRefused for user names, odd hosts, ports and schemes, and ways out of a folder."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise _refused(text, str(error)) from error
    if url.scheme not in ("http", "https"):
        raise _refused(text, f"{url.scheme or 'nothing'}:// is not a way to an image")
    if url.userinfo or "@" in _authority(text) or "\\" in text:
        raise _refused(text, "it carries a user name or a backslash")
    foreign = any(character.isdigit() and not character.isascii() for character in _authority(text))  # Python reads them, others do not
    if foreign or not is_host(url.host) or (url.port is not None and not 1 <= url.port <= 65535):
        raise _refused(text, "its host or port is not written in the usual way")
    if has_dots(url.path):
        raise _refused(text, "it leads out of a folder")
    return url.copy_with(fragment=None)


def is_host(host: str) -> bool:
    """Whether a host is a plain name, an IPv4 address of four decimals, or an IPv6 address without a zone.

    Numbers in other guises (`127.1`, `2130706433`, `0x7f.0.0.1`) are left out: resolvers read them as addresses, lists do not.
    """
    if ":" in host:
        return re.fullmatch(r"[0-9a-f:.]+", host) is not None
    last = host.rpartition(".")[2]
    numeric = last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last) is not None
    return HOST.fullmatch(host) is not None and (not numeric or re.fullmatch(r"\d+\.\d+\.\d+\.\d+", host) is not None)


def has_dots(path: str) -> bool:
    """Whether a path holds `.` or `..` as a step, written out or escaped."""
    return any(step in (".", "..") for step in unquote(path).replace("\\", "/").split("/"))


def shown(text: str) -> str:
    """An address for logs and messages: without its query, which may hold a signature, and without a user name."""
    head = CONTROL.sub("?", text[:200]).partition("?")[0].partition("#")[0]
    scheme, separator, rest = head.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _absolute(text: str, scheme: str, label_studio_url: str) -> Web:
    if scheme:
        return Web(read_url(text))
    if not text.startswith("/") or text.startswith(("//", "/\\")) or not label_studio_url:
        raise _refused(text, "it is neither complete nor a path of Label Studio")
    prefix = urlsplit(label_studio_url).path.rstrip("/")
    below = text.removeprefix(prefix) if prefix and text.startswith(f"{prefix}/") else text
    return Web(read_url(label_studio_url.rstrip("/") + below))


def _local_or_web(web: Web) -> Address:
    if not web.url.path.endswith(LOCAL_FILES) or "d" not in web.url.params:
        return web
    # Label Studio takes a leading slash off as well. What climbs out is refused, not cleaned: nobody writes that by accident.
    path = web.url.params["d"].lstrip("/")
    if not path or CONTROL.search(path) or "\\" in path or ".." in path.split("/"):
        raise _refused(str(web.url), "its file is not below the document root")
    return LocalFile(posixpath.normpath(path), web.url)


def _bucket(text: str) -> Bucket:
    scheme, _, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    # `::` chains file systems in fsspec: what follows it would be opened as an address of its own.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", bucket) or not key or "::" in text or has_dots(key):
        raise _refused(text, "it names no object in a bucket")
    return Bucket(f"{BUCKET_SCHEMES[scheme.lower()]}://{bucket}/{key}")


def _authority(text: str) -> str:
    return re.split(r"[/?#]", text.partition("://")[2], maxsplit=1)[0]


def _refused(text: str, reason: str) -> AddressRefused:
    return AddressRefused(f"The address {shown(text)!r} cannot be used: {reason}.", CURE)
