"""Fitted profile constants as columns."""

from __future__ import annotations

from dataclasses import dataclass

from catalogs.profile import Profile
from costmodels.columns import Column, Columns


@dataclass(frozen=True, eq=False)
class Efficiency(Columns):
    """The constants of a :class:`catalogs.profile.Profile` (meanings and ranges there)."""

    gemm_efficiency: Column
    attention_efficiency: Column
    memory_efficiency: Column
    scale_up_efficiency: Column
    scale_out_efficiency: Column
    data_overlap: Column
    tensor_overlap: Column
    expert_efficiency: Column
    routing_passes: Column
    expert_overlap: Column
    collective_s: Column
    step_overhead_s: Column
    layer_launch_s: Column
    jitter_per_doubling: Column

    @classmethod
    def of(cls, profile: Profile) -> Efficiency:
        """The columns of one profile, each 0-d."""
        return cls.from_values(**{name: getattr(profile, name) for name in cls.names()})
