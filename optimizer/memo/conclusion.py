"""The first sentences of a memo: what to do, at what cost, how sure."""

from __future__ import annotations

import math

from costmodels.run import DAY_S
from optimizer.comparison.comparison import Comparison
from optimizer.comparison.contender import label
from optimizer.job import SURE
from optimizer.memo.wording import Language, count, money, say


def conclusion(c: Comparison, language: Language) -> list[str]:
    """The cheapest choice, the next one, and the surer one where the date is not safe."""
    winner, odds = c.winner, c.outcomes[0].wins
    plan, job = winner.best, c.now.job
    limit = f"{job.deadline_s / DAY_S:g}" if math.isfinite(job.deadline_s) else None
    in_time = "-" if plan.p_deadline is None else f"{plan.p_deadline:.0%}"
    runner = c.ranking[1] if len(c.ranking) > 1 else None
    never_sure = c.surer is None and limit is not None and (plan.p_deadline or 0.0) < SURE
    if language == "zh":
        lines = [
            f"训练 {job.model.name}({count(job.tokens)} 词元{f',{limit} 天内' if limit else ''})最省的方案是"
            f"{say(winner.tenure, language)} {winner.hardware}:{plan.accelerators:,} 卡、{plan.servers:,} 台服务器,"
            f"{plan.days:.1f} 天完成(按期概率 {in_time}),成本 {money(c, language, winner.cost_usd)},"
            f"最省概率 {odds:.0%}。"
        ]
        if runner is not None:
            lines.append(
                f"次优:{say(runner.tenure, language)} {runner.hardware},{money(c, language, runner.cost_usd)}。"
            )
        if c.surer is not None:
            sure = c.surer.best
            lines.append(
                f"上述方案按期把握不足。若要求按期概率 {SURE:.0%}:{say(c.surer.tenure, language)} {c.surer.hardware} "
                f"{sure.accelerators:,} 卡,{sure.days:.1f} 天,{money(c, language, c.surer.cost_usd)}。"
            )
        if never_sure:
            lines.append(f"没有方案能以 {SURE:.0%} 的概率按期完成。")
        return lines
    lines = [
        f"{winner.tenure.capitalize()} {winner.hardware}: {plan.accelerators:,} accelerators in {plan.servers:,} "
        f"servers train {job.model.name} on {count(job.tokens)} tokens in {plan.days:.1f} days"
        f"{f' of {limit}' if limit else ''} (P(deadline) {in_time}) for {money(c, language, winner.cost_usd)}; "
        f"the cheapest choice with probability {odds:.0%}."
    ]
    if runner is not None:
        lines.append(
            f"Next: {label(runner)} for {c.money(runner.cost_usd)}, {runner.cost_usd / winner.cost_usd - 1:.0%} more."
        )
    if c.surer is not None:
        sure = c.surer.best
        lines.append(
            f"The date is not safe with that. To meet it with {SURE:.0%} (--confidence {SURE:.0%}): {c.surer.tenure} "
            f"{sure.accelerators:,} {c.surer.hardware} for {c.money(c.surer.cost_usd)}, {sure.days:.1f} days."
        )
    if never_sure:
        lines.append(f"No choice meets the date with {SURE:.0%}.")
    return lines
