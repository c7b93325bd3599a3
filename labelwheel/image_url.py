"""How an image reaches the annotator's browser: through Label Studio's local files, or by a signed URL of ours."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import parse_qs, quote, urlsplit

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from labelwheel.errors import NotFoundError
from labelwheel.settings import Settings

LOCAL_FILES = "/data/local-files/"
_SALT = "image-url"


def image_url(uri: str, settings: Settings) -> str:
    """The address to put into a task's data for the stored image `uri`."""
    if settings.image_urls == "local-files":
        return f"{LOCAL_FILES}?d={quote(f'{settings.images_dir.name}/{uri}')}"
    return f"{settings.ml_backend_public_url}/images/{_signer(settings).dumps(uri)}"


def uri_of_token(token: str, settings: Settings) -> str:
    """The stored image that a signed URL names; NotFoundError for a forged or lapsed one."""
    try:
        uri = _signer(settings).loads(token, max_age=settings.image_url_days * 24 * 3600)
    except SignatureExpired as error:
        raise NotFoundError("This image address has lapsed.", "Push the task again; LABELWHEEL_IMAGE_URL_DAYS sets its life.") from error
    except BadSignature as error:
        raise NotFoundError("This image address is not one of ours.") from error
    return str(uri)


def uri_of_url(url: str, settings: Settings) -> str | None:
    """The stored image that a task's address leads to, or None when it is not one that we wrote."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.path.endswith(LOCAL_FILES):
        return _below_images(PurePosixPath(parse_qs(parts.query).get("d", [""])[0]), settings)
    if "/images/" in parts.path:
        try:
            return uri_of_token(parts.path.rsplit("/", 1)[1], settings)
        except NotFoundError:
            return None
    return None


def _below_images(path: PurePosixPath, settings: Settings) -> str | None:
    folder, *names = path.parts or ("",)
    return "/".join(names) if folder == settings.images_dir.name and names and ".." not in names else None


def _signer(settings: Settings) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(settings.secret_key.get_secret_value(), salt=_SALT)
