"""The constants that are fitted: their bounds, what is expected of them, and the stretched scale of the fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.columns import Column
from costmodels.efficiency import Efficiency


@dataclass(frozen=True)
class Constant:
    """One fitted constant: its bounds, the value expected before any run is seen, and how freely it varies.

    Attributes:
        low, high: open bounds.
        expected: prior value.
        freedom: standard deviation of the prior on the logit scale; each level below the global one has half of it.
    """

    low: float
    high: float
    expected: float
    freedom: float = 1.0

    def inner(self, value: float) -> float:
        """The value on the logit scale."""
        share = (value - self.low) / (self.high - self.low)
        return float(np.log(share / (1.0 - share)))

    def inner_within(self, value: float) -> float:
        """As :meth:`inner`, for a value that may lie on a bound or beyond: moved just inside."""
        margin = 0.005 * (self.high - self.low)
        return self.inner(min(max(value, self.low + margin), self.high - margin))

    def outer(self, inner: Column) -> Column:
        """Values from the logit scale."""
        return self.low + (self.high - self.low) / (1.0 + np.exp(-inner))


CONSTANTS: dict[str, Constant] = {
    "gemm_efficiency": Constant(0.15, 1.0, 0.75),
    "attention_efficiency": Constant(0.05, 1.0, 0.45),
    "memory_efficiency": Constant(0.1, 1.0, 0.65),
    "scale_up_efficiency": Constant(0.1, 1.0, 0.65),
    "scale_out_efficiency": Constant(0.1, 1.0, 0.6),
    "data_overlap": Constant(0.0, 1.0, 0.7),
    "tensor_overlap": Constant(0.0, 1.0, 0.2),
    "expert_efficiency": Constant(0.4, 1.0, 0.85, 0.5),
    "expert_overlap": Constant(0.0, 1.0, 0.2),
    "collective_s": Constant(0.0, 2e-4, 2e-5),
    "step_overhead_s": Constant(0.0, 0.1, 0.01),
    "layer_launch_s": Constant(0.0, 0.01, 0.0008),
    "jitter_per_doubling": Constant(0.0, 0.03, 0.004),
    "routing_passes": Constant(0.0, 40.0, 6.0),
}
"""The constants that step times decide, as fields of :class:`catalogs.profile.Profile`."""


def expected_inner() -> NDArray[np.float64]:
    """The values expected before any run is seen, on the logit scale, shape (constants,)."""
    return np.array([c.inner(c.expected) for c in CONSTANTS.values()])


def efficiency_of(inner: NDArray[np.float64]) -> Efficiency:
    """Efficiency columns from constants on the logit scale, shape (rows, constants)."""
    values = {name: c.outer(inner[:, i]) for i, (name, c) in enumerate(CONSTANTS.items())}
    return Efficiency.from_values(**values)
