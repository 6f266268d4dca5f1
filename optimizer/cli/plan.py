"""``clusterplan plan``: the cheapest feasible cluster for a model, a token budget and a date."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from optimizer.cli.options import (
    Budget,
    CatalogDirs,
    Deadline,
    Frameworks,
    GlobalBatch,
    GlobalBatchTokens,
    Goodput,
    Hardware,
    Json,
    MaxAccelerators,
    Model,
    Offers,
    Optimizer,
    Precision,
    Seq,
    Tokens,
    Top,
    parse_share,
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("plan")(plan)


def plan(
    model: Model,
    tokens: Tokens,
    deadline: Deadline = None,
    hardware: Hardware = None,
    budget: Budget = None,
    max_accelerators: MaxAccelerators = None,
    seq: Seq = None,
    global_batch: GlobalBatch = None,
    global_batch_tokens: GlobalBatchTokens = None,
    precision: Precision = None,
    framework: Frameworks = None,
    optimizer: Optimizer = "adamw",
    goodput: Goodput = None,
    offers: Offers = None,
    top: Top = 5,
    why: Annotated[
        bool, typer.Option("--why", help="Print every reason, and the rules that shape the search space.")
    ] = False,
    confidence: Annotated[
        str,
        typer.Option("--confidence", metavar="SHARE", help="Probability with which the deadline must be met: 90%."),
    ] = "50%",
    within: Annotated[
        str | None, typer.Option("--within", metavar="SHARE", help="Show every plan within a share of the best: 2%.")
    ] = None,
    front: Annotated[
        bool, typer.Option("--front", help="Show every plan that none beats in cost, days and accelerators together.")
    ] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Search again without any bound and check that the answer is the same.")
    ] = False,
    catalog: CatalogDirs = None,
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
    from catalogs.errors import InfeasibleError
    from optimizer.cli import INTERRUPTED
    from optimizer.cli.layers import open_catalog
    from optimizer.cli.output import complain, emit_json
    from optimizer.cli.plan_view import show_front, show_nearest, show_plan
    from optimizer.cli.progress import progress_bar
    from optimizer.doctor.nearest import nearest
    from optimizer.plan import pareto
    from optimizer.plan import plan as find_plan
    from optimizer.request import read_job

    opened = open_catalog(catalog)
    job = read_job(
        opened,
        model,
        tokens,
        deadline_s=deadline,
        hardware=hardware or (),
        budget_usd=None if budget is None else budget.usd({name: c.usd for name, c in opened.currencies.items()}),
        max_accelerators=max_accelerators,
        seq=seq,
        global_batch=global_batch,
        global_batch_tokens=global_batch_tokens,
        precision=_typed(precision),
        frameworks=framework or (),
        offers=offers or (),
        optimizer=optimizer,
        goodput=goodput,
        confidence=parse_share(confidence, "--confidence"),
    )
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


def _typed(precision: str | None) -> Any:
    """The option's text, which its parser has checked to be a known precision."""
    return precision
