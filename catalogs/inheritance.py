"""Which profile holds for an accelerator × framework × precision, and where it comes from when none was measured.

The rule, in order; the first that finds a profile decides:

1. the same accelerator, framework and precision;
2. the same accelerator and precision, another framework of the same family (:data:`FRAMEWORK_FAMILIES`);
3. an accelerator of the same family and the same precision, the same framework, else one of its family;
4. steps 1 to 3 at a precision of the same width (:data:`SAME_WIDTH`), then at the other precisions;
5. the same accelerator under any framework, then any accelerator of its family, then of its vendor;
6. the profile named ``generic``.

Among several the one with most measured rows is taken, then the first by name.
"""

from __future__ import annotations

import math

from catalogs.accelerator import Accelerator
from catalogs.catalog import Catalog
from catalogs.errors import UnknownNameError
from catalogs.naming import unknown_name
from catalogs.profile import Precision, Profile

GENERIC = "generic"
"""Name of the profile of last resort."""

FRAMEWORK_FAMILIES: dict[str, str] = {
    "megatron-lm": "megatron",
    "megatron-bridge": "megatron",
    "nemo": "megatron",
    "primus-megatron": "megatron",
    "internevo": "megatron",
    "megatron-deepspeed": "deepspeed",
    "deepspeed": "deepspeed",
    "optimum-habana": "deepspeed",
    "torchtitan-fsdp2": "fsdp",
    "llm-foundry-fsdp": "fsdp",
    "mindspeed-llm": "ascend",
    "mindformers-mindspore": "ascend",
    "maxtext": "xla",
    "neuronx-distributed": "xla",
}
"""Framework to family: frameworks of one family share kernels and overlap the same traffic."""

SAME_WIDTH: dict[Precision, tuple[Precision, ...]] = {
    "bf16": ("fp16",),
    "fp16": ("bf16",),
    "fp8": ("mxfp8",),
    "mxfp8": ("fp8",),
    "nvfp4": (),
}
"""Precision to those whose matmuls read operands of the same width."""

PRECISIONS: tuple[Precision, ...] = ("bf16", "fp16", "fp8", "mxfp8", "nvfp4")

STEP_LOG_SIGMA = 0.07
"""What one step away from the measured combination adds, in quadrature, to the residual of a profile: the typical
change of scale between two software releases or clusters."""


def framework_family(framework: str) -> str:
    """The family of a framework; one that is in no family is its own."""
    return FRAMEWORK_FAMILIES.get(framework, framework)


def resolve_profile(
    catalog: Catalog, accelerator: Accelerator, framework: str, precision: Precision
) -> tuple[Profile, str]:
    """The profile that holds for a combination, and a sentence for the plan that says where it comes from.

    An inherited profile names its relative in ``inherited_from``, has a wider ``log_sigma`` and no campaign of its own.

    Raises:
        UnknownNameError: neither a relative nor a ``generic`` profile exists.
    """
    family = framework_family(framework)
    relatives = {a.name for a in catalog.accelerators.values() if a.family == accelerator.family}
    compatriots = {a.name for a in catalog.accelerators.values() if a.vendor == accelerator.vendor}
    others: tuple[Precision, ...] = tuple(p for p in PRECISIONS if p != precision and p not in SAME_WIDTH[precision])

    def found(accelerators: set[str], same_framework: bool | None, precisions: tuple[Precision, ...]) -> Profile | None:
        candidates = [
            p
            for p in catalog.profiles.values()
            if p.accelerator in accelerators
            and p.precision in precisions
            and (
                same_framework is None
                or (p.framework == framework if same_framework else framework_family(p.framework) == family)
            )
        ]
        return min(candidates, key=lambda p: (precisions.index(p.precision), -p.rows, p.name), default=None)

    own = {accelerator.name}
    steps: list[tuple[set[str], bool | None, tuple[Precision, ...], str]] = []
    ladder = (((precision,), ""), (SAME_WIDTH[precision], "other precision"), (others, "other precision"))
    for precisions, added in ladder:
        for among, exact, difference in (
            (own, True, ""),
            (own, False, "other framework of its family"),
            (relatives, True, "other accelerator of its family"),
            (relatives, False, "other accelerator and framework of their families"),
        ):
            steps.append((among, exact, precisions, ", ".join(filter(None, (difference, added)))))
    everything = (precision, *SAME_WIDTH[precision], *others)
    steps += [
        (own, None, everything, "other kind of framework"),
        (relatives, None, everything, "other accelerator of its family and other kind of framework"),
        (compatriots, False, everything, "other accelerator of the vendor"),
        (compatriots, None, everything, "other accelerator of the vendor and other kind of framework"),
    ]
    for distance, (accelerators, same, precisions, reason) in enumerate(steps):
        profile = found(accelerators, same, precisions)
        if profile is not None and not reason:
            measured = f"fitted to {profile.rows} measured runs" if profile.rows else "not fitted to measured runs"
            return profile, f"profile {profile.name}: {measured}, residual {profile.log_sigma:.1%}"
        if profile is not None:
            return _inherited(profile, reason, 1 + distance // 4)
    try:
        return _inherited(catalog.profiles[GENERIC], "nothing nearer was measured", 0)
    except KeyError:
        raise UnknownNameError(unknown_name("profile", GENERIC, catalog.profiles)) from None


def _inherited(profile: Profile, reason: str, steps: int) -> tuple[Profile, str]:
    sigma = min(math.hypot(profile.log_sigma, math.sqrt(steps) * STEP_LOG_SIGMA), 1.0)
    moe_sigma = min(math.hypot(profile.moe_log_sigma, math.sqrt(steps) * STEP_LOG_SIGMA), 1.0)
    changed = {"inherited_from": profile.name, "log_sigma": sigma, "moe_log_sigma": moe_sigma, "campaigns": ()}
    copy = profile.model_copy(update=changed)
    return copy, f"profile inherited from {profile.name} ({reason}), residual {sigma:.1%}"
