"""From what a user typed to a :class:`~optimizer.job.Job`: defaults filled in, each one said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

from catalogs.catalog import Catalog
from catalogs.errors import UsageError
from catalogs.offer import Tenure
from catalogs.profile import Precision
from catalogs.resolve import resolve_model
from optimizer.job import DEFAULT_TENURES, EVEN, Job, RecoveryName

DEFAULT_SEQ = 4096
DEFAULT_MAX_ACCELERATORS = 16384
BATCH_TOLERANCE = 0.05

TENURE_WORDS: dict[str, tuple[Tenure, ...]] = {
    "rent": ("on_demand", "reserved_1y", "reserved_3y", "capacity_block"),
    "reserved": ("reserved_1y", "reserved_3y"),
    "all": get_args(Tenure),
} | {tenure: (tenure,) for tenure in get_args(Tenure)}
"""Words that ``--offers`` understands besides offer names."""


def read_job(
    catalog: Catalog,
    model: str,
    tokens: float,
    *,
    deadline_s: float | None = None,
    hardware: Sequence[str] = (),
    budget_usd: float | None = None,
    max_accelerators: int | None = None,
    seq: int | None = None,
    global_batch: int | None = None,
    global_batch_tokens: int | None = None,
    precision: Precision | None = None,
    frameworks: Sequence[str] = (),
    offers: Sequence[str] = (),
    optimizer: str = "adamw",
    goodput: float | None = None,
    recovery: RecoveryName = "automatic",
    confidence: float = EVEN,
) -> Job:
    """The job that a request means; what it leaves open is filled in and said in ``assumptions``.

    Args:
        catalog: where names are looked up.
        model: a catalog name, the path of a config file, or a bare size such as ``70B``.
        tokens: training tokens.
        deadline_s: latest end; None for none.
        hardware: accelerator names; empty for all.
        budget_usd: most to spend; None for no limit.
        max_accelerators: largest cluster; None for the default.
        seq: sequence length; the model's own if not given.
        global_batch: sequences per step, exactly.
        global_batch_tokens: tokens per step, about; if neither is given, the model's own recipe.
        precision: training precision; by default bf16, fp16 where the accelerator has no bf16.
        frameworks: framework names; the usual one of each vendor if empty.
        offers: offer names, or words of :data:`TENURE_WORDS`.
        optimizer: optimizer name.
        goodput: share of time that makes progress; modelled if not given.
        recovery: how the job recovers from an interruption.
        confidence: probability with which the deadline must be met, and the memory must suffice.

    Raises:
        UsageError: contradictory or senseless values.
        UnknownNameError: a name nobody knows.
        DataFileError: a model file is broken.
    """
    if global_batch is not None and global_batch_tokens is not None:
        raise UsageError("give --global-batch or --global-batch-tokens, not both")
    if goodput is not None and recovery != "automatic":
        raise UsageError(f"a stated goodput takes the place of recovery {recovery!r}: give one of them")
    record, said = resolve_model(catalog, model)
    said = list(said)
    if seq is None:
        seq = record.seq or DEFAULT_SEQ
        said.append(f"sequence length {seq} tokens" + (f", as {record.name} was trained" if record.seq else ""))
    tolerance = BATCH_TOLERANCE
    if global_batch is not None:
        tolerance = 0.0
    else:
        if global_batch_tokens is not None:
            batch_tokens = float(global_batch_tokens)
        else:
            batch_tokens = record.batch_tokens or catalog.assumption("batch-tokens")
            origin = f"as {record.name} was trained" if record.batch_tokens else "the catalog's assumption"
            said.append(f"global batch about {batch_tokens / 1e6:.3g}M tokens, {origin}")
        if not batch_tokens > 0 or not seq > 0:
            raise UsageError("--global-batch-tokens and --seq must be above zero")
        global_batch = max(round(batch_tokens / seq), 1)
    if tokens < global_batch * seq:
        raise UsageError(
            f"{tokens:.6g} tokens are less than one step of {global_batch:.6g} sequences of {seq:.6g} tokens; "
            "train on more, or lower --global-batch"
        )
    tenures, names = _offers(offers)
    return Job(
        model=record,
        tokens=tokens,
        deadline_s=math.inf if deadline_s is None else deadline_s,
        hardware=tuple(dict.fromkeys(hardware)),
        budget_usd=math.inf if budget_usd is None else budget_usd,
        max_accelerators=DEFAULT_MAX_ACCELERATORS if max_accelerators is None else max_accelerators,
        seq=seq,
        global_batch=global_batch,
        batch_tolerance=tolerance,
        precision=precision or "auto",
        frameworks=tuple(dict.fromkeys(frameworks)),
        optimizer=optimizer,
        tenures=tenures,
        offers=names,
        goodput=goodput,
        recovery=recovery,
        confidence=confidence,
        assumptions=tuple(said),
    )


def _offers(wanted: Sequence[str]) -> tuple[tuple[Tenure, ...], tuple[str, ...]]:
    """Tenures and offer names in a list of words."""
    if not wanted:
        return DEFAULT_TENURES, ()
    tenures: list[Tenure] = []
    names = []
    for word in wanted:
        key = word.replace("-", "_")
        if key in TENURE_WORDS:
            tenures.extend(TENURE_WORDS[key])
        else:
            names.append(word)
    if tenures and names:
        raise UsageError(
            f"--offers mixes ways of paying ({', '.join(tenures)}) with offer names ({', '.join(names)}); "
            "name offers or ways of paying, not both"
        )
    return tuple(dict.fromkeys(tenures)) or DEFAULT_TENURES, tuple(names)
