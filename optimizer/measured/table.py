"""Measured runs as columns: thousands of rows are predicted at once by the formulas that predict one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from catalogs.model import Model
from catalogs.profile import Precision
from catalogs.runs import Run
from costmodels.adapters import Tuning
from costmodels.architecture import Architecture
from costmodels.columns import Column
from costmodels.device import Device
from costmodels.efficiency import Efficiency
from costmodels.layers import layers_of
from costmodels.layout import Pipe, Replicas, Shard
from costmodels.recipe import Recipe
from costmodels.setting import Setting
from costmodels.stage_costs import stage_costs
from costmodels.step import step_seconds

Combination = tuple[str, str, Precision]
"""Accelerator, framework and precision: what a profile is for."""


@dataclass(frozen=True, eq=False)
class RunTable:
    """Predictable rows as columns, everything but the profiles' constants.

    Attributes:
        runs: the rows, in the order of the columns.
        accelerators, frameworks, precisions: catalog names of each row.
        setting: of every row, its ``efficiency`` a placeholder until :meth:`predict`.
        pipe, replicas: the rest of the layouts.
        measured_s: measured seconds per step (NaN where only memory was measured).
        may_overlap: 0 where the row says that its communication does not overlap with compute.
        span: tokens over which attention reaches, the sequence or an example packed into it.
        tuning: which rows train adapters beside frozen weights.
    """

    runs: tuple[Run, ...]
    accelerators: tuple[str, ...]
    frameworks: tuple[str, ...]
    precisions: tuple[Precision, ...]
    architecture: Architecture
    shard: Shard
    recipe: Recipe
    device: Device
    seq: Column
    pipe: Pipe
    replicas: Replicas
    measured_s: Column
    may_overlap: Column
    span: Column
    tuning: Tuning

    def __len__(self) -> int:
        return len(self.runs)

    @cached_property
    def is_moe(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether each row's model has experts."""
        return np.asarray(self.architecture.experts > 0)

    @cached_property
    def is_adapted(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether each row trains adapters alone."""
        return np.asarray(self.tuning.frozen > 0)

    @cached_property
    def combinations(self) -> list[Combination]:
        """Accelerator, framework and precision of every row."""
        return list(zip(self.accelerators, self.frameworks, self.precisions, strict=True))

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The group of every row (:attr:`catalogs.runs.Run.group`)."""
        return tuple(run.group for run in self.runs)

    def setting(self, shard: Shard, recipe: Recipe, efficiency: Efficiency) -> Setting:
        """What the layer level needs, for all rows."""
        tuning = self.tuning if self.is_adapted.any() else None
        return Setting(
            self.architecture,
            shard,
            recipe,
            self.device,
            efficiency,
            self.seq,
            span=self.span,
            tuning=tuning,
        )

    def components(self, efficiency: Efficiency) -> dict[str, Column]:
        """Seconds of a step by component for every row (:func:`costmodels.step.step_seconds`)."""
        e = replace(
            efficiency,
            data_overlap=efficiency.data_overlap * self.may_overlap,
            tensor_overlap=efficiency.tensor_overlap * self.may_overlap,
            expert_overlap=efficiency.expert_overlap * self.may_overlap,
        )
        x = self.setting(self.shard, self.recipe, e)
        costs = stage_costs(x, layers_of(x), self.pipe)
        return step_seconds(x, costs, self.pipe, self.replicas)

    def predict(self, efficiency: Efficiency) -> Column:
        """Predicted seconds per step of every row.

        Args:
            efficiency: constants, 0-d or one entry per row.
        """
        return sum(self.components(efficiency).values(), start=np.zeros(len(self)))

    def select(self, rows: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.intp]]) -> RunTable:
        """The table of some rows, by index."""
        index = np.asarray(rows, dtype=np.intp)

        def take(column: Column) -> Column:
            return column[index]

        architecture = Architecture(
            **{name: take(getattr(self.architecture, name)) for name in Architecture.__dataclass_fields__}
        )
        return RunTable(
            runs=tuple(self.runs[i] for i in index),
            accelerators=tuple(self.accelerators[i] for i in index),
            frameworks=tuple(self.frameworks[i] for i in index),
            precisions=tuple(self.precisions[i] for i in index),
            architecture=architecture,
            shard=self.shard.map(take),
            recipe=self.recipe.map(take),
            device=self.device.map(take),
            seq=take(self.seq),
            pipe=self.pipe.map(take),
            replicas=self.replicas.map(take),
            measured_s=take(self.measured_s),
            may_overlap=take(self.may_overlap),
            span=take(self.span),
            tuning=self.tuning.map(take),
        )


@dataclass(frozen=True, eq=False)
class Row:
    """One predictable row in the terms of the cost models, every column 0-d; attributes as of :class:`RunTable`."""

    run: Run
    accelerator: str
    framework: str
    precision: Precision
    model: Model
    shard: Shard
    recipe: Recipe
    device: Device
    pipe: Pipe
    replicas: Replicas
    measured_s: float
    span: float
    tuning: Tuning


def stacked(rows: Sequence[Row]) -> RunTable:
    """Rows as one table, in their order."""
    return RunTable(
        runs=tuple(row.run for row in rows),
        accelerators=tuple(row.accelerator for row in rows),
        frameworks=tuple(row.framework for row in rows),
        precisions=tuple(row.precision for row in rows),
        architecture=Architecture.stack([row.model for row in rows]),
        shard=Shard.stack([row.shard for row in rows]),
        recipe=Recipe.stack([row.recipe for row in rows]),
        device=Device.stack([row.device for row in rows]),
        seq=np.array([row.run.seq for row in rows], dtype=np.float64),
        pipe=Pipe.stack([row.pipe for row in rows]),
        replicas=Replicas.stack([row.replicas for row in rows]),
        measured_s=np.array([row.measured_s for row in rows]),
        may_overlap=np.array([0.0 if "no_overlap" in row.run.features else 1.0 for row in rows]),
        span=np.array([row.span for row in rows]),
        tuning=Tuning.stack([row.tuning for row in rows]),
    )
