"""Published trainings from start to end: what was trained on what, and how long it took."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from catalogs.profile import Precision
from catalogs.record import Record


class Training(Record):
    """One published end-to-end training run.

    Attributes:
        model, accelerator, framework: catalog names.
        accelerators: size of the cluster.
        tokens: trained on.
        seq: sequence length.
        precision: of training.
        hours: accelerator-hours as published.
        days: wall-clock days as published.
    """

    model: str
    accelerator: str
    framework: str
    accelerators: PositiveInt
    tokens: float = Field(gt=0)
    seq: PositiveInt
    precision: Precision
    hours: float | None = Field(default=None, gt=0)
    days: float | None = Field(default=None, gt=0)
