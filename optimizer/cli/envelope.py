"""``clusterplan envelope``: the rules of thumb, each with its formula, its inputs and what it comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.options import CatalogDirs, Json, Tokens, parse_deadline_s, parse_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalogs.accelerator import Accelerator
    from costmodels.columns import Column
    from costmodels.recipe import Recipe


def _params(text: str) -> float:
    from catalogs.quantity import COUNT_UNITS, parse_positive

    return parse_positive(text, COUNT_UNITS, "--params")


def _trained(text: str) -> float:
    from catalogs.quantity import COUNT_UNITS, parse_positive

    return parse_positive(text, COUNT_UNITS, "--lora-params")


def _accelerators(text: str) -> int:
    return parse_whole(text, "--accelerators")


def parse_share(text: str) -> float:
    """A share above 0 and up to 1, also as a percentage.

    Raises:
        UsageError: it is no such number.

    >>> parse_share("0.4"), parse_share("40%")
    (0.4, 0.4)
    """
    from catalogs.errors import UsageError
    from catalogs.quantity import parse_positive

    share = parse_positive(text, {"": 1.0, "%": 0.01}, "share")
    if share > 1:
        raise UsageError(f"share: {text!r} is above 1; write 40% or 0.4")
    return share


Params = Annotated[float, typer.Option("--params", parser=_params, metavar="COUNT", help="Parameters: 70B.")]
Accelerators = Annotated[
    int, typer.Option("--accelerators", "-a", parser=_accelerators, metavar="COUNT", help="How many: 1024, 8.")
]
Mfu = Annotated[
    float, typer.Option("--mfu", parser=parse_share, metavar="SHARE", help="Model FLOPs utilisation: 0.4, 40%.")
]
Peak = Annotated[
    str,
    typer.Option(
        "--peak", metavar="RATE", help="Dense peak of one accelerator: 312TFLOP/s, or its catalog name (bf16 peak)."
    ),
]
RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe",
        "-r",
        metavar="NAME",
        help="Bytes per parameter: no-master (14), bf16-gradients (16), fp32 (16) or fp32-gradients (18).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the ``envelope`` group to the application."""
    group = typer.Typer(no_args_is_help=True, help="Rules of thumb: days, cluster size, largest model, state bytes.")
    group.command("days")(days)
    group.command("size")(size)
    group.command("model")(model)
    group.command("memory")(memory)
    app.add_typer(group, name="envelope")


