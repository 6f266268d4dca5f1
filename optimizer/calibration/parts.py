"""What a constant of a profile is the sum of, and the vector of all such parts that a fit looks for.

A constant of one accelerator × framework × precision is the sum of four parts on a stretched (logit) scale between its
bounds: what holds everywhere, what the framework's family adds at a precision width, what the accelerator's family adds
there, and what the combination itself adds. Each part is drawn towards zero, so that few rows move a profile little
away from its relatives, and no constant can rest on a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.inheritance import framework_family
from catalogs.profile import Precision
from costmodels.columns import Column
from optimizer.calibration.constants import CONSTANTS, expected_inner
from optimizer.calibration.software import Label
from optimizer.measured.table import Combination

Key = tuple[str, ...]
"""Which combinations share a part of their constants (:func:`level_keys`)."""

Place = tuple[int, Key]
"""Where a part belongs: its level, and the key there."""

LEVEL_FREEDOM = (1.0, 0.5, 0.5, 0.4)
"""Standard deviation of each level's part over the constant's freedom: all, family, accelerator family, combination."""

SHIFT_FREEDOM = {"release": 0.07, "switch": 0.1}
"""Standard deviation of the log step time between releases of a framework and between a switch on and off."""

WIDTH: dict[Precision, str] = {"bf16": "half", "fp16": "half", "fp8": "eight", "mxfp8": "eight", "nvfp4": "four"}


def level_keys(catalog: Catalog, accelerator: str, framework: str, precision: Precision) -> tuple[Key, ...]:
    """What a combination shares with which others: everything, family, accelerator family, itself."""
    family = (framework_family(framework), WIDTH[precision])
    return (), family, (*family, catalog.accelerators[accelerator].family), (accelerator, framework, precision)


@dataclass
class Fit:
    """Fitted parts of all constants.

    Attributes:
        parts: level and key to the part of every constant, on the logit scale.
        shifts: label of a software release or switch to the log of its step time over that of an average one.
    """

    parts: dict[Place, NDArray[np.float64]] = field(default_factory=dict)
    shifts: dict[Label, float] = field(default_factory=dict)

    def inner(self, keys: Sequence[Key], base: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Constants of one combination on the logit scale: ``base`` (default: the priors) and the fitted levels."""
        total = expected_inner() if base is None else base
        for level, key in enumerate(keys):
            total = total + self.parts.get((level, key), 0.0)
        return total

    def values(self, keys: Sequence[Key], base: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Constants of one combination."""
        inner = self.inner(keys, base)
        return {name: float(c.outer(inner[i])) for i, (name, c) in enumerate(CONSTANTS.items())}


@dataclass(frozen=True)
class Anchor:
    """What a fit to few rows is drawn to: the profiles that hold now.

    Attributes:
        constants: of a combination, on the logit scale.
        shifts: as in :class:`Fit`.
    """

    constants: Mapping[Combination, NDArray[np.float64]] = field(default_factory=dict)
    shifts: Mapping[Label, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Unknowns:
    """What a fit looks for, as one vector: all constants' parts at the first place, at the next, …, then the shifts.

    Attributes:
        places: where there are parts.
        labels: releases and switches that have a shift.
    """

    places: tuple[Place, ...]
    labels: tuple[Label, ...]

    @classmethod
    def of(cls, keys: Iterable[Sequence[Key]], labels: Iterable[Label]) -> Unknowns:
        """Those of combinations, each with its keys by level, and of the software that they ran, in sorted order."""
        places = {(level, key) for levels in keys for level, key in enumerate(levels)}
        return cls(tuple(sorted(places)), tuple(sorted(set(labels))))

    @property
    def count(self) -> int:
        """How many of them are parts of constants; the rest are shifts."""
        return len(self.places) * len(CONSTANTS)

    @property
    def precisions(self) -> Column:
        """One over the variance of each, as it is expected before any run is seen."""
        freedom = np.array([c.freedom for c in CONSTANTS.values()])
        parts = np.array([LEVEL_FREEDOM[level] for level, _ in self.places])[:, None] * freedom
        shifts = np.array([SHIFT_FREEDOM[label[0]] for label in self.labels])
        return np.concatenate([(1.0 / parts**2).ravel(), 1.0 / shifts**2])

    def vector(self, fitted: Fit) -> Column:
        """The vector of a fit; what the fit does not know is zero."""
        nothing = np.zeros(len(CONSTANTS))
        parts = [fitted.parts.get(place, nothing) for place in self.places]
        return np.concatenate([*parts, [fitted.shifts.get(label, 0.0) for label in self.labels]])

    def split(self, vector: Column) -> tuple[NDArray[np.float64], Column]:
        """The parts, shape (places, constants), and the shifts of a vector."""
        return vector[: self.count].reshape(len(self.places), -1), vector[self.count :]

    def fit(self, vector: Column) -> Fit:
        """The inverse of :meth:`vector`."""
        parts, shifts = self.split(vector)
        return Fit(dict(zip(self.places, parts, strict=True)), dict(zip(self.labels, map(float, shifts), strict=True)))
