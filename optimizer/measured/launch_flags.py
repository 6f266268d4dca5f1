"""Switches of launch scripts, as rows of MindSpeed-LLM quote them in their notes."""

from __future__ import annotations

from catalogs.runs import Run

QUOTED = "flags: "
"""What rows write before the switches of their launch script, all that are on."""


def launch_flag(run: Run, name: str) -> bool | None:
    """Whether a switch is on; None for a row that does not quote its launch script."""
    return name in run.notes if QUOTED in run.notes else None