def days(
    params: Params,
    tokens: Tokens,
    accelerators: Accelerators,
    peak: Peak,
    mfu: Mfu,
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Training days by 6·N·D.

    [bold]Examples[/bold]

      clusterplan envelope days --params 70B -t 15T -a 1024 --peak 989.5TFLOP/s --mfu 50%

      clusterplan envelope days --params 70B -t 2T -a 1024 --peak a800-sxm-80g --mfu 40% --json
    """
    import numpy as np

    from costmodels.envelope import training_days
    from costmodels.flops import six_nd_flops

    rate = _peak(peak, catalog)
    n, d, count, share = (np.asarray(float(value)) for value in (params, tokens, accelerators, mfu))
    _show(
        "days = 6 · params · tokens / (peak · accelerators · MFU · 86400)",
        {
            "params": params,
            "tokens": tokens,
            "accelerators": accelerators,
            "peak_flops_per_s": rate,
            "mfu": mfu,
        },
        {
            "flops": six_nd_flops(n, d),
            "effective_flops_per_s": rate * count * share,
            "days": training_days(n, d, np.asarray(rate), count, share),
        },
        json=json,
    )


def size(
    params: Params,
    tokens: Tokens,
    deadline: Annotated[
        float, typer.Option("--deadline", "-d", parser=parse_deadline_s, metavar="DURATION", help="90d, 12w, 36h.")
    ],
    peak: Peak,
    mfu: Mfu,
    replica: Annotated[int, typer.Option("--replica", min=1, help="Accelerators of a model replica.")] = 1,
    server: Annotated[int, typer.Option("--server", min=1, help="Accelerators of a server.")] = 8,
    spares: Annotated[float, typer.Option("--spares", min=0, max=1, help="Redundancy: 0.05 adds 5%.")] = 0.0,
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Accelerators that meet a deadline by 6·N·D, rounded up to replicas, spares and servers.

    [bold]Examples[/bold]

      clusterplan envelope size --params 70B -t 2T -d 90d --peak 312TFLOP/s --mfu 40% --replica 16 --spares 0.05

      clusterplan envelope size --params 70B -t 2T -d 90d --peak ascend-910b3 --mfu 40% --json
    """
    import numpy as np

    from costmodels.envelope import accelerators_needed, cluster_size, required_flops_per_s, training_days

    rate = np.asarray(_peak(peak, catalog))
    n, d, limit, share = (np.asarray(float(value)) for value in (params, tokens, deadline, mfu))
    effective = required_flops_per_s(n, d, limit)
    needed = accelerators_needed(effective, rate, share)
    cluster = cluster_size(needed, *(np.asarray(float(value)) for value in (replica, server, spares)))
    _show(
        "accelerators = 6 · params · tokens / (deadline · peak · MFU), up to replicas, · (1 + spares), up to servers",
        {
            "params": params,
            "tokens": tokens,
            "deadline_s": deadline,
            "peak_flops_per_s": float(rate),
            "mfu": mfu,
            "replica": replica,
            "server": server,
            "spares": spares,
        },
        {
            "effective_flops_per_s": effective,
            "needed": needed,
            **{name: getattr(cluster, name) for name in cluster.names()},
            "days": training_days(n, d, rate, cluster.working, share),
        },
        json=json,
    )


def model(
    accelerators: Accelerators,
    memory: Annotated[
        str, typer.Option("--memory", metavar="BYTES", help="Of one accelerator: 80GB, 80GiB, or its catalog name.")
    ],
    recipe: RecipeName = "fp32-gradients",
    catalog: CatalogDirs = None,
    json: Json = False,
) -> None:
    """Largest model whose training state fits, perfectly sharded and without activations: an upper bound.

    [bold]Examples[/bold]

      clusterplan envelope model -a 8 --memory 80GB --recipe fp32

      clusterplan envelope model -a 8 --memory h100-sxm-80g --json
    """
    import numpy as np

    from costmodels.envelope import largest_params, state_bytes_per_param

    capacity = _memory(memory, catalog)
    per_param = state_bytes_per_param(_recipe(recipe))
    _show(
        "params = memory · accelerators / bytes per parameter",
        {"memory_bytes": capacity, "accelerators": accelerators, "recipe": recipe},
        {
            "bytes_per_param": per_param,
            "params": largest_params(np.asarray(capacity), np.asarray(float(accelerators)), per_param),
        },
        json=json,
    )


def memory(
    params: Params,
    recipe: RecipeName = "fp32-gradients",
    tp: Annotated[int, typer.Option("--tp", min=1, help="Tensor parallel degree.")] = 1,
    pp: Annotated[int, typer.Option("--pp", min=1, help="Pipeline parallel degree.")] = 1,
    dp: Annotated[int, typer.Option("--dp", min=1, help="Data-parallel ranks that share state by ZeRO.")] = 1,
    zero: Annotated[int, typer.Option("--zero", min=0, max=3, help="ZeRO stage (FSDP full shard = 3).")] = 0,
    lora_params: Annotated[
        float | None,
        typer.Option("--lora-params", parser=_trained, metavar="COUNT", help="Train only so many: 33M adapters."),
    ] = None,
    json: Json = False,
) -> None:
    """State bytes of one rank: weights, gradients, master copy and AdamW moments; no activations.

    [bold]Examples[/bold]

      clusterplan envelope memory --params 70B --recipe no-master --tp 8 --pp 8

      clusterplan envelope memory --params 70B --dp 64 --zero 2 --json

      clusterplan envelope memory --params 70B --recipe no-master --lora-params 32.768M
    """
    import numpy as np

    from catalogs.errors import UsageError
    from costmodels.envelope import lora_state_bytes, state_bytes_per_param, zero_state_bytes

    chosen = _recipe(recipe)
    inputs: dict[str, float | str] = {"params": params, "recipe": recipe, "tp": tp, "pp": pp, "dp": dp, "zero": zero}
    if lora_params is not None:
        if zero:
            raise UsageError("--lora-params: the rule for adapters knows no ZeRO; leave out --zero")
        total = lora_state_bytes(
            np.asarray(params / (tp * pp)), np.asarray(lora_params / (tp * pp)), chosen, np.asarray(2.0)
        )
        formula = "bytes = (2 · params + bytes per parameter · adapter params) / (tp · pp)"
        parts = {}
        inputs["lora_params"] = lora_params
    else:
        parts = zero_state_bytes(np.asarray(params / (tp * pp)), chosen, np.asarray(float(dp)), np.asarray(float(zero)))
        formula = "bytes = params / (tp · pp) · bytes per parameter, each divided by dp from its ZeRO stage on"
        total = sum(parts.values(), start=np.zeros(()))
    results = {f"{name}_bytes": value for name, value in parts.items()}
    _show(
        formula,
        inputs,
        {"bytes_per_param": state_bytes_per_param(chosen)} | results | {"total_bytes": total},
        json=json,
    )


def _peak(text: str, catalog: CatalogDirs) -> float:
    """FLOP/s of a rate or of an accelerator's dense bf16 peak."""
    from catalogs.errors import UnsupportedError
    from catalogs.quantity import FLOP_RATE_UNITS, parse_positive

    if text[:1].isdigit() or text[:1] in ".+-":
        return parse_positive(text, FLOP_RATE_UNITS, "--peak", bare=False)
    found = _accelerator(text, catalog)
    if "bf16" not in found.peak_flops_per_s:
        raise UnsupportedError(f"{found.name} has no bf16 peak in the catalog; write the rate: --peak 125TFLOP/s")
    return found.peak_flops_per_s["bf16"]


def _memory(text: str, catalog: CatalogDirs) -> float:
    """Bytes of a quantity or of an accelerator's memory."""
    from catalogs.quantity import BYTE_UNITS, parse_positive

    if text[:1].isdigit() or text[:1] in ".+-":
        return parse_positive(text, BYTE_UNITS, "--memory", bare=False)
    return _accelerator(text, catalog).memory_bytes


def _accelerator(name: str, catalog: CatalogDirs) -> Accelerator:
    from catalogs.errors import UnknownNameError
    from catalogs.naming import unknown_name
    from optimizer.cli.layers import open_catalog

    known = open_catalog(catalog).accelerators
    if name not in known:
        raise UnknownNameError(unknown_name("accelerator", name, known))
    return known[name]


def _recipe(name: str) -> Recipe:
    from catalogs.errors import UnknownNameError
    from catalogs.naming import unknown_name
    from costmodels.envelope import STATE_RECIPES

    if name not in STATE_RECIPES:
        raise UnknownNameError(unknown_name("recipe", name, STATE_RECIPES))
    return STATE_RECIPES[name]


def _show(
    formula: str, inputs: Mapping[str, float | str], results: Mapping[str, float | Column], *, json: bool
) -> None:
    """Print a rule with what went in and what came out."""
    from optimizer.cli.output import emit_json, print_line, print_table
    from optimizer.planning import SCHEMA_VERSION

    numbers = {name: float(value) for name, value in results.items()}
    if json:
        emit_json({"schema_version": SCHEMA_VERSION, "formula": formula, "inputs": dict(inputs), "results": numbers})
        return
    print_line(formula)
    for title, values in (("input", inputs), ("result", numbers)):
        print_table((title, "value"), [(name, _cell(name, value)) for name, value in values.items()], right="value")


def _cell(name: str, value: float | str) -> str:
    """A value as a person reads it, six digits where its name carries no unit."""
    from optimizer.cli.units import exact, readable, unit_of

    if isinstance(value, str):
        return value
    if unit := unit_of(name):
        return readable(value, unit)
    return exact(value) if value == int(value) and value < 1e15 else f"{value:,.6g}"
