"""Whether a layout's experts exchange tokens beside another micro-batch, and what to switch on for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from catalogs.framework import Framework, OverlapNeed
from costmodels.overlap import NEEDS


@dataclass(frozen=True)
class ExpertOverlap:
    """The overlap of dispatch and combine of a layout with expert parallelism.

    Attributes:
        lacks: what the framework's switch needs and the layout lacks; the overlap is on if that is nothing.
        arguments: that switch it on.
    """

    lacks: tuple[OverlapNeed, ...]
    arguments: tuple[str, ...]

    @property
    def on(self) -> bool:
        """Whether the figures count on the overlap."""
        return not self.lacks

    def to_json(self) -> dict[str, Any]:
        """The object of the documented schema."""
        return {"on": self.on, "lacks": list(self.lacks), "arguments": list(self.arguments)}


def told_exchange(ep: int, overlap: ExpertOverlap | None, framework: Framework) -> list[str]:
    """What a layout with expert parallelism takes for granted of its framework, in words; empty without it."""
    if ep == 1:
        return []
    if not framework.expert_overlap:
        return [f"dispatch and combine of experts wait: {framework.name} has no switch that overlaps them"]
    switch = " ".join(framework.expert_overlap)
    if overlap is None:
        return [f"dispatch and combine of experts wait: {switch} is not switched on"]
    if not overlap.on:
        lacking = "; ".join(NEEDS[need] for need in overlap.lacks)
        return [f"dispatch and combine of experts wait: {switch} needs {lacking}"]
    besides = "; ".join(framework.expert_overlap_told)
    where = framework.sources.get("expert_overlap", framework.sources.get("*", ""))
    return [
        f"dispatch and combine of experts run beside the passes of other micro-batches: switch on {switch}"
        f"{', with ' + besides if besides else ''} ({where})"
    ]
