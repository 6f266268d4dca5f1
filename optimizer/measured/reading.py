"""From the rows of a run file to the table of those that can be predicted.

A row that does not say enough is skipped with the missing fact as the reason; nothing that decides the time is guessed.
What a row leaves open and its framework decides (ZeRO stage, sequence parallelism, gradient format) follows the
framework. The ``row_*`` modules each read one part of a row.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from catalogs.catalog import Catalog
from catalogs.framework import Framework
from catalogs.runs import Run
from optimizer.measured.row_device import Devices
from optimizer.measured.row_layout import layout_of
from optimizer.measured.row_model import model_of
from optimizer.measured.row_names import framework_of, precision_of
from optimizer.measured.row_recipe import Recipes
from optimizer.measured.row_tuning import tuning_of
from optimizer.measured.skipped import SkipError, Skipped
from optimizer.measured.table import Row, RunTable, stacked

NOT_MODELLED = {
    "hybrid_mamba": "state-space layers are not modelled",
    "hybrid_linear_attention": "linear-attention layers are not modelled",
    "sparse_attention": "learned sparse attention is not modelled",
    "tp_2d": "two-dimensional tensor parallelism is not modelled",
    "dualpipe": "the DualPipe schedule is not modelled",
    "swap_optimizer": "optimizer state swapped to host is not modelled",
    "swap_attention": "activations swapped to host are not modelled",
}
"""Flags of rows that cannot be predicted, with the reason."""

PACKED_EXAMPLE_TOKENS = 200.0
"""Mean example of rows that pack several into a sequence: SQuAD v1.1, by the FLOPs that its publishers count per token
100 to 250. Attention stays within an example, so that its share of the time is small whatever the exact length."""


def run_table(catalog: Catalog, runs: Iterable[Run], *, timed: bool = True) -> tuple[RunTable | None, list[Skipped]]:
    """The predictable rows as one table (None if there is none), and the others with their reasons.

    Rows that the file marks ``suspect`` are skipped.

    Args:
        catalog: what exists.
        runs: rows of a file.
        timed: skip rows without a measured time; False keeps those with measured memory.
    """
    reader = _Reader(catalog, timed)
    rows: list[Row] = []
    skipped: list[Skipped] = []
    for run in runs:
        try:
            rows.append(reader.row(run))
        except SkipError as error:
            skipped.append(Skipped(run, str(error)))
    return (stacked(rows) if rows else None), skipped


class _Reader:
    """Turns single rows into the terms of the cost models."""

    def __init__(self, catalog: Catalog, timed: bool) -> None:
        self._catalog = catalog
        self._timed = timed
        self._published = list(catalog.models.values())
        self._devices = Devices(catalog)
        self._recipes = Recipes()

    def row(self, run: Run) -> Row:
        """One row.

        Raises:
            SkipError: a fact is missing, or the row has something that is not modelled.
        """
        framework = self._modelled_framework(run)
        precision = precision_of(run)
        measured = run.measured_step_s
        if measured is None and (self._timed or run.mem_gib is None):
            raise SkipError("neither step_s nor tokens_per_s_per_accel with gbs, seq and n_accel is given")
        model = model_of(run, framework, self._published)
        shard, pipe, replicas = layout_of(run, framework, model)
        assert run.seq
        return Row(
            run=run,
            accelerator=run.accelerator,
            framework=framework.name,
            precision=precision,
            model=model,
            shard=shard,
            recipe=self._recipes.of(run, framework, precision),
            device=self._devices.of(run, precision),
            pipe=pipe,
            replicas=replicas,
            measured_s=np.nan if measured is None else measured,
            span=min(PACKED_EXAMPLE_TOKENS, run.seq) if "packed_sequences" in run.features else float(run.seq),
            tuning=tuning_of(run, framework, model),
        )

    def _modelled_framework(self, run: Run) -> Framework:
        """The framework of a row that is worth reading on."""
        if run.suspect:
            raise SkipError(f"suspect: {run.suspect}")
        for flag, reason in NOT_MODELLED.items():
            if flag in run.features:
                raise SkipError(reason)
        framework = framework_of(self._catalog, run)
        known = self._catalog.accelerators.get(run.accelerator)
        if known is not None and known.vendor not in framework.vendors:
            raise SkipError(f"{framework.name} does not run on {known.vendor} accelerators by the catalog")
        return framework
