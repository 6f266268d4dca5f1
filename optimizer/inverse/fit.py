"""What fits: the largest model, the longest sequence and the largest micro-batch on given hardware."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from catalogs.catalog import Catalog
from catalogs.errors import InfeasibleError, UsageError
from catalogs.model import Model
from catalogs.shapes import LARGEST, SMALLEST, model_from_size
from costmodels.architecture import Architecture
from costmodels.parameters import total_params
from optimizer.configuration import Configuration
from optimizer.inverse.largest import largest_monotone, largest_of
from optimizer.inverse.least import Least, describe, fastest, ground, least_memory
from optimizer.job import Job
from optimizer.physics import Physics
from optimizer.planning import SCHEMA_VERSION
from optimizer.site import Site
from optimizer.space_rules import MIN_CONTEXT_TOKENS

GIB = 2.0**30

SEQUENCE_UNIT = 1024
"""Tokens by which sequence lengths grow: they divide over every context-parallel degree of the space."""

LONGEST = 2**27
"""Longest sequence looked at, in tokens."""

LARGEST_MICRO_BATCH = 2**16
"""Largest micro-batch looked at, in sequences."""

MOST_LAYERS = 2000
"""Deepest model looked at when a shape is made deeper."""


@dataclass(frozen=True)
class Fit:
    """The largest thing that fits.

    Attributes:
        question: what was asked, in words.
        value: the largest value that fits.
        unit: what one unit of it is, in words.
        step: size of one unit.
        binding: why one unit more does not fit.
        least_bytes, capacity_bytes: memory of the leanest layout that holds it, and of the device.
        configuration: the fastest layout that holds it (the leanest one where the micro-batch was asked for).
        model: the model of the answer.
        assumptions: what it rests on.
    """

    question: str
    value: float
    unit: str
    step: float
    binding: str
    least_bytes: float
    capacity_bytes: float
    configuration: Configuration
    model: Model
    assumptions: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {
            "schema_version": SCHEMA_VERSION,
            "question": self.question,
            "value": self.value,
            "unit": self.unit,
            "step": self.step,
            "binding": self.binding,
            "least_bytes": self.least_bytes,
            "capacity_bytes": self.capacity_bytes,
            "model": self.model.name,
            "params": _params(self.model),
            "configuration": self.configuration.to_json(),
            "assumptions": list(self.assumptions),
        }


def longest_sequence(job: Job, catalog: Catalog) -> Fit:
    """The longest sequence, in multiples of :data:`SEQUENCE_UNIT`, that some layout of the space holds.

    Between two powers of two times :data:`~optimizer.space_rules.MIN_CONTEXT_TOKENS` the space has the same layouts and
    their memory grows with the sequence, so bisection is exact there; the intervals are tried from the longest down.

    Raises:
        InfeasibleError: not even the shortest sequence fits.
    """
    site = ground(job, catalog)
    positions = job.model.learned_positions
    most = min(positions or LONGEST, LONGEST) // SEQUENCE_UNIT

    def at(units: int) -> Job:
        return replace(job, seq=units * SEQUENCE_UNIT)

    holds = _remembered(lambda units: _fits(least_memory(at(units), site, catalog)))
    # More context-parallel ranks than accelerators are of no use: from there on one interval is left.
    unit = MIN_CONTEXT_TOKENS // SEQUENCE_UNIT
    starts = [1] + [unit * 2**k for k in range(1, int(math.log2(min(job.max_accelerators, LONGEST))) + 1)]
    starts = [start for start in starts if start <= most]
    best = None
    for start, end in reversed(list(zip(starts, [*(s - 1 for s in starts[1:]), most], strict=True))):
        best = largest_monotone(start, end, holds)
        if best is not None:
            break
    if best is None:
        raise InfeasibleError(_nothing(job, site, least_memory(at(1), site, catalog), f"{SEQUENCE_UNIT} tokens"))
    if positions and best == most:
        binding = f"{job.model.name} has learned positions for {positions} tokens"
    elif best == most:
        binding = f"longer sequences than {LONGEST} tokens are not looked at"
    else:
        binding = _over(at(best + 1), site, catalog, least_memory(at(best + 1), site, catalog))
    asked = f"longest sequence of {job.model.name} on {job.max_accelerators} {job.hardware[0]}"
    return _answer(asked, best * SEQUENCE_UNIT, "tokens", SEQUENCE_UNIT, binding, at(best), site, catalog)


def largest_micro_batch(job: Job, catalog: Catalog) -> Fit:
    """The largest micro-batch in sequences that some layout holds; the global batch follows from it.

    Raises:
        InfeasibleError: not even one sequence fits.
    """
    site = ground(job, catalog)
    # Enough sequences for every replica to fill its pipeline; the batch then divides over any number of replicas.
    wide = replace(job, global_batch=job.max_accelerators * 128, batch_tolerance=0.5)

    def least(size: int) -> Least | None:
        return least_memory(wide, site, catalog, micro_batch=size)

    best = largest_monotone(1, LARGEST_MICRO_BATCH, lambda size: _fits(least(size)))
    if best is None:
        raise InfeasibleError(_nothing(job, site, least(1), "one sequence"))
    held = least(best)
    assert held is not None
    binding = f"micro-batches above {LARGEST_MICRO_BATCH} are not looked at"
    if best < LARGEST_MICRO_BATCH:
        binding = _over(wide, site, catalog, least(best + 1))
    asked = f"largest micro-batch of {job.model.name} at {job.seq} tokens on {job.max_accelerators} {job.hardware[0]}"
    return Fit(
        question=asked,
        value=best,
        unit="sequences",
        step=1,
        binding=binding,
        least_bytes=held.bytes,
        capacity_bytes=held.capacity_bytes,
        configuration=describe(wide, site, catalog, held.layout),
        model=job.model,
        assumptions=(*job.assumptions, "the global batch follows the micro-batch"),
    )


def largest_model(job: Job, catalog: Catalog, *, deepen: bool = False, step: float | None = None) -> Fit:
    """The largest dense Llama-style model by the rule for bare sizes, or the deepest model of the job's own shape.

    Sizes are multiples of ``step``. Shapes differ in what divides them, so a size may fit where a smaller one does not:
    every size above the one that bisection finds is looked at, up to the one whose bare state exceeds the memory.

    Args:
        job: hardware, accelerators and sequence; its model gives the shape when ``deepen`` is set.
        catalog: where names are looked up.
        deepen: vary the layers of the job's model instead of taking sizes from the rule.
        step: parameters between two sizes; default: a hundredth of the bound, rounded to 1, 2 or 5.

    Raises:
        InfeasibleError: not even the smallest fits.
        UsageError: the shape cannot be made deeper by whole layers.
    """
    site = ground(job, catalog)
    bound = _state_bound(job, site, catalog)
    if deepen:
        model_of, unit, size, low = _deeper(job.model), "layers", 1.0, 1
        high = min(_layers_within(job.model, bound), MOST_LAYERS)
    else:
        size = step or _round_step(bound / 100)
        model_of, unit, low = _sized(size), "parameters", max(math.ceil(SMALLEST / size), 1)
        high = math.floor(min(bound, LARGEST) / size)

    def at(units: int) -> Job | None:
        model = model_of(units)
        return None if model is None else replace(job, model=model)

    def least(units: int) -> Least | None:
        candidate = at(units)
        return None if candidate is None else least_memory(candidate, site, catalog)

    best = largest_of(low, high, _remembered(lambda units: _fits(least(units))))
    if best is None:
        raise InfeasibleError(_nothing(job, site, least(low), f"{low * size:.3g} {unit}"))
    following = at(best + 1)
    if following is None:
        binding = f"the rule has no shape of {(best + 1) * size:.4g} parameters"
    else:
        binding = _over(following, site, catalog, least_memory(following, site, catalog))
    answer = at(best)
    assert answer is not None
    shape = f"{job.model.name} with other numbers of layers" if deepen else "a dense Llama-style model"
    asked = f"largest {shape} at {job.seq} tokens on {job.max_accelerators} {job.hardware[0]}"
    return _answer(asked, best * size, unit, size, binding, answer, site, catalog)


def _answer(
    asked: str, value: float, unit: str, step: float, binding: str, job: Job, site: Site, catalog: Catalog
) -> Fit:
    least, layout = least_memory(job, site, catalog), fastest(job, site, catalog)
    assert least is not None
    return Fit(
        question=asked,
        value=value,
        unit=unit,
        step=step,
        binding=binding,
        least_bytes=least.bytes,
        capacity_bytes=least.capacity_bytes,
        configuration=describe(job, site, catalog, layout or least.layout),
        model=job.model,
        assumptions=(*job.assumptions, *site.notes, *([site.profile_note] if site.profile_note else [])),
    )


def _over(job: Job, site: Site, catalog: Catalog, least: Least | None) -> str:
    """Why the leanest layout of a job does not fit."""
    if least is None:
        return "no layout exists: the batch does not divide over the accelerators"
    one = describe(job, site, catalog, least.layout)
    name, size = max(one.memory.items(), key=lambda item: item[1])
    return (
        f"memory: one unit more needs {least.bytes / GIB:.2f} GiB of {least.capacity_bytes / GIB:.2f} GiB on stage "
        f"{one.peak_stage} even in the leanest layout, most of it {name.replace('_', ' ')} ({size / GIB:.2f} GiB)"
    )


def _nothing(job: Job, site: Site, least: Least | None, smallest: str) -> str:
    where = f"{job.max_accelerators} {site.accelerator.name}"
    if least is None:
        return f"nothing fits: no layout exists on {where} for {smallest}; change --global-batch or --accelerators"
    return (
        f"nothing fits: even {smallest} needs {least.bytes / GIB:.1f} GiB of {least.capacity_bytes / GIB:.1f} GiB on "
        f"{where}; allow more accelerators, other hardware, recomputation or offload"
    )


def _fits(least: Least | None) -> bool:
    return least is not None and least.fits


def _remembered(holds: Callable[[int], bool]) -> Callable[[int], bool]:
    known: dict[int, bool] = {}

    def remember(number: int) -> bool:
        if number not in known:
            known[number] = holds(number)
        return known[number]

    return remember


def _state_bound(job: Job, site: Site, catalog: Catalog) -> float:
    """Parameters whose weights and gradients alone fill all memory, perfectly sharded and the optimizer offloaded."""
    physics = Physics.of(job, site, catalog)
    r, d = physics.recipe, physics.device
    most = min(job.max_accelerators, site.max_accelerators)
    state = float(r.parameter_bytes + r.gradient_bytes + r.cast_bytes)
    if "optimizer" not in job.offload:
        state += float(r.master_bytes + r.moment_bytes)
    return float((d.memory_bytes - r.reserve_bytes) * most / state)


def _sized(step: float) -> Callable[[int], Model | None]:
    def model_of(units: int) -> Model | None:
        try:
            return model_from_size(f"{units * step / 1e6:.10f}".rstrip("0").rstrip(".") + "M")[0]
        except UsageError:
            return None

    return model_of


def _deeper(model: Model) -> Callable[[int], Model | None]:
    if model.moe is not None or model.window_layers:
        raise UsageError(f"--like {model.name}: only dense models without windowed layers can be made deeper")

    def model_of(layers: int) -> Model:
        return model.model_copy(update={"name": f"{model.name}-l{layers}", "layers": layers})

    return model_of


def _layers_within(model: Model, params: float) -> int:
    one, two = (_params(model.model_copy(update={"layers": n})) for n in (1, 2))
    return max(math.floor((params - one) / (two - one)) + 1, 1)


def _params(model: Model) -> float:
    return float(total_params(Architecture.of(model)))


def _round_step(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above a value.

    >>> [_round_step(value) for value in (9e8, 2.5e9, 1e9)]
    [500000000.0, 2000000000.0, 1000000000.0]
    """
    power = 10.0 ** math.floor(math.log10(value) + 1e-9)
    return float(max(factor * power for factor in (1.0, 2.0, 5.0) if factor * power <= value * (1 + 1e-9)))
