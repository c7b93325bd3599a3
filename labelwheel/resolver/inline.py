"""`data:` URIs: the picture is the text itself (RFC 2397)."""

from __future__ import annotations

import binascii
from urllib.parse import unquote_to_bytes

from labelwheel.errors import ImageError

CURE = "Write it as data:image/png;base64,…"


def read_inline(uri: str, limit: int) -> bytes:
    """The bytes of a data: URI; ImageError when there is none, or more than `limit` bytes."""
    kind, comma, body = uri[5:].partition(",")
    if not comma:
        raise ImageError("The data: URI has no comma, and so no content.", CURE)
    if len(body) > 4 * limit:  # the widest way to write a byte is %XX
        raise ImageError(f"The data: URI has more than {limit:,} bytes.", "Raise LABELWHEEL_MAX_IMAGE_BYTES, or give the image an address.")
    try:
        data = unquote_to_bytes(body)
        return binascii.a2b_base64(data) if kind.lower().endswith(";base64") else data
    except ValueError as error:  # binascii.Error, and characters that no encoding knows
        raise ImageError(f"The data: URI cannot be read ({error}).", CURE) from error
