"""Whether one given layout is in the space: the same named rules, checked on a single layout."""

from __future__ import annotations

import numpy as np

from costmodels.partition import can_partition
from optimizer.job import Job
from optimizer.layout import Layout
from optimizer.physics import Physics
from optimizer.space_rules import MAX_PIPELINE, MAX_TENSOR_PARALLEL, RULES


def broken_rules(layout: Layout, physics: Physics, job: Job) -> list[str]:
    """Names of the rules (of :data:`optimizer.space_rules.RULES`) that a layout breaks.

    Limits that only bound the search (context slices, powers of two) do not apply to a layout somebody asks for.
    """
    a, f = physics.architecture, physics.site.framework
    heads, kv_heads, experts = int(a.heads), int(a.kv_heads), int(a.experts)
    broken: list[str] = []

    def rule(name: str, holds: bool) -> None:
        if not holds and name not in broken:
            broken.append(name)

    rule("tensor-divides-heads", heads % layout.tp == 0 and int(a.ffn) % layout.tp == 0)
    rule("tensor-divides-heads", int(a.shared_ffn) % layout.tp == 0)
    rule("tensor-divides-heads", layout.tp <= MAX_TENSOR_PARALLEL)
    rule("tensor-matches-kv-heads", kv_heads % layout.tp == 0 or layout.tp % kv_heads == 0)
    domain = int(physics.device.scale_up_domain)
    rule("tensor-aligned", domain % layout.tp == 0 or layout.tp % domain == 0)
    if experts:
        rule("expert-divides", experts % layout.ep == 0 and int(a.moe_ffn) % layout.etp == 0)
    else:
        rule("expert-divides", layout.ep == 1 and layout.etp == 1)
    rule("experts-within-ranks", (layout.tp * layout.cp * layout.dp) % (layout.ep * layout.etp) == 0)
    rule("context-slices", layout.cp == 1 or job.seq % (2 * layout.cp) == 0)
    uneven = np.asarray(float(f.uneven_pipeline))
    rule("stages-hold-layers", layout.pp <= MAX_PIPELINE and layout.pp * layout.vpp <= int(a.layers))
    rule("stages-hold-layers", bool(can_partition(a, layout.pipe, uneven)))
    rule("interleaved-multiple", layout.vpp == 1 or layout.micro_batches % layout.pp == 0)
    rule("zero-with-pipeline", layout.zero < 2 or layout.pp == 1 or f.zero3_with_pipeline)
    keeps_scores = f.operator_recompute or not f.flash_attention
    rule("selective-needs-scores", layout.recompute != "selective" or keeps_scores)
    rule("host-link", layout.offload == "none" or physics.site.accelerator.host_link_bytes_per_s is not None)
    if job.recovery == "replica":
        copies = layout.tp * layout.cp * layout.dp // (layout.ep * layout.etp)
        rule("replica-goes-on", layout.dp > 1 and copies > 1 and (layout.zero == 0 or layout.zero_group > 0))
    recompute = "full" if layout.recompute.startswith("first-") else layout.recompute
    lacks = (
        (layout.tp > 1 and not f.tensor_parallel)
        or (layout.sequence_parallel and not f.sequence_parallel)
        or (layout.cp > 1 and not f.context_parallel)
        or (layout.ep > 1 and not f.expert_parallel)
        or (layout.pp > 1 and not f.pipeline_parallel)
        or layout.zero not in f.zero_stages
        or layout.schedule not in f.schedules
        or recompute not in f.recompute
        or layout.offload not in f.offload
    )
    rule("framework-lacks", not lacks)
    return broken


def explain_rule(name: str) -> str:
    """A rule's name with its meaning."""
    return f"{name} ({RULES[name]})"
