"""Failure rates (docs/cost-models.md: the run) as kriging with an unknown mean: one matrix per pair of spreads."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from catalogs.accelerator import Accelerator
from catalogs.catalog import Catalog

NAME = "accelerator-hours-per-failure"


def hours_and_sigma(accelerator: Accelerator, catalog: Catalog) -> tuple[float, float]:
    """Accelerator-hours between interruptions, and the deviation of their logarithm between clusters."""
    family = accelerator.family
    for name in (f"{NAME}.{family}", NAME):
        if name in catalog.assumptions:
            said = catalog.assumptions[name]
            if said.low is None or said.high is None:
                return said.value, 0.0
            return said.value, math.log(said.high / said.low) / (2 * 1.6449)
    known = [
        (catalog.accelerators[one.accelerator].family, one.hours_per_interruption, one.interruptions)
        for one in catalog.interruptions.values()
    ]
    return kriged(tuple(known), family)


@lru_cache
def kriged(known: tuple[tuple[str, float, float | None], ...], family: str) -> tuple[float, float]:
    logs = np.array([math.log(hours) for _, hours, _ in known])
    noise = np.diag([0.0 if count is None else 1.0 / count for *_, count in known])
    alike = np.array([[float(one[0] == other[0]) for other in known] for one in known])
    near, ones, same = np.array([float(one[0] == family) for one in known]), np.ones(len(known)), np.eye(len(known))
    means, variances, odds = [], [], []
    for row in range(75):
        for column in range(75):
            team, generation = (0.02 + 0.04 * row) ** 2, (0.02 + 0.04 * column) ** 2
            inverse = np.linalg.inv(team * same + generation * alike + noise)
            precision = ones @ inverse @ ones
            centre = ones @ inverse @ logs / precision
            off = logs - centre
            reach = generation * near @ inverse
            means.append(centre + reach @ off)
            gain = 1 - reach @ ones
            variances.append(generation + team - generation * reach @ near + gain**2 / precision)
            likelihood = np.linalg.slogdet(inverse)[1] - math.log(precision) - off @ inverse @ off
            odds.append(likelihood / 2 - (team + generation) / (2 * math.log(2) ** 2))
    weights = np.exp(np.array(odds) - max(odds))
    weights /= weights.sum()
    mean = float(weights @ np.array(means))
    return math.exp(mean), math.sqrt(float(weights @ (np.array(variances) + (np.array(means) - mean) ** 2)))
