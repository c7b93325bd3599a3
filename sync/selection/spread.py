"""Diversity: the order in which k-means++ would take points as its first centres, so that each is far from those before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]


def spread(vectors: Matrix, count: int, weights: Sequence[float], seed: int) -> list[int]:
    """Row numbers of `vectors` (N, D): up to `count` in the order of k-means++ (Arthur and Vassilvitskii 2007), then the rest as they stand.

    A point is drawn with a chance proportional to its weight (≥ 0) and to its squared distance from those drawn. Dimensions are scaled to
    a spread of 1 first. The same call gives the same order.
    """
    count = min(count, len(vectors))
    if count == 0 or not np.any(np.asarray(weights) > 0):
        return list(range(len(vectors)))
    from sklearn.cluster import kmeans_plusplus  # only the worker pays for this import
    from threadpoolctl import threadpool_limits

    scale = vectors.std(axis=0, dtype=np.float64)
    points = vectors / np.where(scale > 0, scale, 1.0)
    with threadpool_limits(1):  # hundreds of small products: threads that wait for each other would take other programs' cores
        _, drawn = kmeans_plusplus(points, count, sample_weight=np.asarray(weights, dtype=np.float64), random_state=seed % 2**32)
    return list(dict.fromkeys([*(int(index) for index in drawn), *range(len(vectors))]))
