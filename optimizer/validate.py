"""How far predictions are from measured runs: row by row, by source, accelerator and framework, and as decisions.

``python -m optimizer.validate FILE.csv …`` prints the table; ``--cv`` predicts every row by a fit that has not seen its
group instead of by the shipped profiles.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.catalog import Catalog
from catalogs.inheritance import resolve_profile
from catalogs.profile import Profile
from catalogs.runs import Run, read_runs
from costmodels.columns import Column
from costmodels.efficiency import Efficiency
from optimizer.calibrate import NORMAL_90, fit, held_apart, labels_of
from optimizer.runs_prediction import RunTable, Skipped, run_table

LAYOUTS_TO_RANK = 5
"""Layouts that a group needs before choosing among them says anything."""


@dataclass(frozen=True)
class Score:
    """How close some predictions are.

    Attributes:
        rows: how many.
        median, mean, p90: of the absolute error relative to the measured time.
        bias: median signed error (positive: predicted too slow).
        coverage: share of rows whose measured time lies in the 90% interval.
    """

    rows: int
    median: float
    mean: float
    p90: float
    bias: float
    coverage: float

    @classmethod
    def of(cls, measured: Column, predicted: Column, sigma: Column) -> Score:
        """The score of predictions with their log sigmas."""
        error = predicted / measured - 1.0
        inside = np.abs(np.log(measured / predicted)) <= NORMAL_90 * sigma
        size = np.abs(error)
        return cls(
            rows=error.size,
            median=float(np.median(size)),
            mean=float(np.mean(size)),
            p90=float(np.quantile(size, 0.9)),
            bias=float(np.median(error)),
            coverage=float(np.mean(inside)),
        )


@dataclass(frozen=True)
class Regret:
    """What choosing the predicted-fastest layout of each group costs over the measured-fastest.

    Attributes:
        groups: groups with at least :data:`LAYOUTS_TO_RANK` layouts.
        mean, p90, worst: extra time of the choice.
        random: mean extra time of a layout picked at random.
    """

    groups: int
    mean: float
    p90: float
    worst: float
    random: float


@dataclass(frozen=True, eq=False)
class Validation:
    """Predictions of measured runs.

    Attributes:
        table: the predicted rows.
        predicted_s, sigma: seconds per step, and standard deviation of their logarithm.
        notes: where the profile of each row comes from.
        skipped: the other rows, with reasons.
    """

    table: RunTable | None
    predicted_s: Column
    sigma: Column
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    def scores(self, names: Sequence[str] | None = None) -> dict[str, Score]:
        """Scores by name; ``names`` gives each row its name (default: dense or MoE)."""
        if self.table is None:
            return {}
        labels = names or ["moe" if moe else "dense" for moe in self.table.is_moe]
        rows: dict[str, list[int]] = defaultdict(list)
        for index, name in enumerate(labels):
            rows[name].append(index)
        return {
            name: Score.of(self.table.measured_s[rows[name]], self.predicted_s[rows[name]], self.sigma[rows[name]])
            for name in sorted(rows)
        }

    def regret(self, source: str = "", *, servers: bool | None = None) -> Regret | None:
        """Regret over the groups whose source contains ``source``; None if no group has enough layouts.

        Args:
            source: text in the source's name.
            servers: True only for runs on several servers, False only for runs in one.
        """
        if self.table is None:
            return None
        groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for index, run in enumerate(self.table.runs):
            several = bool(run.n_accel and run.accel_per_node and run.n_accel > run.accel_per_node)
            if source in run.source and servers in (None, several):
                groups[(*run.group, run.precision, run.n_accel, run.gbs, run.seq)].append(index)
        chosen, random = [], []
        for members in groups.values():
            if len({_layout(self.table.runs[index]) for index in members}) < LAYOUTS_TO_RANK:
                continue
            measured, predicted = self.table.measured_s[members], self.predicted_s[members]
            chosen.append(measured[np.argmin(predicted)] / measured.min() - 1.0)
            random.append(measured.mean() / measured.min() - 1.0)
        if not chosen:
            return None
        return Regret(
            groups=len(chosen),
            mean=float(np.mean(chosen)),
            p90=float(np.quantile(chosen, 0.9)),
            worst=float(np.max(chosen)),
            random=float(np.mean(random)),
        )

    def to_json(self) -> dict[str, Any]:
        """Every row and the summary as JSON-ready values."""
        rows: list[dict[str, Any]] = []
        if self.table is not None:
            for index, run in enumerate(self.table.runs):
                middle, sigma = float(self.predicted_s[index]), float(self.sigma[index])
                times = {
                    "measured": float(self.table.measured_s[index]),
                    "predicted": middle,
                    "low": middle * float(np.exp(-NORMAL_90 * sigma)),
                    "high": middle * float(np.exp(NORMAL_90 * sigma)),
                }
                rows.append({"id": run.id, "status": "ok", "reason": "", "step_s": times, "profile": self.notes[index]})
        rows += [{"id": s.run.id, "status": "skipped", "reason": s.reason} for s in self.skipped]
        summary: dict[str, Any] = {"rows": {"ok": len(self.predicted_s), "skipped": len(self.skipped)}}
        summary["skipped"] = dict(self.skip_reasons())
        for title, names in (("overall", None), *self._groupings()):
            summary[title] = {name: vars(score) for name, score in self.scores(names).items()}
        return {"rows": rows, "summary": summary}

    def skip_reasons(self) -> list[tuple[str, int]]:
        """Reasons for skipping, most frequent first; suspect rows together."""
        reasons = ("suspect" if s.reason.startswith("suspect") else s.reason for s in self.skipped)
        return sorted(Counter(reasons).items(), key=lambda pair: (-pair[1], pair[0]))

    def _groupings(self) -> list[tuple[str, list[str]]]:
        if self.table is None:
            return []
        kind = ["moe" if moe else "dense" for moe in self.table.is_moe]

        def named(values: Iterable[str]) -> list[str]:
            return [f"{value} ({k})" for value, k in zip(values, kind, strict=True)]

        return [
            ("source", named(run.source for run in self.table.runs)),
            ("accelerator", named(self.table.accelerators)),
            ("framework", named(self.table.frameworks)),
        ]

    def to_text(self) -> str:
        """The scores as a table."""
        lines = [f"{len(self.predicted_s)} rows predicted, {len(self.skipped)} skipped"]
        for title, names in (("overall", None), *self._groupings()):
            lines.append(f"{title:44}   rows  median    mean     P90    bias  in 90%")
            lines += [
                f"  {name[:42]:42} {s.rows:6d} {s.median:7.1%} {s.mean:7.1%} {s.p90:7.1%} {s.bias:+7.1%}"
                f" {s.coverage:7.1%}"
                for name, s in self.scores(names).items()
            ]
        lines.append("fastest layout by prediction                 groups    mean     P90   worst  random")
        for title, source, servers in (
            ("vTrain, several servers", "vTrain", True),
            ("vTrain, one server", "vTrain", False),
            ("all sources", "", None),
        ):
            if (r := self.regret(source, servers=servers)) is not None:
                lines.append(f"  {title:42} {r.groups:6d} {r.mean:7.1%} {r.p90:7.1%} {r.worst:7.1%} {r.random:7.1%}")
        lines.append("skipped because")
        lines += [f"  {count:6d}  {reason}" for reason, count in self.skip_reasons()]
        return "\n".join(lines)


def _layout(run: Run) -> tuple[object, ...]:
    return (run.tp, run.pp, run.vpp, run.cp, run.ep, run.dp, run.mbs, run.zero, run.recompute)


def validate(catalog: Catalog, runs: Iterable[Run]) -> Validation:
    """Predict measured runs by the profiles of a catalog."""
    table, skipped = run_table(catalog, runs)
    if table is None:
        nothing = np.zeros(0)
        return Validation(None, nothing, nothing, (), tuple(skipped))
    combinations = list(zip(table.accelerators, table.frameworks, table.precisions, strict=True))
    resolved = {c: resolve_profile(catalog, catalog.accelerators[c[0]], c[1], c[2]) for c in set(combinations)}
    profiles = [resolved[c][0] for c in combinations]
    efficiency = Efficiency.stack([Efficiency.of(profile) for profile in profiles])
    seconds = table.predict(efficiency) * np.exp([_shift(table, row, profiles[row]) for row in range(len(table))])
    sigma = np.array([p.moe_log_sigma if moe else p.log_sigma for p, moe in zip(profiles, table.is_moe, strict=True)])
    return Validation(table, seconds, sigma, tuple(resolved[c][1] for c in combinations), tuple(skipped))


def _shift(table: RunTable, row: int, profile: Profile) -> float:
    """Log factor of the row's software release and switches, as far as the profile knows them."""
    return sum(profile.shifts.get(" ".join((label[0], label[1], label[3])), 0.0) for label in labels_of(table, row))


def cross_validate(catalog: Catalog, runs: Iterable[Run], *, folds: int = 8, seed: int = 0) -> Validation:
    """Predict measured runs by fits that have not seen their groups (:func:`optimizer.calibrate.held_apart`)."""
    table, skipped = run_table(catalog, runs)
    if table is None:
        nothing = np.zeros(0)
        return Validation(None, nothing, nothing, (), tuple(skipped))
    seconds = held_apart(catalog, table, fit(catalog, table), folds=folds, seed=seed)
    sigma: NDArray[np.float64] = validate(catalog, table.runs).sigma
    return Validation(table, seconds, sigma, ("held apart",) * len(table), tuple(skipped))


def main(arguments: Sequence[str]) -> int:
    """Print the accuracy on the files named in ``arguments``."""
    catalog = Catalog()
    runs = [run for path in arguments if not path.startswith("--") for run in read_runs(Path(path))]
    judged = cross_validate(catalog, runs) if "--cv" in arguments else validate(catalog, runs)
    sys.stdout.write(judged.to_text() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
