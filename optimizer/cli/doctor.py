"""``clusterplan doctor``: why a layout runs out of memory or time, and what repairs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.options import (
    CatalogDirs,
    Frameworks,
    GlobalBatch,
    Json,
    MaybeTokens,
    OneHardware,
    Optimizer,
    Precision,
    Seq,
    parse_whole,
)

if TYPE_CHECKING:
    from optimizer.doctor.diagnose import Diagnosis
    from optimizer.launch_files.launch import Launch

GIB = 2.0**30


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("doctor")(doctor)


def _accelerators(text: str) -> int:
    return parse_whole(text, "--accelerators")


def _peak(text: str) -> float:
    from catalogs.quantity import BYTE_UNITS, parse_positive

    return parse_positive(text, BYTE_UNITS, "--peak", bare=False)


def _step(text: str) -> float:
    from catalogs.quantity import DURATION_UNITS, parse_positive

    return parse_positive(text, DURATION_UNITS, "--step", bare=False)


def doctor(
    hardware: OneHardware,
    launch: Annotated[
        Path | None,
        typer.Option("--launch", metavar="FILE", help="Launch file: Megatron-LM, DeepSpeed, torchtitan or NeMo."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Of the launch file: megatron, deepspeed, torchtitan or nemo.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="As for estimate; a launch file may say it.")
    ] = None,
    accelerators: Annotated[
        int | None,
        typer.Option("--accelerators", "-a", parser=_accelerators, metavar="COUNT", help="In all; sets --dp."),
    ] = None,
    tp: Annotated[int | None, typer.Option("--tp", min=1, help="Tensor parallel degree.")] = None,
    pp: Annotated[int | None, typer.Option("--pp", min=1, help="Pipeline stages.")] = None,
    vpp: Annotated[int | None, typer.Option("--vpp", min=1, help="Model chunks per stage.")] = None,
    dp: Annotated[int | None, typer.Option("--dp", min=1, help="Model replicas.")] = None,
    cp: Annotated[int | None, typer.Option("--cp", min=1, help="Context parallel degree.")] = None,
    ep: Annotated[int | None, typer.Option("--ep", min=1, help="Expert parallel degree.")] = None,
    zero: Annotated[int | None, typer.Option("--zero", min=0, max=3, help="ZeRO stage.")] = None,
    micro_batch: Annotated[int | None, typer.Option("--micro-batch", min=1, help="Sequences per micro-batch.")] = None,
    global_batch: GlobalBatch = None,
    recompute: Annotated[str | None, typer.Option("--recompute", help="none, selective, full or first-N.")] = None,
    offload: Annotated[str | None, typer.Option("--offload", help="none, optimizer or activations.")] = None,
    sequence_parallel: Annotated[
        bool | None, typer.Option("--sequence-parallel/--no-sequence-parallel", help="Default: on with tp above 1.")
    ] = None,
    oom: Annotated[bool, typer.Option("--oom", help="It ran out of memory.")] = False,
    oom_rank: Annotated[int | None, typer.Option("--oom-rank", min=0, help="Rank that ran out of memory.")] = None,
    peak: Annotated[
        float | None, typer.Option("--peak", parser=_peak, metavar="BYTES", help="Measured peak memory: 76.5GiB.")
    ] = None,
    step: Annotated[
        float | None, typer.Option("--step", parser=_step, metavar="DURATION", help="Measured step time: 5.2s.")
    ] = None,
    tokens_per_s_per_accel: Annotated[
        float | None, typer.Option("--tokens-per-s-per-accel", help="Measured tokens/s of one accelerator.")
    ] = None,
    tokens: MaybeTokens = None,
    seq: Seq = None,
    precision: Precision = None,
    framework: Frameworks = None,
    optimizer: Optimizer = "adamw",
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Say what fills the memory of a layout and by how much it is over, what repairs it, and where the time goes.

    [bold]Examples[/bold]

      clusterplan doctor -m llama-2-70b -H a800-sxm-80g --tp 8 --pp 2 --dp 4 --micro-batch 4 --global-batch 512

      clusterplan doctor -H h100-sxm-80g --launch pretrain.sh -a 512 --oom-rank 3 --peak 79GiB --json
    """
    from catalogs.errors import UsageError
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import emit_json
    from optimizer.doctor.diagnose import Observed, diagnose
    from optimizer.launch_files.launch import Launch
    from optimizer.launch_files.request import job_and_layout, read_launch_file

    if len(hardware or ()) != 1:
        raise UsageError("name exactly one accelerator with --hardware")
    if len(framework or ()) > 1:
        raise UsageError("a layout is for one framework; name one with --framework")
    opened = open_catalog(catalog)
    name = (hardware or [""])[0]
    opened.find("accelerators", name)
    if launch is not None:
        read = read_launch_file(launch, kind)
    elif model is None:
        raise UsageError("describe the layout: --model with degrees, or --launch with a launch file")
    else:
        read = Launch("flags", "")
        read.settings["micro_batch"] = 1
        if dp is None and accelerators is None:
            dp = 1
    given: dict[str, Any] = {
        "tp": tp,
        "pp": pp,
        "vpp": vpp,
        "dp": dp,
        "cp": cp,
        "ep": ep,
        "zero": zero,
        "micro_batch": micro_batch,
        "global_batch": global_batch,
        "recompute": recompute,
        "offload": offload,
        "sequence_parallel": sequence_parallel,
        "seq": seq,
        "precision": precision,
    }
    if launch is None or optimizer != "adamw":
        given["optimizer"] = optimizer
    job, layout = job_and_layout(
        read,
        opened,
        hardware=name,
        model=model,
        accelerators=accelerators,
        framework=framework[0] if framework else _usual(read, opened, name),
        tokens=tokens,
        **given,
    )
    seen = Observed(
        oom=oom or oom_rank is not None,
        oom_rank=oom_rank,
        peak_bytes=peak,
        step_s=step,
        tokens_per_s_per_accel=tokens_per_s_per_accel,
    )
    found = diagnose(job, layout, opened, seen)
    if json:
        emit_json(found.to_json() | {"launch": None if launch is None else read.to_json()})
        return
    if launch is not None:
        _show_launch(read)
    _show(found)


