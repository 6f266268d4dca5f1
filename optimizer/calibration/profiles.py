"""Profiles of a catalog from measured runs: the fitted constants, and how far they are to be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from catalogs.catalog import Catalog
from catalogs.inheritance import framework_family, resolve_profile
from catalogs.profile import Profile
from optimizer.calibration.constants import CONSTANTS
from optimizer.calibration.deviations import Spread, cluster_sigmas
from optimizer.calibration.fit import fit
from optimizer.calibration.folds import Progress, by_source, dealt, held_apart
from optimizer.calibration.parts import Anchor, Fit, level_keys
from optimizer.calibration.software import Label, labels_of, shift_name
from optimizer.measured.table import Combination, RunTable

FOLDS = 8

ENOUGH_GROUPS = 4
"""Groups of runs below which single runs are held apart: a cluster's own history is often one model."""


def calibrated(
    catalog: Catalog, table: RunTable, *, date: str, alone: bool = False, progress: Progress | None = None
) -> list[Profile]:
    """Profiles of the combinations in a table, fitted to its rows.

    Args:
        catalog: its profiles, with the software releases that they know, are what the fit is drawn to. The profiles
            that come out are of the cluster that the rows are from: another cluster adds no deviation.
        table: measured rows.
        date: of the fit, ISO.
        alone: draw to the general priors instead, as the shipped profiles themselves were fitted, and learn from whole
            sources held apart what another cluster adds.
        progress: told after every fit to a part of the rows.
    """
    anchor = Anchor() if alone else anchor_of(catalog, table)
    fitted = fit(catalog, table, anchor=anchor)
    few = len(set(table.groups)) < ENOUGH_GROUPS
    fold = np.arange(len(table)) % FOLDS if few else dealt(table, FOLDS)
    residuals = np.log(table.measured_s / held_apart(catalog, table, fitted, fold, anchor=anchor, progress=progress))
    clusters = {False: 0.0, True: 0.0}
    if alone:
        apart = held_apart(catalog, table, fitted, dealt(table, 0, key=by_source), progress=progress)
        clusters = cluster_sigmas(table, np.log(table.measured_s / apart))
    return profiles_of(catalog, table, fitted, Spread.of(table, residuals), clusters, date=date, anchor=anchor)


def anchor_of(catalog: Catalog, table: RunTable) -> Anchor:
    """What the catalog's profiles say about the combinations and software of a table."""
    constants, shifts = {}, {}
    profiles: dict[Combination, Profile] = {}
    for combination in set(table.combinations):
        accelerator, framework, precision = combination
        known, _ = resolve_profile(catalog, catalog.accelerators[accelerator], framework, precision)
        profiles[combination] = known
        constants[combination] = np.array([c.inner_within(getattr(known, name)) for name, c in CONSTANTS.items()])
    for row, combination in enumerate(table.combinations):
        for label in labels_of(table, row):
            shift = profiles[combination].shifts.get(shift_name(label))
            if shift is not None:
                shifts[label] = shift
    return Anchor(constants, shifts)


def profiles_of(
    catalog: Catalog,
    table: RunTable,
    fitted: Fit,
    spread: Spread,
    clusters: Mapping[bool, float],
    *,
    date: str,
    anchor: Anchor | None = None,
) -> list[Profile]:
    """One profile per combination in the table.

    Args:
        catalog: says which accelerators are relatives.
        table: the rows of the fit.
        fitted: its constants.
        spread: deviations of runs held apart.
        clusters: what another cluster adds, for dense models and for those with experts.
        date: of the fit, ISO.
        anchor: what the fit was drawn to.
    """
    anchor = anchor or Anchor()
    combinations = table.combinations
    accelerators = np.array([run.n_accel or 0 for run in table.runs])
    total: dict[Label, float] = dict(anchor.shifts)
    for label, value in fitted.shifts.items():
        total[label] = total.get(label, 0.0) + value
    found = []
    for combination in sorted(set(combinations)):
        accelerator, framework, precision = combination
        mine = np.array([c == combination for c in combinations])
        sources = sorted({run.source or run.id for run, own in zip(table.runs, mine, strict=True) if own})
        constants = fitted.values(level_keys(catalog, *combination), anchor.constants.get(combination))
        owners = {"release": framework, "switch": framework_family(framework)}
        labels = {
            shift_name(label): round(value, 3)
            for label, value in sorted(total.items())
            if label[2] == owners[label[0]] and round(value, 3)
        }
        found.append(
            Profile.model_validate(
                {
                    "name": f"{accelerator}.{framework}.{precision}",
                    "title": f"{framework} on {accelerator}, {precision}",
                    "accelerator": accelerator,
                    "framework": framework,
                    "precision": precision,
                    "rows": int(mine.sum()),
                    **{name: float(f"{value:.4g}") for name, value in constants.items()},
                    "log_sigma": round(spread.sigma(combination, False), 4),
                    "moe_log_sigma": round(spread.sigma(combination, True), 4),
                    "cluster_log_sigma": round(clusters[False], 4),
                    "moe_cluster_log_sigma": round(clusters[True], 4),
                    "campaigns": sources,
                    "largest": int(accelerators[mine].max()),
                    "shifts": labels,
                    "sources": {"*": "fitted to the measured runs that campaigns names"},
                    "date": date,
                }
            )
        )
    return found


def to_yaml(profiles: Sequence[Profile]) -> str:
    """Profiles as the text of a catalog file."""
    import yaml

    records = [profile.model_dump(mode="json", exclude_defaults=True) for profile in profiles]
    header = "# Constants fitted to measured training runs by `clusterplan calibrate`.\n"
    return header + yaml.safe_dump(records, sort_keys=False, width=118, allow_unicode=True)
