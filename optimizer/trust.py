"""How far a prediction is to be trusted: the deviation of its logarithm, from the profile that made it."""

from __future__ import annotations

import numpy as np

from catalogs.profile import Profile
from costmodels.columns import Column
from costmodels.interval import combined_sigma, scale_sigma


def told_scale(profile: Profile, accelerators: int) -> list[str]:
    """What is said of a cluster beyond the runs that a profile was fitted to."""
    if not 0 < profile.largest < accelerators:
        return []
    return [
        f"{accelerators:,} accelerators are beyond the {profile.largest:,} of the largest run that {profile.name} was "
        "fitted to: the interval is wider for it"
    ]


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
