"""Novelty: how far an image lies from all that is labelled. Pure; vectors are embeddings of one model, or descriptors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

FEWEST = 20  # landmarks below which nothing can be said
USUAL = 0.95


def novelty(vectors: Matrix, landmarks: Matrix) -> Floats | None:
    """Distance (N,) of each vector to the nearest landmark, in units of what is usual between landmarks; None with too few of these.

    The unit is the 95th percentile of the distances from a landmark to its nearest other one: an image of a kind that is labelled is at 1
    or below, 19 times in 20. Dimensions are scaled to the landmarks' spread.
    """
    if len(landmarks) < FEWEST:
        return None
    scale = landmarks.std(axis=0, dtype=np.float64)
    known, others = (points / np.where(scale > 0, scale, 1.0) for points in (landmarks, vectors))
    between = _squared(known, known)
    np.fill_diagonal(between, np.inf)
    usual = float(np.quantile(np.sqrt(between.min(axis=1)), USUAL))
    if usual <= 0:
        return None  # they are all the same: anything else would be infinitely far
    return np.asarray(np.sqrt(_squared(others, known).min(axis=1)) / usual, dtype=np.float64)


def _squared(a: Floats, b: Floats) -> Floats:
    """Squared distances (N, M)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.clip(squares, 0, None), dtype=np.float64)
