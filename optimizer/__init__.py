"""What to choose: jobs in, plans out. ``from optimizer import Job, plan`` is the Python interface.

Names are imported when first used, so that the command line starts without the models.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimizer.configuration import Configuration
    from optimizer.estimation import Estimate, estimate
    from optimizer.job import Job
    from optimizer.layout import Layout
    from optimizer.planning import Plan, plan
    from optimizer.request import read_job

_HOMES = {
    "Configuration": "optimizer.configuration",
    "Estimate": "optimizer.estimation",
    "Job": "optimizer.job",
    "Layout": "optimizer.layout",
    "Plan": "optimizer.planning",
    "estimate": "optimizer.estimation",
    "plan": "optimizer.planning",
    "read_job": "optimizer.request",
}

__all__ = ["Configuration", "Estimate", "Job", "Layout", "Plan", "estimate", "plan", "read_job"]


def __getattr__(name: str) -> Any:
    """Import a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