def _usual(read: Launch, opened: Any, hardware: str) -> str:
    """The framework of a launch file, or the usual one of the accelerator."""
    from optimizer.market import usual_framework

    return read.framework or usual_framework(opened.accelerators[hardware])


def _show_launch(read: Launch) -> None:
    from optimizer.cli.output import print_line

    print_line(f"Launch file ({read.kind}): {len(read.used)} arguments used, {len(read.beside)} beside the point")
    for text in read.unknown:
        print_line(f"  unknown argument, not modelled: {text}")
    for text in read.notes:
        print_line(f"  {text}")
    print_line()


def _show(found: Diagnosis) -> None:
    from optimizer.cli.output import print_line, print_table
    from optimizer.cli.plan_view import layout_text

    one = found.configuration
    fullest = found.stages[0]
    verdict = (
        f"{fullest.over_bytes / GIB:.2f} GiB too much" if not one.fits else f"{-fullest.over_bytes / GIB:.2f} free"
    )
    print_line(
        f"{one.accelerators} × {one.hardware}, {layout_text(one.layout)}: stage {fullest.stage} needs "
        f"{one.memory_bytes / GIB:.2f} of {one.capacity_bytes / GIB:.2f} GiB ({verdict}), {fullest.when}"
    )
    for text in found.notes:
        print_line(f"  {text}")
    shown = found.stages[:4]
    names = [name for name in fullest.parts if any(stage.parts[name] > 0 for stage in shown)]
    print_table(
        ["GiB", *(f"stage {stage.stage}" for stage in shown)],
        [[name.replace("_", " "), *(f"{stage.parts[name] / GIB:.2f}" for stage in shown)] for name in names]
        + [["over capacity", *(f"{stage.over_bytes / GIB:+.2f}" for stage in shown)]],
        title="What fills the memory",
    )
    if found.repairs:
        print_table(
            ["#", "repair", "hardware", "throughput", "memory", "layout"],
            [
                [
                    str(rank),
                    "; ".join(one.changes),
                    one.hardware,
                    f"{one.throughput - 1:+.1%}",
                    f"{one.configuration.memory_bytes / GIB:.1f} of {one.configuration.capacity_bytes / GIB:.1f} GiB",
                    layout_text(one.configuration.layout),
                ]
                for rank, one in enumerate(found.repairs, start=1)
            ],
            title="Repairs, cheapest in throughput first; each fits",
        )
    elif not one.fits:
        print_line(
            "No change of up to three axes on these accelerators fits; `clusterplan size` says how many it takes."
        )
    if found.best is not None:
        print_line(
            f"The best layout on these accelerators ({layout_text(found.best.layout)}, recompute "
            f"{found.best.layout.recompute}) takes {found.best.step_s:.3f} s a step; this one {one.step_s:.3f} s, "
            f"{found.slower or 1:.2f} times as long for the same tokens"
        )
        rows = [
            [name.replace("_", " "), f"{here:.3f}", f"{there:.3f}", f"{here - there:+.3f}"]
            for name, (here, there) in found.time.items()
            if here > 0 or there > 0
        ]
        print_table(
            ["seconds of a step", "here", "best", "lost"], rows, right="here best lost", title="Where time goes"
        )
    if found.measured is not None:
        shares = found.measured
        print_line(
            f"Of {sum(shares.values()):.3f} s measured, the best layout takes {shares['best']:.3f} s, this one adds "
            f"{shares['layout']:+.3f} s, and {shares['unexplained']:+.3f} s are not explained by the model"
        )
    for fact in found.facts:
        size, unit = (GIB, " GiB") if "memory" in fact.name else (1.0, "")
        print_line(
            f"Measured {fact.name}: {fact.observed / size:.6g}{unit}, predicted {fact.predicted / size:.6g}{unit} "
            f"({fact.deviations:+.1f} standard deviations)"
        )
