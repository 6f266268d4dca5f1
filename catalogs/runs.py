"""Measured training runs: one row of a CSV file each, as typed records.

A file has one row per measured configuration. Required columns are ``id`` and those a row needs to say what ran; an
empty cell means that the source does not say, and columns that are not known here are ignored.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, field_validator

from catalogs.errors import DataFileError
from catalogs.loading import PLAIN_NUMBER, read_text, refuse_other_separators

REQUIRED_COLUMNS = ("id", "accelerator", "n_accel", "framework", "layers", "hidden", "seq", "gbs")
"""Columns without which no row of a file could be predicted."""


class Run(BaseModel):
    """One measured configuration. ``None`` stands for what the source does not say.

    Attributes:
        id: unique slug.
        source, model: where it was published and what was trained; groups of rows that belong together.
        accelerator, n_accel, accel_per_node: hardware.
        inter_gbps_per_accel: network bandwidth per accelerator, Gbit/s.
        framework, software, features: what ran; flags separated by ``;`` in the file.
        layers to window: the architecture, as in :class:`catalogs.model.Model` (for a truncated model what ran).
        shared_experts: how many shared experts of width ``moe_ffn``.
        seq, gbs, mbs: sequence length, global and micro batch in sequences.
        tp, pp, vpp, cp, ep, etp, dp: parallel degrees.
        zero, zero_group: ZeRO stage and sharding group in ranks.
        sp: whether Megatron sequence parallelism is on.
        recompute: ``none``, ``selective``, ``full`` or ``other:`` and a description.
        precision, grad_dtype, master_dtype, optimizer, offload: number formats and state.
        tokens_per_s_per_accel, step_s: the measured speed, either or both.
        mem_gib, mem_kind: measured peak memory, and whether ``allocated``, ``reserved`` or what the ``device`` reports.
        task: ``pretrain``, ``sft``, ``lora`` or ``toy``.
        notes: what else the source says; launch flags quoted there count.
        suspect: why the row looks wrong; such rows are left out of fits and scores.
        line: line of the file.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    id: str = Field(min_length=1)
    source: str = ""
    year: str = ""
    accelerator: str = ""
    n_accel: PositiveInt | None = None
    accel_per_node: PositiveInt | None = None
    inter_gbps_per_accel: float | None = Field(default=None, gt=0)
    framework: str = ""
    model: str = ""
    layers: PositiveInt | None = None
    hidden: PositiveInt | None = None
    heads: PositiveInt | None = None
    kv_heads: PositiveInt | None = None
    head_dim: PositiveInt | None = None
    ffn: NonNegativeInt | None = None
    gated: bool | None = None
    vocab: PositiveInt | None = None
    tied: bool | None = None
    experts: PositiveInt | None = None
    topk: PositiveInt | None = None
    moe_ffn: PositiveInt | None = None
    shared_experts: NonNegativeInt | None = None
    moe_layers: NonNegativeInt | None = None
    attention: str = ""
    window: PositiveInt | None = None
    seq: PositiveInt | None = None
    gbs: PositiveInt | None = None
    mbs: PositiveInt | None = None
    tp: PositiveInt | None = None
    pp: PositiveInt | None = None
    vpp: PositiveInt | None = None
    cp: PositiveInt | None = None
    ep: PositiveInt | None = None
    etp: PositiveInt | None = None
    dp: PositiveInt | None = None
    zero: Literal[0, 1, 2, 3] | None = None
    zero_group: PositiveInt | None = None
    sp: bool | None = None
    recompute: str = ""
    precision: str = ""
    offload: str = ""
    grad_dtype: str = ""
    master_dtype: str = ""
    optimizer: str = ""
    fp8_recipe: str = ""
    power_cap_w: float | None = Field(default=None, gt=0)
    tokens_per_s_per_accel: float | None = Field(default=None, gt=0)
    step_s: float | None = Field(default=None, gt=0)
    mem_gib: float | None = Field(default=None, gt=0)
    mem_kind: str = ""
    software: str = ""
    features: frozenset[str] = frozenset()
    task: str = ""
    notes: str = ""
    suspect: str = ""
    line: int = 0

    @field_validator("features", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return frozenset(filter(None, value.split(";"))) if isinstance(value, str) else value

    @field_validator("zero", mode="before")
    @classmethod
    def _whole(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value.isdigit() else value

    @property
    def measured_step_s(self) -> float | None:
        """Seconds per step: as given, or the tokens of a step over the measured tokens per second."""
        if self.step_s is not None:
            return self.step_s
        if not (self.tokens_per_s_per_accel and self.gbs and self.seq and self.n_accel):
            return None
        return self.gbs * self.seq / (self.tokens_per_s_per_accel * self.n_accel)

    @property
    def group(self) -> tuple[str, ...]:
        """Rows of one group are one campaign on one architecture: they stay on one side of any split."""
        return (self.source, self.accelerator, *(str(v) for v in (self.layers, self.hidden, self.heads, self.experts)))


def read_runs(path: Path | str) -> list[Run]:
    """The rows of a CSV file of measured runs, in order.

    Raises:
        DataFileError: the file is unreadable, lacks a required column, repeats an id, or a cell is not what its
            column holds; the message has file and line.
    """
    path = Path(path)
    runs: list[Run] = []
    seen: dict[str, int] = {}
    for line, cells in _rows(path):
        try:
            run = Run.model_validate({**cells, "line": line})
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "row"
            name, found = cells.get("id", "?"), first["input"]
            should = PLAIN_NUMBER.get(first["type"])
            said = f"{found!r} is not {should}" if should else f"{first['msg']} (found {found!r})"
            raise DataFileError(f"{path}:{line}: run {name!r}: column {field}: {said}") from None
        if run.id in seen:
            raise DataFileError(f"{path}:{line}: run id {run.id!r} is already on line {seen[run.id]}; make it unique")
        seen[run.id] = line
        runs.append(run)
    return runs


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and non-empty cells of every row."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = list(reader.fieldnames or ())
        refuse_other_separators(path, header)
        twice = sorted({column for column in header if header.count(column) > 1})
        if twice:
            raise DataFileError(f"{path}:1: column {', '.join(twice)} appears twice")
        missing = [column for column in REQUIRED_COLUMNS if column not in header]
        if missing:
            raise DataFileError(
                f"{path}:1: no column {', '.join(missing)}; a file of runs needs {', '.join(REQUIRED_COLUMNS)}"
            )
        for cells in reader:
            line = reader.line_num
            if None in cells or None in cells.values():
                raise DataFileError(f"{path}:{line}: row does not have {len(header)} cells")
            yield line, {key: cell.strip() for key, cell in cells.items() if cell.strip() and key != "line"}
    except csv.Error as error:
        raise DataFileError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None
