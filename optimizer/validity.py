"""Whether one given layout is in the space: the same named rules, checked on a single layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from catalogs.framework import Framework
from costmodels.partition import can_partition
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.physics import Physics
from optimizer.space_rules import MAX_PIPELINE, MAX_TENSOR_PARALLEL, RULES


def broken_rules(layout: Layout, physics: Physics, job: Job) -> dict[str, str]:
    """Names of the rules (of :data:`optimizer.space_rules.RULES`) that a layout breaks, with what they ask of it.

    Limits that only bound the search (context slices, powers of two) do not apply to a layout somebody asks for.
    """
    a, f = physics.architecture, physics.site.framework
    heads, kv_heads, experts, layers = int(a.heads), int(a.kv_heads), int(a.experts), int(a.layers)
    widths = [width for width in (int(a.ffn), int(a.shared_ffn)) if width]
    ranks, split = layout.tp * layout.cp * layout.dp, layout.ep * layout.etp
    broken: dict[str, str] = {}

    def rule(name: str, holds: bool, asks: str) -> None:
        if not holds:
            broken.setdefault(name, asks)

    rule(
        "tensor-divides-heads",
        layout.tp <= MAX_TENSOR_PARALLEL and all(size % layout.tp == 0 for size in (heads, *widths)),
        f"tp {layout.tp} must divide the {heads} attention heads and the MLP width {' and '.join(map(str, widths))}, "
        f"and be at most {MAX_TENSOR_PARALLEL}",
    )
    rule(
        "tensor-matches-kv-heads",
        kv_heads % layout.tp == 0 or layout.tp % kv_heads == 0,
        f"tp {layout.tp} must divide the {kv_heads} key/value heads or be a multiple of them",
    )
    domain = int(physics.device.scale_up_domain)
    rule(
        "tensor-aligned",
        domain % layout.tp == 0 or layout.tp % domain == 0,
        f"tp {layout.tp} must divide the scale-up domain of {domain} accelerators or be a multiple of it",
    )
    if experts:
        rule(
            "expert-divides",
            experts % layout.ep == 0 and int(a.moe_ffn) % layout.etp == 0,
            f"ep {layout.ep} must divide the {experts} experts, and etp {layout.etp} their width {int(a.moe_ffn)}",
        )
    else:
        rule("expert-divides", split == 1, "the model has no experts: ep and etp must be 1")
    rule(
        "experts-within-ranks",
        ranks % split == 0,
        f"ep·etp = {split} must divide the tp·cp·dp = {ranks} ranks of a stage",
    )
    rule(
        "context-slices",
        layout.cp == 1 or job.seq % (2 * layout.cp) == 0,
        f"each of {layout.cp} context ranks takes two equal slices: {2 * layout.cp} must divide the sequence of "
        f"{job.seq} tokens",
    )
    chunks = layout.pp * layout.vpp
    rule(
        "stages-hold-layers",
        layout.pp <= MAX_PIPELINE
        and chunks <= layers
        and bool(can_partition(a, layout.pipe, np.asarray(float(f.uneven_pipeline)))),
        f"{layers} layers do not fill pp·vpp = {chunks} chunks: at most {MAX_PIPELINE} stages, no chunk empty, "
        + ("only the first and the last short" if f.uneven_pipeline else f"and all even in {f.name}"),
    )
    rule(
        "interleaved-multiple",
        layout.vpp == 1 or layout.micro_batches % layout.pp == 0,
        f"vpp {layout.vpp} needs micro-batches in multiples of the {layout.pp} stages, not {layout.micro_batches}; "
        "change --global-batch, --micro-batch or --dp",
    )
    rule(
        "zero-with-pipeline",
        layout.zero < 2 or layout.pp == 1 or f.zero3_with_pipeline,
        f"ZeRO {layout.zero} with {layout.pp} pipeline stages is not in {f.name}; take --zero 1, or --pp 1",
    )
    rule(
        "selective-needs-scores",
        layout.recompute != "selective" or f.operator_recompute or not f.flash_attention,
        f"{f.name} has flash attention, which keeps no scores to recompute; take none, full or first-N",
    )
    rule(
        "host-link",
        layout.offload == "none" or physics.site.accelerator.host_link_bytes_per_s is not None,
        f"offload needs host_link_bytes_per_s of {physics.site.accelerator.name}, which the catalog lacks",
    )
    if job.recovery == "replica":
        copies = ranks // split
        rule(
            "replica-goes-on",
            layout.dp > 1 and copies > 1 and (layout.zero == 0 or layout.zero_group > 0),
            RULES["replica-goes-on"],
        )
    lacks = list(_lacks(layout, f))
    rule("framework-lacks", not lacks, f"{f.name} has {', '.join(lacks)}")
    return broken


def _lacks(layout: Layout, f: Framework) -> Iterator[str]:
    """What a layout asks of a framework in vain, as the framework is."""
    for asked, has, what in (
        (layout.tp > 1, f.tensor_parallel, "tensor parallelism"),
        (layout.sequence_parallel, f.sequence_parallel, "sequence parallelism"),
        (layout.cp > 1, f.context_parallel, "context parallelism"),
        (layout.ep > 1, f.expert_parallel, "expert parallelism"),
        (layout.pp > 1, f.pipeline_parallel, "pipeline parallelism"),
    ):
        if asked and not has:
            yield f"no {what}"
    recompute = "full" if layout.recompute.startswith("first-") else layout.recompute
    for value, known, what in (
        (layout.zero, f.zero_stages, "ZeRO"),
        (layout.schedule, f.schedules, "schedule"),
        (recompute, f.recompute, "recompute"),
        (layout.offload, f.offload, "offload"),
    ):
        if value not in known:
            yield f"{what} {' or '.join(str(one) for one in known)}, not {value}"


def does_not_exist(broken: Mapping[str, str]) -> str:
    """The message for a layout that breaks rules."""
    return "this layout does not exist: " + "; ".join(f"{asks} ({name})" for name, asks in broken.items())
