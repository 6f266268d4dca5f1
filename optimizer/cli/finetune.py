"""``clusterplan finetune``: full, LoRA or QLoRA fine-tuning, on the fewest accelerators or on given ones."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from optimizer.cli.options import (
    CatalogDirs,
    Frameworks,
    GlobalBatch,
    Goodput,
    Hardware,
    Json,
    Model,
    Precision,
    Seq,
    parse_whole,
    split_names,
)

GIB = 2.0**30


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("finetune")(finetune)


def _accelerators(text: str) -> int:
    return parse_whole(text, "--accelerators")


def _examples(text: str) -> int:
    return parse_whole(text, "--examples")


def finetune(
    model: Model,
    hardware: Hardware,
    method: Annotated[str, typer.Option("--method", help="full, lora or qlora.")] = "lora",
    accelerators: Annotated[
        int | None,
        typer.Option(
            "--accelerators", "-a", parser=_accelerators, metavar="COUNT", help="Default: the fewest that do."
        ),
    ] = None,
    rank: Annotated[int, typer.Option("--rank", help="Of the adapters.")] = 16,
    modules: Annotated[
        list[str] | None,
        typer.Option("--modules", callback=split_names, help="all, attention, qv, or q,k,v,o,gate,up,down."),
    ] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="Pairs of answers beside a reference model (DPO).")] = False,
    examples: Annotated[
        int, typer.Option("--examples", parser=_examples, metavar="COUNT", help="Examples, or pairs: 50k.")
    ] = 10_000,
    epochs: Annotated[float, typer.Option("--epochs", min=0.01, help="Passes over the examples.")] = 3.0,
    mean_tokens: Annotated[
        float | None, typer.Option("--mean-tokens", min=1, help="Tokens of a mean example; default: the sequence.")
    ] = None,
    packed: Annotated[bool, typer.Option("--packed/--padded", help="Several examples in one sequence.")] = True,
    seq: Seq = None,
    global_batch: GlobalBatch = 64,
    precision: Precision = None,
    framework: Frameworks = None,
    goodput: Goodput = None,
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Say what fine-tuning needs: accelerators, memory by component, and hours.

    [bold]Examples[/bold]

      clusterplan finetune -m llama-2-70b -H a800-sxm-80g --method qlora --examples 50k --epochs 3

      clusterplan finetune -m llama-3-8b -H rtx-4090 -a 1 --method qlora --modules q,v --seq 2048 --json
    """
    from dataclasses import replace

    from catalogs.errors import UsageError
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import emit_json, print_line, print_table
    from optimizer.finetune import MODULE_SETS, Tuning, hours_text, sequences, tune, whole_batches
    from optimizer.request import read_job

    if len(hardware or ()) != 1:
        raise UsageError("name exactly one accelerator with --hardware")
    opened = open_catalog(catalog)
    checked: Any = precision
    batch = global_batch or 64
    job = read_job(
        opened,
        model,
        1e15,  # set below, once the sequence is known
        hardware=hardware or (),
        seq=seq,
        global_batch=batch,
        precision=checked,
        frameworks=framework or (),
        goodput=goodput,
    )
    count = sequences(examples, epochs, mean_tokens or job.seq, job.seq, packed=packed, pairs=pairs)
    job = replace(job, tokens=whole_batches(count, batch) * job.seq)
    chosen = modules or ["all"]
    names = MODULE_SETS[chosen[0]] if len(chosen) == 1 and chosen[0] in MODULE_SETS else tuple(chosen)
    wanted: Any = method
    found = tune(job, Tuning(wanted, rank, names, pairs), opened, accelerators)
    if json:
        emit_json(found.to_json() | {"assumptions": list(job.assumptions)})
        return
    print_line(
        f"{found.method} fine-tuning of {job.model.name} on {found.accelerators} × {found.hardware}: "
        f"{found.memory_bytes / GIB:.1f} of {found.capacity_bytes / GIB:.1f} GiB, {hours_text(found.hours)} for "
        f"{count:,.0f} sequences of {job.seq} tokens, {found.tokens_per_s_per_accel:,.0f} tokens/s per accelerator"
    )
    share = found.trainable_params / found.params
    print_line(f"{found.trainable_params / 1e6:,.2f}M of {found.params / 1e9:,.2f}B parameters trained ({share:.2%})")
    parts = [[name.replace("_", " "), f"{size / GIB:.2f}"] for name, size in found.memory.items() if size > 0]
    print_table(["memory", "GiB"], parts, right="GiB")
    degrees = ", ".join(f"{name} {value}" for name, value in found.layout.items() if value not in (0, 1, "none", False))
    print_line(f"Layout: {degrees}; {found.framework}")
    for text in job.assumptions:
        print_line(f"  - {text}")
