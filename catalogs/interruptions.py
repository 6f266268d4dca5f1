"""Published clusters and how often training on them was interrupted."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from catalogs.record import Record


class Interruptions(Record):
    """How often one published run, or the jobs of one cluster, were interrupted without a plan.

    Attributes:
        accelerator: catalog name.
        accelerators: size of the cluster; absent where it is not one.
        hours_per_interruption: accelerator-hours between two interruptions.
        interruptions: how many were counted (fractions: a rate over a time); absent where nobody says.
    """

    accelerator: str
    accelerators: PositiveInt | None = None
    hours_per_interruption: float = Field(gt=0)
    interruptions: float | None = Field(default=None, gt=0)
