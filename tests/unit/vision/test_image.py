"""Bytes to pixels, against real encoders, OpenCV's own decoding and broken input."""

from __future__ import annotations

from io import BytesIO
from itertools import product

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from labelwheel.errors import ImageError
from labelwheel.vision.image import decode, digest, sniff_suffix

LIMITS = {"max_bytes": 10_000_000, "max_pixels": 1_000_000}
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tif"}
TRANSPOSED = (5, 6, 7, 8)


def picture(mode: str = "RGB", size: tuple[int, int] = (37, 23)) -> Image.Image:
    """A picture whose corners all differ: red grows to the right, green downwards."""
    width, height = size
    red = np.tile(np.linspace(0, 255, width), (height, 1))
    green = np.tile(np.linspace(0, 255, height)[:, None], (1, width))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 60)], axis=2).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", orientation: int = 1, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = BytesIO()
    image.save(stream, kind, **({"exif": exif} if orientation != 1 else {}), **options)
    return stream.getvalue()


JPEG, PNG, WEBP, TIFF = (encoded(picture(), kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_their_pixels_in_bgr(kind: str) -> None:
    image = decode(encoded(picture(), kind), **LIMITS)

    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(image, np.asarray(picture())[..., ::-1])


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *product(["JPEG"], ["RGB", "L", "CMYK", "1"]),
        *product(["PNG"], ["RGB", "L", "RGBA", "P", "1"]),
        *product(["WEBP"], ["RGB", "L", "RGBA"]),
    ],
)
def test_pixels_equal_those_that_training_reads(kind: str, mode: str) -> None:
    """Training reads files with OpenCV; a detector that saw other pixels would answer with other confidences."""
    data = encoded(picture(mode), kind)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    # CMYK is converted by two different formulas; everything else agrees to the last bit or the one before.
    tolerance = 3 if (kind, mode) == ("JPEG", "CMYK") else 1
    np.testing.assert_allclose(decode(data, **LIMITS).astype(int), expected.astype(int), atol=tolerance)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    data = encoded(picture(), "JPEG", orientation, quality=95)
    image = decode(data, **LIMITS)

    assert image.shape == ((37, 23, 3) if orientation in TRANSPOSED else (23, 37, 3))
    np.testing.assert_allclose(image.astype(int), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int), atol=1)


def test_sixteen_bit_grey_keeps_its_high_byte() -> None:
    levels = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    ok, data = cv2.imencode(".png", levels)

    image = decode(data.tobytes(), **LIMITS)

    assert ok
    np.testing.assert_array_equal(image[..., 0], (levels >> 8).astype(np.uint8))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_thirty_two_bits_are_refused(mode: str) -> None:
    with pytest.raises(ImageError, match="32 bits"):
        decode(encoded(Image.new(mode, (8, 8)), "TIFF"), **LIMITS)


def test_limits_are_inclusive() -> None:
    assert decode(JPEG, max_bytes=len(JPEG), max_pixels=37 * 23).shape == (23, 37, 3)


@pytest.mark.parametrize(
    ("data", "limits", "message"),
    [
        (b"", LIMITS, "empty"),
        (JPEG, {**LIMITS, "max_bytes": len(JPEG) - 1}, "bytes; at most"),
        (JPEG, {**LIMITS, "max_pixels": 37 * 23 - 1}, "too large: 37 × 23"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", LIMITS, "not an image"),
        (encoded(picture("P"), "GIF"), LIMITS, "not an image"),
    ],
)
def test_what_is_not_accepted_is_refused_with_a_cure(data: bytes, limits: dict[str, int], message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        decode(data, **limits)
    assert caught.value.cure


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    header = bytearray(encoded(Image.new("1", (8, 8)), "BMP"))
    header[18:26] = (30_000).to_bytes(4, "little") * 2

    # The pixels are not even there: had they been asked for, the message would say "cut short".
    with pytest.raises(ImageError, match="too large"):
        decode(bytes(header), max_bytes=10_000_000, max_pixels=64_000_000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_images_are_refused(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (80, 90, 3), np.uint8))
    data = encoded(noise, kind)
    assert decode(data, **LIMITS).shape == (80, 90, 3)
    with pytest.raises(ImageError):
        decode(data[: int(len(data) * share)], **LIMITS)


@given(
    kind=st.sampled_from([JPEG, PNG, WEBP, TIFF]),
    spoil=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_bytes_give_an_image_or_an_image_error(kind: bytes, spoil: list[tuple[int, int]]) -> None:
    data = bytearray(kind)
    for place, value in spoil:
        data[place % len(data)] = value
    try:
        image = decode(bytes(data), **LIMITS)
    except ImageError:
        return
    assert image.ndim == 3
    assert image.shape[2] == 3


@pytest.mark.parametrize(("kind", "suffix"), SUFFIXES.items())
def test_suffix_follows_the_content(kind: str, suffix: str) -> None:
    assert sniff_suffix(encoded(picture(), kind)) == suffix


@pytest.mark.parametrize("data", [b"", b"RIFF1234WAVE", b"hello", b"\xff\xd8"])
def test_unknown_content_has_no_suffix(data: bytes) -> None:
    with pytest.raises(ImageError):
        sniff_suffix(data)


def test_digest_is_sha256() -> None:
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
