"""How far a prediction is to be trusted: the deviation of its logarithm, from the profile that made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from catalogs.profile import Profile
from costmodels.columns import Column
from costmodels.interval import combined_sigma, scale_sigma

if TYPE_CHECKING:
    from optimizer.runs_prediction import RunTable


def row_sigmas(profiles: Sequence[Profile], table: RunTable, *, known: bool | None = None) -> Column:
    """Deviation of log step time of every row, from the profile it is predicted by.

    Wider where the row's source is not among the fitted ones, and where the cluster is larger than any of them.

    Args:
        profiles: of the rows.
        table: the rows.
        known: whether the rows' sources are among the fitted ones; None to look.
    """
    return np.array(
        [
            float(
                step_sigma(
                    profile,
                    moe=bool(moe),
                    accelerators=np.asarray(float(run.n_accel or 1)),
                    known=run.source in profile.campaigns if known is None else known,
                )
            )
            for profile, run, moe in zip(profiles, table.runs, table.is_moe, strict=True)
        ]
    )


def step_sigma(profile: Profile, *, moe: bool, accelerators: Column, known: bool = False) -> Column:
    """Deviation of log step time of predictions by one profile.

    Args:
        profile: that predicts it.
        moe: whether the model has experts.
        accelerators: in use.
        known: whether it is on a cluster and software whose runs the profile was fitted to.
    """
    own = profile.moe_log_sigma if moe else profile.log_sigma
    cluster = profile.moe_cluster_log_sigma if moe else profile.cluster_log_sigma
    scale = scale_sigma(accelerators, np.asarray(float(profile.largest)))
    return combined_sigma(np.asarray(own), np.asarray(0.0 if known else cluster), scale)
