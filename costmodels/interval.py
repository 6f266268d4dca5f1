"""Intervals and probabilities of predictions whose logarithm is normally distributed around the predicted value.

A predicted time or size is a median; its uncertainty is the standard deviation of log(actual / predicted), learned from
predictions of runs that the fit had not seen. Independent causes add in quadrature.
"""

from __future__ import annotations

import math

import numpy as np

from costmodels.columns import Column

NORMAL_90 = 1.6449
"""Half-width of the central 90% of a normal distribution, in standard deviations."""

SCALE_LOG_SIGMA = 0.04
"""What each doubling of the cluster beyond the largest one that was measured adds to the log step time's deviation.

Fits to the rows of at most 8, 16, 64 or 128 accelerators, tried on larger runs of the same combination three to five
doublings above, deviate by 0.15 to 0.18 where fits that saw those sizes deviate by 0.10 to 0.13."""


def combined_sigma(*sigmas: Column) -> Column:
    """Standard deviation of the sum of independent deviations."""
    return np.sqrt(sum((np.square(sigma) for sigma in sigmas), start=np.zeros(())))


def log_sigma_of(low: float, high: float) -> float:
    """Standard deviation of the logarithm of what lies between ``low`` and ``high`` with a probability of 90%.

    >>> round(log_sigma_of(1.0, 2.0), 4)
    0.2107
    """
    return math.log(high / low) / (2.0 * NORMAL_90)


def scale_sigma(accelerators: Column, largest: Column) -> Column:
    """Deviation of log step time of a cluster beyond the largest measured one (0 within it, or if none is known).

    Args:
        accelerators: of the cluster.
        largest: of the largest measured run (0 = unknown).
    """
    doublings = np.log2(np.maximum(accelerators, 1.0) / np.where(largest > 0, largest, np.maximum(accelerators, 1.0)))
    return SCALE_LOG_SIGMA * np.maximum(doublings, 0.0)


def interval_90(middle: Column, sigma: Column) -> tuple[Column, Column]:
    """Bounds between which the actual value lies with probability 0.9."""
    factor = np.exp(NORMAL_90 * sigma)
    return middle / factor, middle * factor


def probability_below(limit: Column, middle: Column, sigma: Column) -> Column:
    """Probability that the actual value is at most ``limit``, which may be infinite.

    A deviation of 0 gives 1 or 0: certainly below, or certainly above.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        standard = np.asarray(np.log(limit / middle) / sigma, dtype=np.float64)
    standard = np.where(sigma > 0, standard, np.where(limit >= middle, np.inf, -np.inf))
    return np.asarray(_normal_cdf(standard), dtype=np.float64)


_normal_cdf = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2.0)), otypes=[np.float64])
