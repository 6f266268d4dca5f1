"""A plan as tables for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from costmodels.run import DAY_S
from optimizer.certificate import Certificate
from optimizer.cli.output import emit_json, print_line, print_table, remark
from optimizer.configuration import Configuration
from optimizer.job import EVEN, SURE
from optimizer.layout import Layout
from optimizer.planning import SCHEMA_VERSION, Plan, job_json
from optimizer.space_rules import RULES

if TYPE_CHECKING:
    from optimizer.doctor.nearest import Nearest
    from optimizer.job import Job

GIB = 2.0**30

MAX_REASONS = 16
"""Refusals shown without ``--why``."""


def show_plan(plan: Plan, *, why: bool) -> None:
    """Print the plan: the answer first, then its parts, the runners-up, the reasons, the proof."""
    job, best = plan.job, plan.best
    deadline = f" in {job.deadline_s / DAY_S:g} days" if math.isfinite(job.deadline_s) else ""
    print_line(f"Cheapest plan for {job.model.name} on {_count(job.tokens)} tokens{deadline}")
    print_line()
    show_configuration(best)
    print_table(
        ["#", "hardware", "offer", "accel.", "days", "P(deadline)", "P(fits)", "cost", "MFU", "layout"],
        [
            [
                str(rank),
                one.hardware,
                one.offer or "",
                f"{one.accelerators:,}",
                f"{one.days:.1f}",
                "-" if one.p_deadline is None else f"{one.p_deadline:.2f}",
                f"{one.p_fits:.2f}",
                money(one.cost_usd),
                f"{one.mfu:.1%}",
                layout_text(one.layout),
            ]
            for rank, one in enumerate((best, *plan.alternatives), start=1)
        ],
        title="The plan and its runners-up",
        right="# accel. days P(deadline) P(fits) cost MFU",
    )
    if unsure := _unsure(best, job.confidence):
        print_line(unsure)
        print_line()
    told = plan.rejected if why else plan.rejected[:MAX_REASONS]
    print_table(["what", "why it loses"], [[r.what, r.reason] for r in told], title="Why not")
    if len(told) < len(plan.rejected):
        print_line(f"{len(plan.rejected) - len(told)} more with --why")
        print_line()
    proof = plan.certificate
    pruned = ", ".join(f"{rows:,} by {rule}" for rule, rows in proof.pruned.items())
    print_line(
        f"Searched {proof.space:,} candidates: {proof.evaluated:,} evaluated, {pruned or 'none pruned'}; "
        f"gap {proof.gap(best.cost_usd or 0.0):.1%}"
    )
    print_line()
    print_line("Assumptions")
    for text in plan.assumptions:
        print_line(f"  - {text}")
    if why:
        print_line()
        print_table(["rule", "what is not in the space"], [[n, t] for n, t in RULES.items()], title="Rules")


def _unsure(best: Configuration, confidence: float) -> str:
    """What to ask for where the plan may well be late or not fit and no more was asked for; empty where it is safe."""
    risks = [
        text
        for text, chance in (("not fit", best.p_fits), ("be late", 1.0 if best.p_deadline is None else best.p_deadline))
        if chance < SURE
    ]
    if not risks or confidence > EVEN:
        return ""
    return (
        f"The cheapest plan may well {' or '.join(risks)}: --confidence {SURE:.0%} finds the cheapest that "
        f"fits and meets the date with a probability of {SURE:.0%} each."
    )


def show_front(front: list[Configuration], proof: Certificate, *, as_json: bool) -> None:
    """Print the configurations that none beats in cost, days and accelerators together."""
    if as_json:
        emit_json(
            {
                "schema_version": SCHEMA_VERSION,
                "front": [one.to_json() for one in front],
                "certificate": {"space": proof.space, "evaluated": proof.evaluated, "pruned": proof.pruned},
            }
        )
        return
    print_table(
        ["accel.", "days", "cost", "MFU", "hardware", "offer", "layout"],
        [
            [
                f"{one.accelerators:,}",
                f"{one.days:.1f}",
                money(one.cost_usd),
                f"{one.mfu:.1%}",
                one.hardware,
                one.offer or "",
                layout_text(one.layout),
            ]
            for one in front
        ],
        title="No plan beats these in cost, days and accelerators together",
        right="accel. days cost MFU",
    )
    print_line(f"{len(front)} of {proof.space:,} candidates; {proof.evaluated:,} evaluated")


def goodput_text(one: Configuration) -> str:
    """What failures and checkpoints take of a run, in one line."""
    if one.interruptions is None or one.checkpoint_s is None or one.checkpoint_interval_s is None:
        return f"{one.goodput:.1%}, as given"
    return (
        f"{one.goodput:.1%}: {one.interruptions:.0f} interruptions expected, a checkpoint of {one.checkpoint_s:.0f} s "
        f"every {one.checkpoint_interval_s / 60:.0f} min" + (f", {one.spares} spare servers" if one.spares else "")
    )


def show_configuration(one: Configuration) -> None:
    """Print one configuration: cluster, layout, memory and time."""
    layout = one.layout
    priced = f"{money(one.cost_usd)} ({one.tenure}, {one.offer})" if one.offer else "no offer considered"
    recompute = f"{layout.recompute} recomputation" if layout.recompute != "none" else "no recomputation"
    chances = f"P(fits) {one.p_fits:.2f}"
    if one.p_deadline is not None:
        chances += f", P(meets deadline) {one.p_deadline:.2f}"
    rows = [
        ("cluster", f"{one.accelerators:,} × {one.hardware} in {one.servers:,} servers ({one.server})"),
        ("cost", priced),
        ("time", f"{one.days:.1f} days, {one.steps:,} steps of {one.step_s:.3f} s"),
        (
            "",
            f"90% of such runs end in {one.days_interval[0]:.1f} to {one.days_interval[1]:.1f} days; {chances}",
        ),
        ("goodput", goodput_text(one)),
        (
            "speed",
            f"{one.tokens_per_s_per_accel:,.0f} tokens/s per accelerator, MFU {one.mfu:.1%}, HFU {one.hfu:.1%} "
            f"of the {one.precision} peak",
        ),
        ("layout", layout_text(layout)),
        (
            "",
            f"{layout.schedule} schedule, ZeRO {layout.zero}, {recompute}, offload {layout.offload}, "
            f"sequence parallel {'on' if layout.sequence_parallel else 'off'}",
        ),
        (
            "batch",
            f"{layout.global_batch:,} sequences = {layout.micro_batches} micro-batches of {layout.micro_batch} "
            f"on {layout.dp} replicas",
        ),
        ("software", f"{one.framework}, {one.profile}"),
    ]
    print_table(["best" if one.fits else "does not fit", ""], rows)
    memory = [(name, size) for name, size in one.memory.items() if size > 0]
    used = one.memory_bytes
    print_table(
        ["memory", "GiB", "share"],
        [[name.replace("_", " "), f"{size / GIB:.2f}", f"{size / one.capacity_bytes:.1%}"] for name, size in memory]
        + [
            [
                f"total on the fullest rank (stage {one.peak_stage})",
                f"{used / GIB:.2f}",
                f"{used / one.capacity_bytes:.1%} of {one.capacity_bytes / GIB:.1f} GiB",
            ]
        ],
        right="GiB share",
    )
    time = sorted(((n, s) for n, s in one.time.items() if s > 0), key=lambda item: -item[1])
    print_table(
        ["time of a step", "s", "share"],
        [[name.replace("_", " "), f"{seconds:.3f}", f"{seconds / one.step_s:.1%}"] for name, seconds in time],
        right="s share",
    )
    if one.cost:
        print_table(["cost", "USD"], [[name, f"{usd:,.0f}"] for name, usd in one.cost.items()], right="USD")


def show_nearest(job: Job, reason: str, near: Sequence[Nearest], *, as_json: bool) -> None:
    """Say which plans come nearest to a job that none meets: as JSON, or in words beside the complaint."""
    if as_json:
        emit_json(
            {
                "schema_version": SCHEMA_VERSION,
                "job": job_json(job),
                "best": None,
                "reason": reason,
                "nearest": [one.to_json() for one in near],
            }
        )
        return
    remark("the nearest plans, each searched anew:" if near else "no plan relaxes a single constraint")
    for each in near:
        one = each.configuration
        remark(
            f"  {each.axis}: {each.change}: {money(one.cost_usd)}, {one.days:,.1f} days on {one.accelerators:,} × "
            f"{one.hardware} ({one.offer}), {layout_text(one.layout)}"
        )


def layout_text(layout: Layout) -> str:
    """The degrees in one line, those of 1 left out."""
    degrees = {
        "tp": layout.tp,
        "pp": layout.pp,
        "vpp": layout.vpp,
        "cp": layout.cp,
        "ep": layout.ep,
        "etp": layout.etp,
        "dp": layout.dp,
    }
    text = " ".join(f"{name}{value}" for name, value in degrees.items() if value > 1) or "one device"
    return f"{text} mbs{layout.micro_batch}"


def money(usd: float | None) -> str:
    """USD for people."""
    if usd is None:
        return "-"
    return f"${usd / 1e6:,.3f}M" if usd >= 1e6 else f"${usd:,.0f}"


def _count(number: float) -> str:
    for scale, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if number >= scale:
            return f"{number / scale:g}{suffix}"
    return f"{number:g}"
