"""Fine-tuning on small clusters: full, LoRA or QLoRA, and pairs of answers (DPO) beside a reference model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UsageError
from costmodels.adapters import total_adapter_params
from costmodels.parameters import total_params
from optimizer.configuration import Configuration
from optimizer.configure import configure
from optimizer.inverse.least import fastest, ground
from optimizer.job import Job
from optimizer.physics import Physics
from optimizer.planning import SCHEMA_VERSION

MOST_ACCELERATORS = 64
"""Largest cluster for fine-tuning that is looked at."""


@dataclass(frozen=True)
class Tuned:
    """A fine-tuning run.

    Attributes:
        method: what was asked for.
        trainable_params, params: of the model.
        hours: of the whole run, goodput included, with the pass that computes the answers of the reference model
            beforehand where that is asked for.
        reference_hours: of that pass (0: there is none).
        configuration: the fastest layout with all figures.
    """

    method: str
    trainable_params: float
    params: float
    hours: float
    reference_hours: float
    configuration: Configuration

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {
            "schema_version": SCHEMA_VERSION,
            "method": self.method,
            "trainable_params": self.trainable_params,
            "params": self.params,
            "hours": self.hours,
            "reference_hours": self.reference_hours,
            "configuration": self.configuration.to_json(),
        }


def sequences(examples: float, epochs: float, mean_tokens: float, seq: int, *, packed: bool, pairs: bool) -> float:
    """Sequences of ``seq`` tokens that a run trains on.

    Packed sequences hold ``seq / mean`` examples each; padded ones hold one. A pair counts as two examples.

    >>> sequences(1000, 3, 512, 4096, packed=True, pairs=False), sequences(1000, 3, 512, 4096, packed=False, pairs=True)
    (375.0, 6000.0)
    """
    if mean_tokens > seq:
        raise UsageError(f"examples of {mean_tokens:g} tokens do not fit sequences of {seq}")
    each = mean_tokens / seq if packed else 1.0
    return examples * epochs * (2.0 if pairs else 1.0) * each


def tune(job: Job, catalog: Catalog, accelerators: int | None = None, *, epochs: float = 1.0) -> Tuned:
    """The fastest way to fine-tune on at most so many accelerators, or on the fewest on which it fits.

    The whole space of layouts is searched exactly, as for a plan.

    Args:
        job: the question; its ``tuning`` says how.
        catalog: what exists.
        accelerators: None for the fewest.
        epochs: passes over the examples; a precomputed reference needs one alone.

    Raises:
        InfeasibleError: it does not fit.
        UsageError: the job has no fine-tuning.
    """
    if job.tuning is None:
        raise UsageError("the job says nothing about fine-tuning")
    counts = [accelerators] if accelerators else [n for n in range(1, MOST_ACCELERATORS + 1) if n < 8 or n % 8 == 0]
    for count in counts:
        here = replace(job, max_accelerators=count)
        site = ground(here, catalog)
        layout = fastest(here, site, catalog)
        if layout is not None:
            physics = Physics.of(here, site, catalog)
            return _tuned(here, catalog, physics, configure(physics, layout, None), epochs)
    raise InfeasibleError(
        f"{job.tuning.method} fine-tuning of {job.model.name} at {job.seq} tokens does not fit on {counts[-1]} "
        f"{job.hardware[0]}; allow more with --accelerators, shorter sequences, or another --method"
    )


def _tuned(job: Job, catalog: Catalog, physics: Physics, one: Configuration, epochs: float) -> Tuned:
    assert job.tuning is not None
    a, tuning = physics.architecture, job.tuning
    params = float(total_params(a))
    before = 0.0
    if tuning.reference == "precomputed":
        # What a reference beside the training passes would add, once per example instead of once per epoch.
        beside = replace(job, tuning=replace(tuning, reference="beside"))
        with_it = configure(Physics.of(beside, physics.site, catalog), one.layout, None)
        before = max(with_it.days - one.days, 0.0) * 24.0 / epochs
    trained = tuning.columns(physics.site.framework).adapters
    return Tuned(
        method=tuning.method,
        trainable_params=float(total_adapter_params(a, trained)) if tuning.adapted else params,
        params=params,
        hours=24.0 * one.days + before,
        reference_hours=before,
        configuration=one,
    )


def hours_text(hours: float) -> str:
    """Hours for people.

    >>> hours_text(0.5), hours_text(30.0), hours_text(100.0)
    ('30 min', '30.0 h', '4.2 days')
    """
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.1f} days"


def whole_batches(count: float, global_batch: int) -> float:
    """Sequences rounded up to whole steps, at least one.

    >>> whole_batches(375.0, 64)
    384.0
    """
    return float(max(math.ceil(count / global_batch), 1) * global_batch)
