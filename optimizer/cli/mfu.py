"""``clusterplan mfu``: model and hardware FLOPs utilisation from a measured throughput."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.options import CatalogDirs, Json, Model, OneHardware, Precision, Seq


def _rate(text: str) -> float:
    from catalogs.quantity import COUNT_UNITS, parse_positive

    return parse_positive(text, COUNT_UNITS, "the measured throughput")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("mfu")(mfu)


def mfu(
    model: Model,
    hardware: OneHardware,
    tokens_per_s: Annotated[
        float | None,
        typer.Option(
            "--tokens-per-s",
            parser=_rate,
            metavar="COUNT",
            help="Measured tokens per second of the whole cluster: 2.9e6, 2.9M.",
        ),
    ] = None,
    tokens_per_s_per_accel: Annotated[
        float | None,
        typer.Option(
            "--tokens-per-s-per-accel",
            parser=_rate,
            metavar="COUNT",
            help="Measured tokens per second and accelerator: 330, 1.2k.",
        ),
    ] = None,
    accelerators: Annotated[
        int | None, typer.Option("--accelerators", min=1, help="Cluster size, with --tokens-per-s.")
    ] = None,
    recomputed_share: Annotated[
        float, typer.Option("--recomputed-share", help="Share of layers fully recomputed, 0 to 1 (for HFU).")
    ] = 0.0,
    selective: Annotated[
        bool, typer.Option("--selective", help="The attention core was recomputed (for HFU).")
    ] = False,
    seq: Seq = None,
    precision: Precision = None,
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Turn a measured throughput into MFU and HFU, with the FLOPs by component.

    [bold]Examples[/bold]

      clusterplan mfu -m llama-2-70b -H a800-sxm-80g --tokens-per-s-per-accel 330 --seq 4096

      clusterplan mfu -m llama-3.1-405b -H h100-sxm-80g --tokens-per-s 2.9e6 --accelerators 8192 --json
    """
    from catalogs.errors import UsageError
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import emit_json, print_line, print_table
    from optimizer.estimation import utilisation
    from optimizer.request import read_job

    if (tokens_per_s is None) == (tokens_per_s_per_accel is None):
        raise UsageError("give --tokens-per-s with --accelerators, or --tokens-per-s-per-accel")
    if tokens_per_s is None and accelerators is not None:
        raise UsageError("--accelerators goes with --tokens-per-s, the throughput of the whole cluster")
    if tokens_per_s is not None:
        if accelerators is None:
            raise UsageError("--tokens-per-s needs --accelerators, the number it was measured on")
        tokens_per_s_per_accel = tokens_per_s / accelerators
    if tokens_per_s_per_accel is None or not 0 < tokens_per_s_per_accel < float("inf"):
        raise UsageError("the measured throughput must be above zero")
    opened = open_catalog(catalog)
    job = read_job(
        opened,
        model,
        1e12,  # any: utilisation does not depend on it
        hardware=hardware or (),
        seq=seq,
        precision=precision,  # type: ignore[arg-type]  # its parser has checked it
    )
    found = utilisation(job, opened, tokens_per_s_per_accel, recomputed_share, selective=selective)
    if json:
        emit_json(found.to_json())
        return
    print_line(f"MFU {found.mfu:.2%}, HFU {found.hfu:.2%} of {found.peak_flops_per_s / 1e12:,.1f} TFLOP/s")
    total = sum(found.components.values())
    print_table(
        ["forward FLOPs per token", "GFLOP", "share"],
        [[name.replace("_", " "), f"{v / 1e9:,.3f}", f"{v / total:.1%}"] for name, v in found.components.items() if v],
        right="GFLOP share",
    )
    print_line(
        f"Training: {found.model_flops_per_token / 1e9:,.2f} GFLOP per token "
        f"({found.executed_flops_per_token / 1e9:,.2f} executed; 6·N rule: {found.six_n_flops_per_token / 1e9:,.2f} "
        f"with {found.active_params / 1e9:,.2f}B active parameters)"
    )
    if found.mfu > 1:
        print_line("More than the dense peak is impossible: check the throughput, whose it is, and the precision.")
