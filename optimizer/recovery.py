"""How a job recovers from an interruption: the figures of the catalog behind each regime."""

from __future__ import annotations

from catalogs.assumption import Assumption
from catalogs.catalog import Catalog
from costmodels.goodput import Recovery
from costmodels.interval import log_sigma_of
from optimizer.job import RecoveryName

ASSUMED: dict[RecoveryName, tuple[str, ...]] = {
    "automatic": ("restart-s",),
    "manual": ("manual-restart-s",),
    "replica": ("replica-stall-s", "replica-share", "restart-s"),
}
"""The assumptions that each rests on."""


def recovery(name: RecoveryName, catalog: Catalog) -> Recovery:
    """A regime with the figures of the catalog."""
    assumed = catalog.assumption
    if name == "manual":
        return Recovery.manual(assumed("manual-restart-s"), _log_sigma(catalog.assumptions["manual-restart-s"]))
    if name == "replica":
        return Recovery.replica(assumed("replica-stall-s"), assumed("replica-share"), assumed("restart-s"))
    return Recovery.automatic(assumed("restart-s"), _log_sigma(catalog.assumptions["restart-s"]))


def _log_sigma(record: Assumption) -> float:
    """Of a time between teams; 0 where the record has no interval."""
    return 0.0 if record.interval is None else log_sigma_of(*record.interval)


def told_recovery(name: RecoveryName, catalog: Catalog) -> str:
    """What an interruption costs, in words."""
    if name == "manual":
        hours = catalog.assumption("manual-restart-s") / 3600
        return f"{hours:.1f} h until people have restarted the job and the work since the last checkpoint"
    minutes = catalog.assumption("restart-s") / 60
    if name == "automatic":
        return f"{minutes:.0f} min and the work since the last checkpoint"
    stall, share = catalog.assumption("replica-stall-s") / 60, catalog.assumption("replica-share")
    return f"{stall:.0f} min, and {minutes:.0f} min more of the replica that failed, {share:.0%} of the cluster"
