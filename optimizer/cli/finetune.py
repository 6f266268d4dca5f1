"""``clusterplan finetune``: full, LoRA or QLoRA fine-tuning, on the fewest accelerators or on given ones."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from optimizer.cli.options import GlobalBatch, Json, Model, OneHardware, parse_whole, split_names
from optimizer.cli.question import Question, asking, only_hardware

GIB = 2.0**30


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("finetune")(asking(finetune, without=("global_batch", "global_batch_tokens")))


def _accelerators(text: str) -> int:
    return parse_whole(text, "--accelerators")


def _examples(text: str) -> int:
    return parse_whole(text, "--examples")


def finetune(
    *,
    model: Model,
    hardware: OneHardware,
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
    precomputed: Annotated[
        bool, typer.Option("--precomputed-reference", help="Of pairs: run the reference model once, beforehand.")
    ] = False,
    examples: Annotated[
        int, typer.Option("--examples", parser=_examples, metavar="COUNT", help="Examples, or pairs: 50k.")
    ] = 10_000,
    epochs: Annotated[float, typer.Option("--epochs", min=0.01, help="Passes over the examples.")] = 3.0,
    mean_tokens: Annotated[
        float | None, typer.Option("--mean-tokens", min=1, help="Tokens of a mean example; default: the sequence.")
    ] = None,
    packed: Annotated[bool, typer.Option("--packed/--padded", help="Several examples in one sequence.")] = True,
    global_batch: GlobalBatch = 64,
    question: Question,
    json: Json = False,
) -> None:
    """Say what fine-tuning needs: accelerators, memory by component, and hours.

    [bold]Examples[/bold]

      clusterplan finetune -m llama-2-70b -H a800-sxm-80g --method qlora --examples 50k --epochs 3

      clusterplan finetune -m llama-3-8b -H rtx-4090 -a 1 --method qlora --modules q,v --seq 2048 --json

      clusterplan finetune -m mixtral-8x7b -H h100-sxm-80g -a 8 --pairs --precomputed-reference --epochs 2
    """
    from dataclasses import replace

    from catalogs.errors import UsageError
    from optimizer.cli.output import emit_json, print_line, print_table
    from optimizer.cli.plan_view import layout_text
    from optimizer.finetune import hours_text, sequences, tune, whole_batches
    from optimizer.tuning import MODULE_SETS, FineTuning

    if precomputed and not pairs:
        raise UsageError("--precomputed-reference is for --pairs: nothing else has a reference model")
    opened = question.open()
    batch = global_batch or 64
    # The tokens are set below, once the sequence is known.
    job = question.job(opened, model, 1e15, hardware=only_hardware(hardware), global_batch=batch)
    count = sequences(examples, epochs, mean_tokens or job.seq, job.seq, packed=packed, pairs=pairs)
    chosen = modules or ["all"]
    names = MODULE_SETS[chosen[0]] if len(chosen) == 1 and chosen[0] in MODULE_SETS else tuple(chosen)
    wanted: Any = method
    tuning = FineTuning(
        method=wanted,
        rank=rank,
        modules=names,
        reference="none" if not pairs else "precomputed" if precomputed else "beside",
        example_tokens=mean_tokens if packed else None,
    )
    job = replace(job, tokens=whole_batches(count, batch) * job.seq, tuning=tuning)
    found = tune(job, opened, accelerators, epochs=epochs)
    if json:
        emit_json(found.to_json() | {"assumptions": list(job.assumptions)})
        return
    one = found.configuration
    print_line(
        f"{found.method} fine-tuning of {job.model.name} on {one.accelerators} × {one.hardware}: "
        f"{one.memory_bytes / GIB:.1f} of {one.capacity_bytes / GIB:.1f} GiB, {hours_text(found.hours)} for "
        f"{count:,.0f} sequences of {job.seq} tokens, {one.tokens_per_s_per_accel:,.0f} tokens/s per accelerator"
    )
    if found.reference_hours:
        print_line(f"The reference model runs beforehand: {hours_text(found.reference_hours)} of it, once per example")
    share = found.trainable_params / found.params
    print_line(f"{found.trainable_params / 1e6:,.2f}M of {found.params / 1e9:,.2f}B parameters trained ({share:.2%})")
    parts = [[name.replace("_", " "), f"{size / GIB:.2f}"] for name, size in one.memory.items() if size > 0]
    print_table(["memory", "GiB"], parts, right="GiB")
    print_line(f"Layout: {layout_text(one.layout)}, recompute {one.layout.recompute}; {one.framework}")
    for text in job.assumptions:
        print_line(f"  - {text}")
