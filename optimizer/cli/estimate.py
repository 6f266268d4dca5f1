"""``clusterplan estimate``: memory, step time, days and cost of one given configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options import (
    CatalogDirs,
    Frameworks,
    GlobalBatch,
    Goodput,
    Json,
    Model,
    Offers,
    OneHardware,
    Optimizer,
    Precision,
    Recovery,
    Seq,
    Tokens,
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("estimate")(estimate)


def estimate(
    model: Model,
    hardware: OneHardware,
    tokens: Tokens = 1e12,
    tp: Annotated[int, typer.Option("--tp", min=1, help="Tensor parallel degree.")] = 1,
    pp: Annotated[int, typer.Option("--pp", min=1, help="Pipeline stages.")] = 1,
    vpp: Annotated[int, typer.Option("--vpp", min=1, help="Model chunks per stage (interleaved schedule).")] = 1,
    dp: Annotated[int, typer.Option("--dp", min=1, help="Model replicas.")] = 1,
    cp: Annotated[int, typer.Option("--cp", min=1, help="Context parallel degree.")] = 1,
    ep: Annotated[int, typer.Option("--ep", min=1, help="Expert parallel degree.")] = 1,
    etp: Annotated[int, typer.Option("--etp", min=1, help="Tensor parallel degree of the experts.")] = 1,
    zero: Annotated[
        int | None, typer.Option("--zero", min=0, max=3, help="ZeRO stage (FSDP full shard = 3); default: 1 or 3.")
    ] = None,
    zero_group: Annotated[
        int | None,
        typer.Option("--zero-group", min=1, help="Ranks sharing one copy of ZeRO 2/3 state (HSDP); default: all."),
    ] = None,
    micro_batch: Annotated[int, typer.Option("--micro-batch", min=1, help="Sequences per micro-batch.")] = 1,
    global_batch: GlobalBatch = None,
    recompute: Annotated[
        str, typer.Option("--recompute", help="none, selective, full, or first-N (leading N layers of each stage).")
    ] = "none",
    offload: Annotated[str, typer.Option("--offload", help="none, optimizer or activations.")] = "none",
    schedule: Annotated[
        str | None, typer.Option("--schedule", help="1f1b, interleaved or zero_bubble; default: as vpp says.")
    ] = None,
    sequence_parallel: Annotated[
        bool | None, typer.Option("--sequence-parallel/--no-sequence-parallel", help="Default: on with tp above 1.")
    ] = None,
    seq: Seq = None,
    precision: Precision = None,
    framework: Frameworks = None,
    optimizer: Optimizer = "adamw",
    goodput: Goodput = None,
    recovery: Recovery = "automatic",
    offers: Offers = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Write a Chrome trace of one step (chrome://tracing, Perfetto)."),
    ] = None,
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Say what one configuration needs: memory by component, seconds by component, days and cost.

    [bold]Examples[/bold]

      clusterplan estimate -m llama-2-70b -H a800-sxm-80g --tp 8 --pp 4 --dp 32 --global-batch 1024 -t 2T

      clusterplan estimate -m llama-3-8b -H h100-sxm-80g -f torchtitan-fsdp2 --dp 8 --zero 3 --seq 8192 --json
    """
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import emit_json, print_line
    from optimizer.cli.plan_view import show_configuration
    from optimizer.estimation import estimate as estimate_layout
    from optimizer.layout_request import layout_from_request
    from optimizer.request import read_job

    opened = open_catalog(catalog)
    job = read_job(
        opened,
        model,
        tokens,
        hardware=hardware or (),
        seq=seq,
        global_batch=global_batch or dp * micro_batch,
        precision=precision,  # type: ignore[arg-type]  # its parser has checked it
        frameworks=framework or (),
        offers=offers or (),
        optimizer=optimizer,
        goodput=goodput,
        recovery=recovery,  # type: ignore[arg-type]  # the job checks it
    )
    layout = layout_from_request(
        job,
        opened,
        tp=tp,
        pp=pp,
        vpp=vpp,
        dp=dp,
        cp=cp,
        ep=ep,
        etp=etp,
        zero=zero,
        zero_group=zero_group,
        micro_batch=micro_batch,
        recompute=recompute,
        offload=offload,
        schedule=schedule,
        sequence_parallel=sequence_parallel,
    )
    found = estimate_layout(job, layout, opened)
    if trace is not None:
        from optimizer.trace import write_trace

        write_trace(trace, job, found.configuration, opened)
    if json:
        emit_json(found.to_json())
        return
    show_configuration(found.configuration)
    print_line("Assumptions")
    for text in found.assumptions:
        print_line(f"  - {text}")
