"""From one step to a whole training run: steps, days, goodput."""

from __future__ import annotations

import numpy as np

from costmodels.columns import Column

DAY_S = 86400.0


def training_steps(tokens: Column, global_batch: Column, seq: Column) -> Column:
    """Optimizer steps for a token budget; the last, partial one counts."""
    return np.ceil(tokens / (global_batch * seq))


def wall_seconds(steps: Column, step_s: Column, goodput: Column) -> Column:
    """Wall-clock seconds of a run of which the share ``goodput`` makes progress (the rest: failures, checkpoints)."""
    return steps / goodput * step_s
