"""The account of a search: every candidate row is evaluated, or excluded by a rule with a bound."""

from __future__ import annotations

from dataclasses import dataclass, field

INTERRUPTED = "interrupt"
"""Name under which a certificate counts rows that an interrupt left unseen."""


@dataclass
class Certificate:
    """What was covered: candidate rows in the space, evaluated, and pruned by each rule.

    Attributes:
        space: rows in the space.
        evaluated: rows whose memory and time were computed.
        pruned: rows excluded by each bound.
        bound: the lowest limit among what was pruned (in the objective's unit), infinite if nothing was.
        dimensions: values of each dimension, by accelerator.
        floors: by accelerator, the objective that none of its rows can go below.
        proved_rows: rows that a second search without bounds evaluated, with the same answer (None: not asked for).
    """

    space: int = 0
    evaluated: int = 0
    pruned: dict[str, int] = field(default_factory=dict)
    bound: float = float("inf")
    dimensions: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    proved_rows: int | None = None

    def gap(self, best: float) -> float:
        """How far, as a share of ``best``, an unexamined row could still be below it: 0 when every bound is above."""
        return max(best - self.bound, 0.0) / best if best else 0.0

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt ended the search early."""
        return INTERRUPTED in self.pruned

    def merge(self, other: Certificate) -> Certificate:
        """Both certificates as one (of searches over different hardware)."""
        rules = [*self.pruned, *(rule for rule in other.pruned if rule not in self.pruned)]
        return Certificate(
            space=self.space + other.space,
            evaluated=self.evaluated + other.evaluated,
            pruned={rule: self.pruned.get(rule, 0) + other.pruned.get(rule, 0) for rule in rules},
            bound=min(self.bound, other.bound),
            dimensions=self.dimensions | other.dimensions,
            floors=self.floors | other.floors,
        )

    def prune(self, rule: str, rows: int, bound: float = float("inf")) -> None:
        """Count rows that a rule excludes, with the lowest objective any of them could have."""
        if rows:
            self.pruned[rule] = self.pruned.get(rule, 0) + int(rows)
            self.bound = min(self.bound, float(bound))
