"""Sizing by hand, as textbooks do it: FLOPs over MFU, a margin, round numbers.

``docs/procurement.md`` shows the chain for 70B parameters, 2T tokens and 90 days beside the plan, and why they differ.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from optimizer.configuration import Configuration

DAY_S = 86400.0


@dataclass(frozen=True)
class RuleOfThumb:
    """A chain of hand sizing; every attribute but the inputs is one of its steps.

    Attributes:
        mfu, redundancy, replica: assumed MFU, spare share, accelerators of one model replica.
        flops: 6 · parameters · tokens.
        required_flops_per_s: to meet the deadline.
        accelerators: that give it at the MFU, rounded up.
        replicas: whole ones, rounded to the nearest.
        whole_replicas: accelerators of those.
        with_redundancy: with the spare share, nearest.
        cluster: the next power of two.
        servers: of eight.
        days: on the whole cluster.
    """

    mfu: float
    redundancy: float
    replica: int
    flops: float
    required_flops_per_s: float
    accelerators: int
    replicas: int
    whole_replicas: int
    with_redundancy: int
    cluster: int
    servers: int
    days: float

    def to_json(self) -> dict[str, Any]:
        """All steps."""
        return asdict(self)


def rule_of_thumb(
    parameters: float,
    tokens: float,
    deadline_s: float,
    peak_flops_per_s: float,
    *,
    mfu: float = 0.40,
    redundancy: float = 0.05,
    replica: int = 16,
    per_server: int = 8,
) -> RuleOfThumb:
    """The chain for one accelerator.

    >>> chain = rule_of_thumb(70e9, 2e12, 90 * DAY_S, 312e12)
    >>> chain.accelerators, chain.whole_replicas, chain.with_redundancy, chain.cluster, chain.servers
    (866, 864, 907, 1024, 128)
    >>> round(chain.days)
    76
    """
    flops = 6.0 * parameters * tokens
    required = flops / deadline_s
    accelerators = math.ceil(required / (peak_flops_per_s * mfu))
    replicas = max(round(accelerators / replica), 1)
    with_redundancy = round(replicas * replica * (1.0 + redundancy))
    cluster = 2 ** math.ceil(math.log2(with_redundancy))
    return RuleOfThumb(
        mfu=mfu,
        redundancy=redundancy,
        replica=replica,
        flops=flops,
        required_flops_per_s=required,
        accelerators=accelerators,
        replicas=replicas,
        whole_replicas=replicas * replica,
        with_redundancy=with_redundancy,
        cluster=cluster,
        servers=math.ceil(cluster / per_server),
        days=flops / (peak_flops_per_s * cluster * mfu) / DAY_S,
    )


@dataclass(frozen=True)
class Bridge:
    """From the accelerators by hand to those of a plan: each factor is one difference, their product the plan's size.

    Attributes:
        by_hand: accelerators before any rounding.
        flops: attention, embedding and the exact parameters, instead of 6 · parameters · tokens.
        mfu: the MFU that is predicted, instead of the assumed one.
        goodput: failures and checkpoints, which take time instead of spare workers.
        date: the plan ends before the deadline (below 1 it would be late).
        plan: accelerators of the plan.
    """

    by_hand: float
    flops: float
    mfu: float
    goodput: float
    date: float
    plan: int

    def to_json(self) -> dict[str, Any]:
        """All factors."""
        return asdict(self)


def bridge(chain: RuleOfThumb, plan: Configuration, model_flops: float, deadline_s: float) -> Bridge:
    """What leads from the chain to a plan on the same peak.

    Args:
        chain: sizing by hand.
        plan: the plan.
        model_flops: of the whole run, as MFU counts them.
        deadline_s: latest end.
    """
    # What its cluster does in its days, done by the deadline.
    by_hand = chain.cluster * chain.days * DAY_S / deadline_s
    return Bridge(
        by_hand=by_hand,
        flops=model_flops / chain.flops,
        mfu=chain.mfu / plan.mfu,
        goodput=1.0 / plan.goodput,
        date=deadline_s / (plan.days * DAY_S),
        plan=plan.accelerators,
    )
