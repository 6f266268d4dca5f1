"""``clusterplan plan``: the cheapest feasible cluster for a model, a token budget and a date."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.options import Json, Top, parse_share
from optimizer.cli.question import Demand, asking


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("plan")(asking(plan))


def plan(
    *,
    demand: Demand,
    top: Top = 5,
    why: Annotated[
        bool, typer.Option("--why", help="Print every reason, and the rules that shape the search space.")
    ] = False,
    within: Annotated[
        str | None, typer.Option("--within", metavar="SHARE", help="Show every plan within a share of the best: 2%.")
    ] = None,
    front: Annotated[
        bool, typer.Option("--front", help="Show every plan that none beats in cost, days and accelerators together.")
    ] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Search again without any bound and check that the answer is the same.")
    ] = False,
    json: Json = False,
) -> None:
    """Find the cheapest cluster, layout and offer that trains a model by a date, with proof and reasons.

    [bold]Examples[/bold]

      clusterplan plan --model llama-2-70b --tokens 2T --deadline 90d --hardware a800-sxm-80g,ascend-910b

      clusterplan plan --model deepseek-v3 --tokens 14.8T --deadline 60d --offers rent --json

      clusterplan plan --model ./config.json --tokens 300B --budget $500k --seq 8192

      clusterplan plan --model llama-2-70b --tokens 2T --deadline 90d --hardware a800-sxm-80g --within 2% --prove

      clusterplan plan --model llama-3-8b --tokens 1T --deadline 30d --confidence 90%

    Where nothing meets the constraints (exit code 4), the nearest plans that relax one of them are named.
    """
    from catalogs.errors import InfeasibleError, UsageError
    from optimizer.cli import INTERRUPTED
    from optimizer.cli.output import complain, emit_json
    from optimizer.cli.plan_view import show_front, show_nearest, show_plan
    from optimizer.cli.progress import progress_bar
    from optimizer.doctor.nearest import nearest
    from optimizer.planning import pareto
    from optimizer.planning import plan as find_plan

    if front and (within is not None or prove):
        raise UsageError("--front has every plan that none beats: it goes with neither --within nor --prove")
    opened = demand.open()
    job = demand.demanded(opened)
    share = None if within is None else parse_share(within, "--within")
    try:
        if front:
            with progress_bar("searching the front") as report:
                configurations, proof = pareto(job, opened, progress=report)
            show_front(configurations, proof, as_json=json)
            interrupted = proof.interrupted
        else:
            with progress_bar("searching layouts") as report:
                found = find_plan(job, opened, top=top, within=share, prove=prove, progress=report)
            if json:
                emit_json(found.to_json())
            else:
                show_plan(found, why=why)
            interrupted = found.certificate.interrupted
    except InfeasibleError as error:
        complain(str(error))
        with progress_bar("searching what comes nearest") as report:
            near = nearest(job, opened, progress=report)
        show_nearest(job, str(error), near, as_json=json)
        raise typer.Exit(error.exit_code) from None
    if interrupted:
        raise typer.Exit(INTERRUPTED)
