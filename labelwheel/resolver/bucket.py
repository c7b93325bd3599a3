"""Objects in buckets, through fsspec: s3, gs and az. Where and as whom to ask is read by the drivers from their usual environment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from labelwheel.errors import FetchError, LabelwheelError, NotFoundError
from labelwheel.resolver.fetch import Fetched, Validators, too_large
from labelwheel.settings import Settings

DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
MARKS = ("etag", "ETag", "generation", "content_md5")  # what drivers call an object's version
CURE = "Check the bucket's name, and the credentials in the environment of ml_backend; docs/how-to.md names the variables."


def read_object(uri: str, settings: Settings, known: Validators) -> Fetched:
    """An object's bytes, unless it is the known one. FetchError says what is missing, NotFoundError that it is not there."""
    files, path = _open(uri)
    limit = settings.max_image_bytes

    def ask(act: Callable[..., Awaitable[Any]], **options: Any) -> Any:
        return _ask(uri, files, act, path, settings.image_total_seconds, options)

    info = ask(files._info)
    if info.get("type") == "directory":
        raise NotFoundError(f"{uri} is a folder, not an image.", "Put the address of one object into the task's data.")
    validators = Validators(etag=_mark(info))
    if validators and validators == known:
        return Fetched(None, known)
    if int(info.get("size") or 0) > limit:
        raise too_large(uri, limit)
    # A range: an object that grows between the question and the answer is cut, and refused as too large.
    return Fetched(bytes(ask(files._cat_file, start=0, end=limit + 1)), validators)


def _open(uri: str) -> tuple[Any, str]:
    scheme = uri.partition("://")[0]
    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(uri, use_listings_cache=False)
    except ImportError as error:
        raise FetchError(
            f"{scheme}:// needs the driver {DRIVERS[scheme]}, which is not installed.", "Install it: pip install 'labelwheel[buckets]'"
        ) from error
    except Exception as error:  # drivers raise whatever a wrong environment provokes
        raise FetchError(f"{uri} cannot be opened ({type(error).__name__}: {str(error)[:200]}).", CURE) from error
    return files, path


def _ask(uri: str, files: Any, act: Callable[..., Awaitable[Any]], path: str, seconds: float, options: dict[str, Any]) -> Any:
    from fsspec.asyn import sync
    from fsspec.exceptions import FSTimeoutError

    try:
        return sync(files.loop, act, path, timeout=seconds, **options)
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no image at {uri}.", "It was moved or deleted, or the bucket is another one.") from error
    except (FSTimeoutError, TimeoutError) as error:
        raise FetchError(f"{uri} took longer than {seconds:g} s.", CURE) from error
    except LabelwheelError:
        raise
    except Exception as error:  # each driver has its own tree of errors
        raise FetchError(f"{uri} cannot be read ({type(error).__name__}: {str(error)[:200]}).", CURE) from error


def _mark(info: dict[str, Any]) -> str:
    """The object's version as its store counts it; empty where it has none."""
    mark = next((str(info[name]) for name in MARKS if info.get(name)), "")
    return f"{mark}-{info.get('size')}"[:300] if mark else ""
