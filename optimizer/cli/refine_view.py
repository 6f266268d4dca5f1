"""A refined plan as tables for people."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from optimizer.cli.output import print_line, print_table
from optimizer.cli.plan_view import GIB, layout_text, money
from optimizer.extended.refine import Refined


def show_refined(found: Refined) -> None:
    """Print the plan beside the exact optimum it was started from, then how it was found."""
    document = found.to_json()
    best, start = document["best"], found.start
    print_line(f"{found.problem.job.model.name}: {_verdict(found)}")
    print_line()
    rows = [] if start is None else [_start_row(start)]
    rows += [_row(one) for one in document["front"] or [best]]
    print_table(
        ["plan", "accel.", "days", "cost", "layout", "layers by stage", "recomputed", "offers"],
        rows,
        right="accel. days cost",
    )
    memory = best["memory_bytes"]
    fullest = max(range(len(memory)), key=lambda stage: memory[stage])
    print_line(
        f"Fullest rank: stage {fullest} with {memory[fullest] / GIB:.1f} of {best['capacity_bytes'] / GIB:.1f} GiB; "
        f"emptiest {min(memory) / GIB:.1f} GiB"
    )
    chances = f"P(fits) {best['p_fits']:.2f}"
    if best["p_deadline"] is not None:
        chances += f", P(meets the deadline) {best['p_deadline']:.2f}"
    print_line(chances)
    how = found.search
    kept = f", kept in {how.storage}" if how.storage else ""
    lost = f"; {how.lost_workers} processes died, others did their work" if how.lost_workers else ""
    print_line(
        f"{how.points:,} points sampled ({how.sampler}, seed {how.seed}), {how.candidates:,} different plans "
        f"evaluated{kept}{lost}{'; interrupted' if how.interrupted else ''}"
    )
    print_line()
    print_line("Assumptions")
    for text in found.assumptions:
        print_line(f"  - {text}")


def _verdict(found: Refined) -> str:
    if found.start is None:
        return "nothing enumerable meets the constraints; this does"
    gain = found.gain or 0.0
    if gain <= 0:
        return "nothing cheaper than the exact optimum of the enumerable space was found"
    usd = gain * (found.start.cost_usd or 0.0)
    return f"{gain:.2%} ({money(usd)}) cheaper than the exact optimum of the enumerable space"


def _start_row(start: Any) -> list[str]:
    return [
        "exact optimum",
        f"{start.accelerators:,}",
        f"{start.days:.1f}",
        money(start.cost_usd),
        layout_text(start.layout),
        "even",
        start.layout.recompute,
        f"{start.servers} × {start.offer}",
    ]


def _row(one: dict[str, Any]) -> list[str]:
    layout = one["layout"]
    degrees = " ".join(f"{name}{layout[name]}" for name in ("tp", "pp", "vpp", "cp", "ep", "dp") if layout[name] > 1)
    away = [f"{layout[name]:.0%} of {what} offloaded" for name, what in _AWAY if layout[name]]
    return [
        "refined",
        f"{one['accelerators']:,}",
        f"{one['days']:.1f}",
        money(one["cost_usd"]),
        ", ".join([f"{degrees} mbs{layout['micro_batch']} batch {layout['global_batch']:,}", *away]),
        _runs(layout["layers"]),
        _runs(layout["recomputed_layers"]) if any(layout["recomputed_layers"]) else "none",
        " + ".join(f"{count} × {name}" for name, count in one["offers"].items()),
    ]


_AWAY = (("offload_optimizer", "the optimizer"), ("offload_activations", "the activations"))


def _runs(numbers: list[int]) -> str:
    """Equal neighbours together.

    >>> _runs([20, 21, 21, 18])
    '20 2×21 18'
    """
    runs = ((value, len(list(group))) for value, group in groupby(numbers))
    return " ".join(f"{count}×{value}" if count > 1 else str(value) for value, count in runs)
