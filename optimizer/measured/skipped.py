"""Rows of a run file without a prediction: a fact is missing, or something in them is not modelled."""

from __future__ import annotations

from dataclasses import dataclass

from catalogs.runs import Run


class SkipError(Exception):
    """A row that cannot be predicted; the message is the reason."""


@dataclass(frozen=True)
class Skipped:
    """A row without a prediction, and why."""

    run: Run
    reason: str
