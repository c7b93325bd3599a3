"""What was painted with a brush: Label Studio's run-length code as outlines along the edges of pixels, exactly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from labelwheel.vision.outline import Outline, Spot, area

Mask = npt.NDArray[np.bool_]

CHANNELS = 4  # Label Studio codes red, green, blue and how opaque; the last says what is painted
TURNS = {(1, 0): (0, 1), (0, 1): (-1, 0), (-1, 0): (0, -1), (0, -1): (1, 0)}  # clockwise on the screen


def painted(rle: Sequence[int], width: int, height: int) -> Mask:
    """The painted pixels, (height, width). Raises ValueError when the code is broken, or of another size."""
    if isinstance(rle, int):  # of which `bytes` would make so many zeros
        raise ValueError("its code is no list")
    code = bytes(rle)
    if int.from_bytes(code[:4], "big") != width * height * CHANNELS:  # before anything of that size is made
        raise ValueError("its code is of another size")
    try:
        return np.asarray(_decoded(code).reshape(height, width, CHANNELS)[..., -1] > 0)
    except (IndexError, ValueError) as error:
        raise ValueError("its code is broken") from error


def _decoded(code: bytes) -> npt.NDArray[np.uint8]:
    """The numbers of a code: their count (32 bits), bits in each (5), four widths of counts (4 each); then runs.

    A run is one bit, whether one number is repeated; two bits, which width its count has; the count less one; and the number or numbers.
    The format is rle-pack's, see <https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack>. The SDK's own reader takes four seconds
    to be loaded.
    """
    bits = f"{int.from_bytes(code, 'big'):0{8 * len(code)}b}"

    def number(at: int, width: int) -> int:
        return int(bits[at : at + width], 2)

    word, widths, at, done = number(32, 5) + 1, [number(37 + 4 * place, 4) + 1 for place in range(4)], 53, 0
    found = np.zeros(number(0, 32), np.uint8)
    while done < len(found):
        repeated, width = bits[at] == "1", widths[number(at + 1, 2)]
        count = number(at + 3, width) + 1
        at += 3 + width
        values = [number(at + word * place, word) for place in range(1 if repeated else count)]
        found[done : done + count] = values
        at, done = at + word * len(values), done + count
    return found


def outlines(mask: Mask) -> list[Outline]:
    """The edges of a mask, the largest first: parts go clockwise, holes the other way. Pixels that touch at a corner are parts of their own."""
    starts = _edges(mask)
    found = []
    while starts:
        found.append(_straight(_follow(starts)))
    return sorted(found, key=area, reverse=True)


def _edges(mask: Mask) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Every edge between a painted and a bare pixel, from corner to corner, painted on its right."""
    padded = np.pad(mask, 1)
    starts: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    inside = padded[1:-1, 1:-1]
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # bare above: along the top, to the right
        (padded[1:-1, 2:], (1, 0), (0, 1)),
        (padded[2:, 1:-1], (1, 1), (-1, 0)),
        (padded[1:-1, :-2], (0, 1), (0, -1)),
    )
    for neighbour, (dx, dy), way in sides:
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            starts[(x + dx, y + dy)].append(way)
    return starts


def _follow(starts: dict[tuple[int, int], list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """One closed way along the edges, which it takes out. Where two cross it turns right, around its own pixel."""
    corner, ways = next(iter(starts.items()))
    way, path = ways[0], []
    while corner in starts:
        ways = starts[corner]
        way = TURNS[way] if TURNS[way] in ways else ways[0]
        ways.remove(way)
        if not ways:
            del starts[corner]
        path.append(corner)
        corner = (corner[0] + way[0], corner[1] + way[1])
        if corner == path[0]:
            break
    return path


def _straight(path: list[tuple[int, int]]) -> Outline:
    """Without the corners that lie on a straight line."""
    around = zip((path[-1], *path[:-1]), path, (*path[1:], path[0]), strict=True)
    kept: list[Spot] = [b for a, b, c in around if (b[0] - a[0]) * (c[1] - b[1]) != (b[1] - a[1]) * (c[0] - b[0])]
    return tuple((float(x), float(y)) for x, y in kept)
