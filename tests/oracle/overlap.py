"""Whether a layout's experts exchange tokens beside another micro-batch (docs/cost-models.md: expert parallel)."""

from __future__ import annotations

from tests.oracle.inputs import Cut, Recipe
from tests.oracle.parameters import Arch


def allowed(a: Arch, w: Recipe, c: Cut, share: float) -> bool:
    """What the layout itself must have; ``share`` of its layers are fully recomputed."""
    if not w.overlaps_experts or not a.moe_layers:
        return False
    needs = {
        "expert-parallel": c.ep >= 2,
        "whole-experts": c.etp < 2,
        "interleaved": c.pp < 2 or c.vpp >= 2,
        "no-full-recompute": not share,
        "one-prediction-layer": a.mtp < 2,
    }
    return all(holds for need, holds in needs.items() if need in w.overlap_needs)


def beside(a: Arch, w: Recipe, c: Cut, share: float) -> bool:
    """The same for a step of so many micro-batches."""
    enough = "micro-batches" not in w.overlap_needs or c.micro_batches > c.pp
    return allowed(a, w, c, share) and enough
