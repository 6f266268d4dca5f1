"""How far predictions are from measured runs: row by row, by source, accelerator and framework, and as decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from catalogs.runs import Run
from costmodels.columns import Column
from costmodels.interval import interval_90
from optimizer.accuracy.memory import Memory
from optimizer.accuracy.naming import short, task_of
from optimizer.accuracy.regret import Regret, regret
from optimizer.accuracy.scores import Score, scores_by
from optimizer.calibration.parts import Fit
from optimizer.measured.skipped import Skipped
from optimizer.measured.table import RunTable

NO_TIME = "no time was measured; memory only"
"""Reason of a row whose step time is not predicted."""

OTHER_UNITS = 10.0
"""Factor between measured and predicted time that no error of a model explains (published rows: 0.7 to 2.4)."""

DECISIONS: tuple[tuple[str, str, bool | None], ...] = (
    ("vTrain, several servers", "vTrain", True),
    ("vTrain, one server", "vTrain", False),
    ("BLOOM", "BLOOM", None),
    ("all sources", "", None),
)
"""Choices among layouts that are reported: title, text in the source, whether on several servers."""


@dataclass(frozen=True, eq=False)
class Validation:
    """Predictions of measured runs.

    Attributes:
        runs: every row, in the order of the files.
        table: the rows with a predicted step time.
        predicted_s, sigma: their seconds per step, and standard deviation of their logarithm.
        notes: where the profile of each of them comes from.
        memory: of every predicted row.
        skipped: the other rows, with reasons.
        unseen: source to the fit that has not seen it, where whole sources are held apart.
    """

    runs: tuple[Run, ...]
    table: RunTable | None
    predicted_s: Column
    sigma: Column
    notes: tuple[str, ...]
    memory: Memory | None
    skipped: tuple[Skipped, ...]
    unseen: Mapping[str, Fit] = field(default_factory=dict)

    @property
    def residuals(self) -> Column:
        """log(measured / predicted) step time."""
        return np.zeros(0) if self.table is None else np.log(self.table.measured_s / self.predicted_s)

    def scores(self, names: Sequence[str] | None = None) -> dict[str, Score]:
        """Scores of step times by name; ``names`` gives each row its name (default: dense or MoE)."""
        if self.table is None:
            return {}
        names = names or ["moe" if moe else "dense" for moe in self.table.is_moe]
        return scores_by(names, self.table.measured_s, self.predicted_s, self.sigma)

    def regret(self, source: str = "", *, servers: bool | None = None) -> Regret | None:
        """As :func:`optimizer.accuracy.regret.regret`."""
        return None if self.table is None else regret(self.table, self.predicted_s, source, servers=servers)

    def decisions(self) -> dict[str, Regret]:
        """Regret by what was chosen (:data:`DECISIONS`), as far as there are groups of layouts."""
        found = {title: self.regret(source, servers=servers) for title, source, servers in DECISIONS}
        return {title: one for title, one in found.items() if one is not None}

    def to_json(self) -> dict[str, Any]:
        """Every row in the order of the files, and the summary, as JSON-ready values."""
        by_row: dict[int, dict[str, Any]] = {}
        notes: dict[int, str] = {}
        if self.memory is not None:
            for row, run in enumerate(self.memory.table.runs):
                by_row[id(run)] = {"step_s": None, "mem_gib": self.memory.to_json(row)}
                notes[id(run)] = self.memory.unknown[row]
        if self.table is not None:
            low, high = interval_90(self.predicted_s, self.sigma)
            for row, run in enumerate(self.table.runs):
                by_row[id(run)]["step_s"] = {
                    "measured": float(self.table.measured_s[row]),
                    "predicted": float(self.predicted_s[row]),
                    "low": float(low[row]),
                    "high": float(high[row]),
                }
                by_row[id(run)]["profile"] = self.notes[row]
        reasons = {id(one.run): one.reason for one in self.skipped}
        rows: list[dict[str, Any]] = []
        for run in self.runs:
            if id(run) in reasons:
                rows.append({"id": run.id, "status": "skipped", "reason": reasons[id(run)]})
            else:
                figures = by_row[id(run)]
                reason = NO_TIME if figures["step_s"] is None else notes[id(run)]
                rows.append({"id": run.id, "status": "ok", "reason": reason, **figures})
        return {"rows": rows, "summary": self.summary()}

    def summary(self) -> dict[str, Any]:
        """Counts, reasons for skipping, and scores, as JSON-ready values."""
        found: dict[str, Any] = {
            "rows": {"ok": len(self._predicted()), "skipped": len(self.skipped)},
            "skipped": dict(self.skip_reasons()),
        }
        for title, names in (("overall", None), *self._groupings()):
            found[title] = {name: vars(score) for name, score in self.scores(names).items()}
        found["decisions"] = {title: vars(one) for title, one in self.decisions().items()}
        memory = self.memory
        found["memory"] = {} if memory is None else {name: vars(score) for name, score in memory.scores().items()}
        found["fits_denied"] = None if memory is None else memory.denied
        found["memory_log_sigma"] = {} if memory is None else memory.learned_sigmas()
        found["memory_unknown"] = {} if memory is None else dict(_counted(filter(None, memory.unknown)))
        return found

    def _predicted(self) -> tuple[Run, ...]:
        return () if self.memory is None else self.memory.table.runs

    def skip_reasons(self) -> list[tuple[str, int]]:
        """Reasons for skipping, most frequent first; suspect rows together."""
        return _counted("suspect" if s.reason.startswith("suspect") else s.reason for s in self.skipped)

    def _groupings(self) -> list[tuple[str, list[str]]]:
        if self.table is None:
            return []
        kind = ["moe" if moe else "dense" for moe in self.table.is_moe]

        def named(values: Iterable[str]) -> list[str]:
            return [f"{value} ({k})" for value, k in zip(values, kind, strict=True)]

        return [
            ("task", named(task_of(run) for run in self.table.runs)),
            ("source", named(run.source for run in self.table.runs)),
            ("accelerator", named(self.table.accelerators)),
            ("framework", named(self.table.frameworks)),
        ]

    def in_other_units(self) -> str:
        """What is said of rows so far off that their times must be in another unit ("" where none is)."""
        if self.table is None:
            return ""
        times = np.exp(self.residuals)
        far = np.flatnonzero((times > OTHER_UNITS) | (times < 1.0 / OTHER_UNITS))
        if not far.size:
            return ""
        run, ratio = self.table.runs[far[0]], times[far[0]]
        return (
            f"{far.size} rows took more than {OTHER_UNITS:g} times as long as predicted, or less than a "
            f"{OTHER_UNITS:g}th; the first is {run.id!r} on line {run.line}, {ratio:.3g} times: step_s is in seconds, "
            "tokens_per_s_per_accel is of one accelerator"
        )

    def to_text(self) -> str:
        """The scores as a table."""
        lines = [f"{len(self._predicted())} rows predicted, {len(self.skipped)} skipped"]
        lines += filter(None, [self.in_other_units()])
        for title, names in (("overall", None), *self._groupings()):
            heading = f"step time by {title}" if names else "step time"
            lines.append(f"{heading:44}   rows  median    mean     P90    bias  in 90%")
            lines += [_line(name, score) for name, score in self.scores(names).items()]
        if decisions := self.decisions():
            lines.append("fastest layout by prediction                 groups    mean     P90   worst  random")
            for title, r in decisions.items():
                lines.append(f"  {title:42} {r.groups:6d} {r.mean:7.1%} {r.p90:7.1%} {r.worst:7.1%} {r.random:7.1%}")
        if self.memory is not None and (scores := self.memory.scores()):
            heading = "memory by source and reading"
            lines.append(f"{heading:44}   rows  median    mean     P90    bias  in 90%  >10% low")
            lines += [f"{_line(name, score)}   {score.low:7.1%}" for name, score in scores.items()]
            complete = np.count_nonzero(self.memory.complete)
            lines.append(f"  predicted not to fit, though it ran        {self.memory.denied:7.1%} of {complete} rows")
            lines += [f"  {count:6d}  {reason}" for reason, count in _counted(filter(None, self.memory.unknown))]
        if self.skipped:
            lines.append("skipped because")
            lines += [f"  {count:6d}  {reason}" for reason, count in self.skip_reasons()]
        return "\n".join(lines)


def _counted(reasons: Iterable[str]) -> list[tuple[str, int]]:
    """How often each occurs, most frequent first."""
    return sorted(Counter(reasons).items(), key=lambda pair: (-pair[1], pair[0]))


def _line(name: str, s: Score) -> str:
    return f"  {short(name):42} {s.rows:6d} {s.median:7.1%} {s.mean:7.1%} {s.p90:7.1%} {s.bias:+7.1%} {s.coverage:7.1%}"
