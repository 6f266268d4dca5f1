"""What to do about a job, with its numbers and the price at which it would change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from optimizer.replan.jobs import Rules
from optimizer.replan.offer_key import offer_words, price_unit
from optimizer.replan.standing import Standing

Kind = Literal["start", "keep", "switch", "resize", "warn", "infeasible"]

ACTIONS: tuple[Kind, ...] = ("start", "switch", "resize", "warn")
"""Verdicts that ask somebody to do something."""


@dataclass(frozen=True)
class Verdict:
    """What to do about a job.

    Attributes:
        job: its name.
        kind: the advice.
        reason: one sentence for a manager.
        standing: the plan that the job has, at tonight's price; what is advised does not stand until it is accepted.
        target: the plan advised, if it is another one.
        keep_usd: what the rest costs on the standing plan.
        change_usd: what the rest costs on the target, with the move.
        move_usd: the part of it that is the move.
        saving_usd: the difference.
        ends: when the standing plan ends (ISO date).
        flips_at: the price, per accelerator-hour (per server when bought), at which the verdict would change.
        flips_key: the offer that this price is about.
        flips_above: whether it would change above that price, or below it.
        told_usd: price of the plan when it was last reported.
    """

    job: str
    kind: Kind
    reason: str
    standing: Standing | None = None
    target: Standing | None = None
    keep_usd: float | None = None
    change_usd: float | None = None
    move_usd: float | None = None
    saving_usd: float | None = None
    ends: str | None = None
    flips_at: float | None = None
    flips_key: str | None = None
    flips_above: bool = False
    told_usd: float | None = None

    @property
    def identity(self) -> str:
        """What makes two verdicts the same news: the advice and where it points."""
        to = self.target or self.standing
        return f"{self.kind}|{to.key}|{to.accelerators}" if to else self.kind

    @property
    def plan(self) -> Standing | None:
        """The plan that the job has, else the one advised."""
        return self.standing or self.target

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Verdict:
        """The inverse of :meth:`to_json`."""
        plans = {name: Standing(**fields[name]) if fields[name] else None for name in ("standing", "target")}
        return cls(**{**fields, **plans})


def with_news(verdict: Verdict, before: Verdict | None, rules: Rules) -> Verdict:
    """The verdict with the price last reported, and with words for a price that rose far above that one.

    Args:
        verdict: tonight's.
        before: the last one on the job.
        rules: how far is far.
    """
    plan = verdict.plan
    if plan is None:
        return verdict
    known = before.plan if before else None
    told = before.told_usd if before and known and known.key == plan.key else None
    if told is None:
        return replace(verdict, told_usd=plan.usd)
    if plan.usd <= told * (1 + rules.news_share):
        return replace(verdict, told_usd=told)
    words = f"{offer_words(plan.key)} went from {told:.4g} to {plan.usd:.4g} {price_unit(plan.key)}"
    if verdict.keep_usd is not None:
        more = verdict.keep_usd * (1 - told / plan.usd)
        words += f", so what is left costs {verdict.keep_usd:,.0f} USD, {more:,.0f} more"
    return replace(verdict, told_usd=plan.usd, reason=f"{words}; {verdict.reason}")
