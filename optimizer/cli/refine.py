"""``clusterplan refine``: better than the exact optimum of the enumerable space, by sampling beyond it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from optimizer.cli.options import Json, names_option, parse_share
from optimizer.cli.question import Demand, asking


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("refine")(asking(refine))


def refine(
    *,
    demand: Demand,
    extend: Annotated[
        list[str] | None,
        names_option(
            "--extend",
            help="What to add to the enumerable space: stages, recompute, offload, batch, offers; default: all.",
        ),
    ] = None,
    objectives: Annotated[
        list[str] | None,
        names_option(
            "--objectives",
            help="What to minimise: cost, days, accelerators, risk (of being late). Several give a front.",
        ),
    ] = None,
    batch_range: Annotated[
        str, typer.Option("--batch-range", metavar="SHARE", help="By how much the global batch may differ: 25%.")
    ] = "0%",
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Points to sample in all, those already in the storage counted.")
    ] = 2000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that share the study.")] = 1,
    sampler: Annotated[
        str | None, typer.Option("--sampler", metavar="NAME", help="tpe, nsga2, nsga3 or random; default: the best.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the sampler.")] = 0,
    storage: Annotated[
        str,
        typer.Option(
            "--storage",
            metavar="URL",
            help="Where the study is kept: sqlite:///FILE, postgresql://…, mysql://…, journal:///FILE; or none.",
        ),
    ] = "sqlite:///clusterplan-refine.db",
    json: Json = False,
) -> None:
    """Look for plans beyond the enumerable space, from its exact optimum onwards; never worse than it.

    Added are any number of layers and as much recomputation as needed on every pipeline stage, shares of offload,
    global batches within a range, and clusters from several offers of one provider. The same command resumes a study
    that was interrupted, or goes on with more trials. Ctrl-C gives the best so far.

    [bold]Examples[/bold]

      clusterplan refine --model llama-2-70b --tokens 2T --deadline 90d --hardware a800-sxm-80g

      clusterplan refine -m deepseek-v3 -t 14.8T -d 60d -H h800-sxm-80g --extend stages,recompute --trials 500 --json

      clusterplan refine -m llama-3-8b -t 1T -d 30d --catalog ./our-prices --extend offers --storage none

      clusterplan refine -m llama-2-13b -t 500B -d 60d -H a100-sxm-80g --objectives cost,days,accelerators --workers 2
    """
    from optimizer.cli import INTERRUPTED
    from optimizer.cli.output import emit_json
    from optimizer.cli.progress import progress_bar
    from optimizer.cli.refine_view import show_refined
    from optimizer.extended.candidate import EXTENSIONS
    from optimizer.extended.problem import OBJECTIVES
    from optimizer.extended.refine import refine as find
    from optimizer.extended.sampler import SAMPLERS

    added: Any = _known("--extend", extend or list(EXTENSIONS), EXTENSIONS)
    wanted: Any = _known("--objectives", objectives or ["cost"], OBJECTIVES)
    chosen: Any = _known("--sampler", [sampler], SAMPLERS)[0] if sampler else None
    opened = demand.open()
    job = demand.demanded(opened)
    with progress_bar("sampling plans") as report:
        found = find(
            job,
            opened,
            extend=added,
            objectives=wanted,
            batch_range=parse_share(batch_range, "--batch-range"),
            points=trials,
            sampler=chosen,
            seed=seed,
            workers=workers,
            storage=None if storage == "none" else storage,
            progress=report,
        )
    if json:
        emit_json(found.to_json())
    else:
        show_refined(found)
    if found.search.interrupted:
        raise typer.Exit(INTERRUPTED)


def _known(option: str, names: list[str], known: Any) -> list[str]:
    from catalogs.errors import UnknownNameError
    from catalogs.naming import unknown_name

    for name in names:
        if name not in known:
            raise UnknownNameError(unknown_name(f"{option} value", name, known))
    return names
