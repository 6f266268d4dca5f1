"""The first sentences of a memo: what to do, at what cost, how sure."""

from __future__ import annotations

import math
from typing import Any

from costmodels.run import DAY_S
from optimizer.comparison.comparison import Comparison
from optimizer.comparison.contender import Contender
from optimizer.job import SURE
from optimizer.memo.wording import Language, count, money, say

SENTENCES: dict[Language, dict[str, str]] = {
    "en": {
        "cheapest": "{Tenure} {hardware}: {accelerators:,} accelerators in {servers:,} servers train {model} on "
        "{tokens} tokens in {days:.1f} days{limit} (P(deadline) {in_time}) for {cost}; the cheapest choice with "
        "probability {odds:.0%}.",
        "limit": " of {limit:g}",
        "next": "Next: {hardware} {tenure} for {cost}, {more:.0%} more.",
        "surer": "The date is not safe with that. To meet it with {sure:.0%} (--confidence {sure:.0%}): {tenure} "
        "{accelerators:,} {hardware} for {cost}, {days:.1f} days.",
        "never sure": "No choice meets the date with {sure:.0%}.",
    },
    "zh": {
        "cheapest": "训练 {model}({tokens} 词元{limit})最省的方案是{tenure} {hardware}:{accelerators:,} 卡、"
        "{servers:,} 台服务器,{days:.1f} 天完成(按期概率 {in_time}),成本 {cost},最省概率 {odds:.0%}。",
        "limit": ",{limit:g} 天内",
        "next": "次优:{tenure} {hardware},{cost}。",
        "surer": "上述方案按期把握不足。若要求按期概率 {sure:.0%}:{tenure} {hardware} {accelerators:,} 卡,"
        "{days:.1f} 天,{cost}。",
        "never sure": "没有方案能以 {sure:.0%} 的概率按期完成。",
    },
}


def conclusion(c: Comparison, language: Language) -> list[str]:
    """The cheapest choice, the next one, and the surer one where the date is not safe."""
    said, job, plan = SENTENCES[language], c.now.job, c.winner.best
    dated = math.isfinite(job.deadline_s)
    facts = {
        "model": job.model.name,
        "tokens": count(job.tokens),
        "limit": said["limit"].format(limit=job.deadline_s / DAY_S) if dated else "",
        "in_time": "-" if plan.p_deadline is None else f"{plan.p_deadline:.0%}",
        "odds": c.outcomes[0].wins,
    }
    lines = [said["cheapest"].format(**facts, **_facts(c, c.winner, language))]
    if len(c.ranking) > 1:
        runner = c.ranking[1]
        more = runner.cost_usd / c.winner.cost_usd - 1
        lines.append(said["next"].format(more=more, **_facts(c, runner, language)))
    if c.surer is not None:
        lines.append(said["surer"].format(sure=SURE, **_facts(c, c.surer, language)))
    elif dated and (plan.p_deadline or 0.0) < SURE:
        lines.append(said["never sure"].format(sure=SURE))
    return lines


def _facts(c: Comparison, one: Contender, language: Language) -> dict[str, Any]:
    """What the sentences say about a choice."""
    tenure = say(one.tenure, language)
    return {
        "hardware": one.hardware,
        "tenure": tenure,
        "Tenure": tenure.capitalize(),
        "accelerators": one.best.accelerators,
        "servers": one.best.servers,
        "days": one.best.days,
        "cost": money(c, language, one.cost_usd),
    }
