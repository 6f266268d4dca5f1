"""What groups of runs are called in reports."""

from __future__ import annotations

from catalogs.runs import Run


def task_of(run: Run) -> str:
    """What the row trains: everything from scratch unless it says otherwise."""
    return run.task or "pretrain"


def short(text: str) -> str:
    """At most 42 characters, the end kept: it says whether the rows are dense."""
    return text if len(text) <= 42 else f"{text[:33]}… {text[-7:].strip()}"
