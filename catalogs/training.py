"""Published trainings from start to end: what was trained on what and how, and how long it took."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from catalogs.framework import Framework, Recompute, Schedule
from catalogs.naming import unknown_name
from catalogs.profile import Precision
from catalogs.quantity import BytesPerSecond, FlopPerSecond
from catalogs.record import Record


class PublishedLayout(BaseModel):
    """How a training was laid out, and on what software and network, as far as that was published.

    Attributes:
        tp, pp, vpp, cp, ep, etp, dp: parallel degrees; those that a publication has no word for are 1.
        zero: ZeRO stage.
        micro_batch, global_batch: sequences.
        recompute: recomputed activations.
        sequence_parallel: whether the residual stream is split over tp; absent: as the framework does by default.
        schedule: of the pipeline; absent: as ``vpp`` says.
        software: fields of the framework's record in which the software of the training differed from it, say
            ``flash_attention: false`` before there was any.
        scale_out_bytes_per_s_per_accelerator: network of its cluster; absent: that of the accelerator's usual server.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tp: PositiveInt
    pp: PositiveInt
    vpp: PositiveInt = 1
    cp: PositiveInt = 1
    ep: PositiveInt = 1
    etp: PositiveInt = 1
    dp: PositiveInt
    zero: Literal[0, 1, 2, 3]
    micro_batch: PositiveInt
    global_batch: PositiveInt
    recompute: Recompute
    sequence_parallel: bool | None = None
    schedule: Schedule | None = None
    software: dict[str, bool] = Field(default_factory=dict)
    scale_out_bytes_per_s_per_accelerator: BytesPerSecond | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> PublishedLayout:
        if self.global_batch % (self.dp * self.micro_batch):
            raise ValueError(
                f"global_batch {self.global_batch} does not divide over dp {self.dp} with micro_batch "
                f"{self.micro_batch}; correct one of them"
            )
        switches = [name for name, field in Framework.model_fields.items() if field.annotation is bool]
        for name in self.software:
            if name not in switches:
                raise ValueError(unknown_name("switch of a framework", name, switches))
        return self

    @property
    def accelerators(self) -> int:
        """Accelerators in use."""
        return self.tp * self.pp * self.cp * self.dp


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
        uninterrupted: hours and days are those of the tokens at the speed of training: no lost time is in them.
        step_s: published seconds of a step of the layout's global batch.
        tokens_per_s_per_accelerator: published speed while training progresses.
        model_flops_per_s: the same in model FLOPs (full attention, no recomputation) per accelerator.
        hardware_flops_per_s: the same in hardware FLOPs (full attention, recomputation counted) per accelerator.
        layout: how it was laid out, where the publication says enough of it.
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
    uninterrupted: bool = False
    step_s: float | None = Field(default=None, gt=0)
    tokens_per_s_per_accelerator: float | None = Field(default=None, gt=0)
    model_flops_per_s: FlopPerSecond | None = Field(default=None, gt=0)
    hardware_flops_per_s: FlopPerSecond | None = Field(default=None, gt=0)
    layout: PublishedLayout | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        if self.step_s is not None and self.layout is None:
            raise ValueError(
                "step_s is that of a global batch; give the layout, or tokens_per_s_per_accelerator instead"
            )
        if self.layout is not None and self.layout.accelerators != self.accelerators:
            raise ValueError(
                f"tp·pp·cp·dp of the layout is {self.layout.accelerators}, not the {self.accelerators} accelerators; "
                "correct one of them"
            )
        for name in (*self.sources, *self.estimated):
            owner, _, field = name.partition(".")
            if owner == "layout" and field and field not in PublishedLayout.model_fields:
                raise ValueError(unknown_name("field of a layout", field, PublishedLayout.model_fields))
        return self
