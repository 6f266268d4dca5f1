"""The changes that may repair a layout: one value of one or two axes, cluster and global batch kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.physics import Physics
from optimizer.space_rules import MAX_PIPELINE, MAX_TENSOR_PARALLEL
from optimizer.validity import broken_rules
from optimizer.whole_numbers import divisors


@dataclass(frozen=True)
class Change:
    """One value of one axis.

    Attributes:
        axis: what is changed.
        text: the change in words.
        fields: values of :class:`~optimizer.configuration.Layout` that it sets.
    """

    axis: str
    text: str
    fields: dict[str, Any]


def changes(layout: Layout, physics: Physics) -> list[Change]:
    """Every single change that can save memory without more accelerators or another batch."""
    f = physics.site.framework
    found: list[Change] = []

    def add(axis: str, text: str, **fields: Any) -> None:
        found.append(Change(axis, text, fields))

    for size in divisors(layout.micro_batch)[:-1]:
        add("micro-batch", f"micro-batch {size} instead of {layout.micro_batch}", micro_batch=size)
    for text in _recomputation(layout, physics):
        add("recompute", f"recompute {text} instead of {layout.recompute}", recompute=text)
    for stage in f.zero_stages:
        if stage > layout.zero:
            add("zero", f"ZeRO {stage} instead of {layout.zero}", zero=stage)
    ranks = layout.accelerators
    for pp in divisors(ranks // (layout.tp * layout.cp)):
        if pp != layout.pp and pp <= MAX_PIPELINE:
            add("pp", f"{pp} pipeline stages instead of {layout.pp}", pp=pp, vpp=1, schedule="1f1b")
    if layout.vpp > 1:
        add("vpp", f"no interleaving instead of {layout.vpp} chunks per stage", vpp=1, schedule="1f1b")
    for cp in divisors(ranks // (layout.tp * layout.pp)):
        if cp > layout.cp:
            add("cp", f"context parallel {cp} instead of {layout.cp}", cp=cp)
    for tp in divisors(ranks // (layout.cp * layout.pp)):
        if tp != layout.tp and tp <= MAX_TENSOR_PARALLEL:
            add(
                "tp",
                f"tensor parallel {tp} instead of {layout.tp}",
                tp=tp,
                sequence_parallel=tp > 1 and f.sequence_parallel,
            )
    if not layout.sequence_parallel and layout.tp > 1:
        add("sequence-parallel", "sequence parallelism", sequence_parallel=True)
    if int(physics.architecture.experts):
        for ep in divisors(int(physics.architecture.experts)):
            if ep != layout.ep:
                add("ep", f"expert parallel {ep} instead of {layout.ep}", ep=ep)
    for offload in f.offload:
        if offload != layout.offload and offload != "none":
            add("offload", f"{offload} in host memory", offload=offload)
    return found


def _recomputation(layout: Layout, physics: Physics) -> Iterator[str]:
    """Deeper recomputation than the layout's, from the lightest."""
    kinds = physics.site.framework.recompute
    if layout.recompute == "none" and "selective" in kinds:
        yield "selective"
    if layout.recompute == "full" or "full" not in kinds:
        return
    first = int(layout.recompute.removeprefix("first-")) if layout.recompute.startswith("first-") else 0
    per_stage = -(-int(physics.architecture.layers) // layout.pp)
    for layers in range(first + 1, per_stage):
        yield f"first-{layers}"
    yield "full"


def repaired(layout: Layout, several: tuple[Change, ...], physics: Physics, job: Job) -> Layout | None:
    """The layout with changes on the same accelerators and global batch (None: it does not exist)."""
    fields: dict[str, Any] = {}
    for change in several:
        fields |= change.fields
    one = replace(layout, **fields)
    dp, rest = divmod(layout.accelerators, one.tp * one.cp * one.pp)
    if rest or not dp:
        return None
    micro_batches, rest = divmod(layout.global_batch, dp * one.micro_batch)
    if rest or not micro_batches:
        return None
    if one.recompute.startswith("first-"):
        per_stage = -(-int(physics.architecture.layers) // one.pp)
        if int(one.recompute.removeprefix("first-")) >= per_stage:
            return None
    group = one.zero_group if one.zero >= 2 and (dp * one.cp) % max(one.zero_group, 1) == 0 else 0
    one = replace(one, dp=dp, micro_batches=micro_batches, zero_group=group)
    return None if broken_rules(one, physics, job) else one


def combined(layout: Layout, physics: Physics, job: Job, *, most: int = 2) -> list[tuple[tuple[Change, ...], Layout]]:
    """Every layout that differs from a layout by changes of at most ``most`` axes."""
    single = changes(layout, physics)
    found: list[tuple[tuple[Change, ...], Layout]] = []
    for count in range(1, most + 1):
        for several in combinations(single, count):
            if len({change.axis for change in several}) < count:
                continue
            if (one := repaired(layout, several, physics, job)) is not None:
                found.append((several, one))
    return found
