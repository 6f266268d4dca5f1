"""Layers and recomputation per stage, solved instead of sampled.

Given everything else, a stage is fastest with the fewest recomputed layers that let it fit, and a split is fastest
where the slowest stage is as fast as can be. Both follow from tables of seconds and bytes by stage and layers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from costmodels.columns import Column


def fewest_recomputed(
    memory: Callable[[Column], Column], layers: Column, capacity: Column
) -> tuple[Column, NDArray[np.bool_]]:
    """The fewest recomputed layers with which each entry fits, and whether it then does.

    From the first recomputed layer on (which needs working memory of its own) memory falls in a straight line.

    Args:
        memory: bytes as a function of the share that is recomputed, of the shape of ``layers``.
        layers: of each entry (0 where there is none).
        capacity: bytes.
    """
    count = np.maximum(layers, 1.0)
    none, first, all_of_them = memory(np.zeros_like(count)), memory(1.0 / count), memory(np.ones_like(count))
    slope = (first - all_of_them) / np.maximum(count - 1.0, 1.0)
    more = np.where(
        slope > 0, (first - capacity) / np.where(slope > 0, slope, 1.0), np.where(first > capacity, count, 0)
    )
    # Rounding must not cost a layer; whether the result fits is looked at below.
    some = np.clip(1.0 + np.ceil(more - 1e-9), 1.0, count)
    some = np.where(memory(some / count) > capacity, np.minimum(some + 1.0, count), some)
    chosen = np.where(none <= capacity, 0.0, some)
    fits = (none <= capacity) | (memory(some / count) <= capacity)
    return chosen, np.asarray(fits)


def balanced(seconds: Column, least: NDArray[np.int64], total: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Layers per stage such that the slowest stage is as fast as can be, and whether that is possible.

    What the slowest stage leaves open goes where it costs the fewest seconds in all.

    Args:
        seconds: (candidates, stages, n): of a stage with n + 1 layers, infinite if it does not fit; it grows with n.
            Stages that do not exist are infinite throughout, and their ``least`` is 0.
        least: (candidates, stages): layers that a stage must have.
        total: layers of the model.
    """
    rows, stages, most = seconds.shape
    levels = np.sort(seconds.reshape(rows, -1), axis=1)

    def room(place: NDArray[np.int64]) -> NDArray[np.int64]:
        level = levels[np.arange(rows), place][:, None, None]
        below = (seconds <= level) & np.isfinite(seconds)
        # More layers never fit where fewer do not.
        held: NDArray[np.int64] = np.cumprod(below, axis=2).sum(axis=2)
        return held

    def enough(place: NDArray[np.int64]) -> NDArray[np.bool_]:
        held = room(place)
        return np.asarray((held.sum(axis=1) >= total) & (held >= least).all(axis=1))

    low, high = np.zeros(rows, dtype=np.int64), np.full(rows, stages * most - 1, dtype=np.int64)
    possible = enough(high) & (least.sum(axis=1) <= total)
    while (low < high).any():
        middle = (low + high) // 2
        good = enough(middle)
        high = np.where(good, middle, high)
        low = np.where(good, low, np.minimum(middle + 1, high))
    layers = room(high)
    padded = np.concatenate([np.zeros((rows, stages, 1)), np.where(np.isfinite(seconds), seconds, 0.0)], axis=2)
    index, every = np.arange(rows)[:, None], np.arange(stages)[None, :]
    while (surplus := possible & (layers.sum(axis=1) > total)).any():
        last = padded[index, every, layers] - padded[index, every, np.maximum(layers - 1, 0)]
        worst = np.argmax(np.where(layers > least, last, -np.inf), axis=1)
        layers[np.flatnonzero(surplus), worst[surplus]] -= 1
    return layers, possible
