"""Bytes to pixels: what a camera or a browser sends becomes one upright BGR array, or an ImageError that says why not."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from labelwheel.errors import ImageError

Pixels = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
SIGNATURES = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"BM", ".bmp"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
)
RE_ENCODE = "Send a complete JPEG, PNG, BMP, WebP or TIFF file."


def decode(data: bytes, *, max_bytes: int, max_pixels: int) -> Pixels:
    """Decode to an upright BGR image, shape (H, W, 3), uint8.

    Sixteen-bit grey keeps its high byte, transparency is dropped, of an animation the first frame counts.
    Raises ImageError for bytes that are empty, too many, no image or cut short; too many pixels are refused before they are decoded.
    """
    _check_bytes(data, max_bytes)
    with _open(data) as picture:
        _check_pixels(picture, max_pixels)
        return _upright_bgr(picture)


def digest(data: bytes) -> str:
    """SHA-256 of the bytes, as 64 hex digits: the identity of an image."""
    return hashlib.sha256(data).hexdigest()


def sniff_suffix(data: bytes) -> str:
    """File suffix by content: `.jpg`, `.png`, `.bmp`, `.webp` or `.tif`. Raises ImageError for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    for signature, suffix in SIGNATURES:
        if data.startswith(signature):
            return suffix
    raise ImageError("The bytes are not an image of a known format.", RE_ENCODE)


def _check_bytes(data: bytes, max_bytes: int) -> None:
    if not data:
        raise ImageError("The image is empty: it has no bytes.", RE_ENCODE)
    if len(data) > max_bytes:
        raise ImageError(
            f"The image has {len(data):,} bytes; at most {max_bytes:,} are accepted.", "Compress it, or raise LABELWHEEL_MAX_IMAGE_BYTES."
        )


def _open(data: bytes) -> Image.Image:
    sniff_suffix(data)  # before Pillow: where ultralytics is loaded too, its patch of `open` looks for plug-ins to install
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError("The bytes are not an image of a known format.", RE_ENCODE) from error
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(str(error)) from error
    except Exception as error:  # Pillow's parsers raise whatever the broken bytes provoke
        raise _damaged(error) from error


def _check_pixels(picture: Image.Image, max_pixels: int) -> None:
    width, height = picture.size
    if width * height > max_pixels:
        raise _too_many_pixels(f"{width} × {height} pixels; at most {max_pixels:,} are accepted.")


def _upright_bgr(picture: Image.Image) -> Pixels:
    try:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode in ("I", "F"):
            raise ImageError(
                f"The image has 32 bits a pixel (mode {upright.mode}).", "Convert it to 8 or 16 bits first; its range is not known to us."
            )
        return _sixteen_bit_to_bgr(upright) if upright.mode.startswith("I;16") else _to_bgr(upright)
    except ImageError:
        raise
    except Exception as error:  # see _open
        raise _damaged(error) from error


def _to_bgr(picture: Image.Image) -> Pixels:
    return cast(Pixels, cv2.cvtColor(np.asarray(picture.convert("RGB")), cv2.COLOR_RGB2BGR))


def _sixteen_bit_to_bgr(picture: Image.Image) -> Pixels:
    # Pillow's own conversion clips at 255; OpenCV, which the training reads with, keeps the high byte.
    grey = (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
    return cast(Pixels, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))


def _too_many_pixels(detail: str) -> ImageError:
    return ImageError(f"The image is too large: {detail}", "Scale it down, or raise LABELWHEEL_MAX_IMAGE_PIXELS.")


def _damaged(error: Exception) -> ImageError:
    return ImageError(f"The image is damaged or cut short ({type(error).__name__}: {error}).", RE_ENCODE)
