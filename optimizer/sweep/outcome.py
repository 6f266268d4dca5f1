"""What planning one scenario gives, as a plain object that travels between machines and prints as JSON."""

from __future__ import annotations

from typing import Any

from catalogs.errors import InfeasibleError, UnsupportedError
from optimizer.planning import job_json, plan
from optimizer.sweep.grid import Scenario
from optimizer.sweep.market import Market

PLANNED, INFEASIBLE, UNSUPPORTED, UNFINISHED = "planned", "infeasible", "unsupported", "unfinished"


def outcome_of(scenario: Scenario, market: Market) -> dict[str, Any]:
    """The best plan of a scenario with its proof, or why there is none.

    Raises:
        KeyboardInterrupt: an interrupt left the plan unproven.
    """
    try:
        answer = plan(scenario.job, market.at(scenario.prices, scenario.fabric), top=0)
    except (InfeasibleError, UnsupportedError) as error:
        status = INFEASIBLE if isinstance(error, InfeasibleError) else UNSUPPORTED
        return _outcome(scenario, status, reason=str(error))
    if answer.certificate.interrupted:
        raise KeyboardInterrupt
    found = answer.to_json()
    proof = {name: found["certificate"][name] for name in ("space", "evaluated", "pruned_bound", "gap")}
    return _outcome(scenario, PLANNED, best=found["best"], certificate=proof)


def unfinished(scenario: Scenario) -> dict[str, Any]:
    """The outcome of a scenario that an interrupt left unplanned."""
    return _outcome(scenario, UNFINISHED, reason="interrupted")


def _outcome(scenario: Scenario, status: str, **parts: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"best": None, "certificate": None, "reason": None}
    return {"scenario": scenario.values, "job": job_json(scenario.job), "status": status} | empty | parts
