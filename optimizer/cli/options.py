"""Options that several commands share, so that a flag means and reads the same everywhere.

Quantities are parsed by :mod:`catalogs.quantity`, so bad input is a usage error (exit code 2) that shows a good one.
The catalogs are imported by the parsers, not here: ``--help`` and shell completion need none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from optimizer.cli.layers import VARIABLE
from optimizer.cli.money import Money, parse_money


def split_names(values: list[str] | None) -> list[str]:
    """Names of a repeatable, comma-separated option, in order, each once.

    >>> split_names(["a800-sxm-80g, h100-sxm", "h100-sxm"])
    ['a800-sxm-80g', 'h100-sxm']
    """
    names = (name.strip() for value in values or () for name in value.split(","))
    return list(dict.fromkeys(name for name in names if name))


def names_option(*flags: str, help: str, metavar: str = "NAMES") -> Any:
    """An option that takes names (:func:`split_names`)."""
    return typer.Option(*flags, callback=split_names, metavar=metavar, help=help)


def parse_whole(text: str, what: str, units: dict[str, float] | None = None) -> int:
    """A whole number above zero, with the suffixes in ``units`` (default: those of a count).

    Raises:
        UsageError: it is no number, has a fraction, an unknown suffix, or is not above zero.

    >>> parse_whole("4M", "--global-batch-tokens")
    4000000
    """
    from catalogs.errors import UsageError
    from catalogs.quantity import COUNT_UNITS, parse_positive

    number = parse_positive(text, units or COUNT_UNITS, what)
    if number != int(number):
        raise UsageError(f"{what}: {text!r} must be a whole number")
    return int(number)


def _goodput(text: str) -> float:
    return parse_share(text, "--goodput")


def parse_share(text: str, what: str) -> float:
    """A share between 0 and 1, as a percentage or a number.

    Raises:
        UsageError: it is no number or outside 0 to 1.

    >>> parse_share("2%", "--within"), parse_share("0.02", "--within")
    (0.02, 0.02)
    """
    from catalogs.errors import UsageError
    from catalogs.quantity import parse_quantity

    share = parse_quantity(text, {"": 1.0, "%": 0.01}, what)
    if not 0 <= share <= 1:
        raise UsageError(f"{what}: {text!r} is not a share between 0 and 1 (or 0% and 100%)")
    return share


def parse_deadline_s(text: str) -> float:
    """A wall-clock limit in seconds; the unit must be written, for days and hours are too easily confused.

    Raises:
        UsageError: it has no number or no unit of time, or is not above zero.

    >>> parse_deadline_s("90d")
    7776000.0
    """
    from catalogs.quantity import DURATION_UNITS, parse_positive

    return parse_positive(text, DURATION_UNITS, "--deadline", bare=False)


def parse_precision(text: str) -> str:
    """A training precision that profiles exist for, in lower case.

    Raises:
        UnknownNameError: there is no such precision.

    >>> parse_precision("BF16")
    'bf16'
    """
    from catalogs.errors import UnknownNameError
    from catalogs.naming import unknown_name
    from catalogs.profile import Precision as Known

    if text.lower() not in get_args(Known):
        raise UnknownNameError(unknown_name("precision", text, get_args(Known)))
    return text.lower()


def _tokens(text: str) -> float:
    from catalogs.quantity import COUNT_UNITS, parse_positive

    return parse_positive(text, COUNT_UNITS, "--tokens")


def _accelerators(text: str) -> int:
    return parse_whole(text, "--max-accelerators")


def parse_seq(text: str) -> int:
    """A sequence length in tokens; ``k`` is refused because people mean 1024 by it as often as 1000.

    Raises:
        UsageError: it is no whole number above zero, or has a suffix other than ``Ki`` and ``Mi``.

    >>> parse_seq("4096"), parse_seq("128Ki")
    (4096, 131072)
    """
    return parse_whole(text, "--seq", {"": 1.0, "Ki": 2.0**10, "Mi": 2.0**20})


def _global_batch(text: str) -> int:
    return parse_whole(text, "--global-batch")


def _global_batch_tokens(text: str) -> int:
    return parse_whole(text, "--global-batch-tokens")


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Model to train: a catalog name, a Hugging Face config.json, a YAML file, or a size such as 70B.",
    ),
]
Tokens = Annotated[
    float, typer.Option("--tokens", "-t", parser=_tokens, metavar="COUNT", help="Tokens to train on: 2T, 300B.")
]
MaybeTokens = Annotated[
    float | None,
    typer.Option(
        "--tokens", "-t", parser=_tokens, metavar="COUNT", help="Tokens to train on; default: as stated, or 1T."
    ),
]
Deadline = Annotated[
    float | None,
    typer.Option(
        "--deadline", "-d", parser=parse_deadline_s, metavar="DURATION", help="Wall-clock limit: 90d, 12w, 36h."
    ),
]
Hardware = Annotated[
    list[str] | None,
    names_option(
        "--hardware",
        "-H",
        help="Accelerators to consider, comma separated or repeated; default: all that are on offer.",
    ),
]
NamedHardware = Annotated[
    list[str] | None,
    names_option(
        "--hardware",
        "-H",
        help="Accelerators, comma separated or repeated; `clusterplan catalog list accelerators`.",
    ),
]
OneHardware = Annotated[
    list[str] | None,
    names_option("--hardware", "-H", metavar="NAME", help="The accelerator; `clusterplan catalog list accelerators`."),
]
Budget = Annotated[
    Money | None,
    typer.Option("--budget", "-b", parser=parse_money, metavar="MONEY", help="Most to spend: $3M, ¥20M, '2.5M EUR'."),
]
MaxAccelerators = Annotated[
    int | None,
    typer.Option("--max-accelerators", parser=_accelerators, metavar="COUNT", help="Largest cluster: 512, 4k."),
]
Seq = Annotated[
    int | None,
    typer.Option("--seq", parser=parse_seq, metavar="TOKENS", help="Sequence length: 8192, 128Ki."),
]
GlobalBatch = Annotated[
    int | None,
    typer.Option("--global-batch", parser=_global_batch, metavar="SEQUENCES", help="Sequences per optimizer step."),
]
GlobalBatchTokens = Annotated[
    int | None,
    typer.Option("--global-batch-tokens", parser=_global_batch_tokens, metavar="TOKENS", help="Tokens per step: 4M."),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        "-p",
        parser=parse_precision,
        metavar="NAME",
        help="Training precision: bf16, fp16, fp8, mxfp8 or nvfp4; default: bf16, else fp16.",
    ),
]
Frameworks = Annotated[
    list[str] | None,
    names_option(
        "--framework",
        "-f",
        help="Frameworks to consider, comma separated or repeated; default: the usual one of each vendor.",
    ),
]
Offers = Annotated[
    list[str] | None,
    names_option(
        "--offers",
        help="Offers to consider: names, or rent, on_demand, spot, reserved, purchase, all; default: all but spot.",
    ),
]
Optimizer = Annotated[
    str,
    typer.Option("--optimizer", metavar="NAME", help="adamw, adamw-8bit, lion, muon, adafactor or sgd-momentum."),
]
Goodput = Annotated[
    float | None,
    typer.Option(
        "--goodput",
        parser=_goodput,
        metavar="SHARE",
        help="Share of time that makes progress: 95%; default: modelled from failures, checkpoints and cluster size.",
    ),
]
Recovery = Annotated[
    str,
    typer.Option(
        "--recovery",
        metavar="HOW",
        help="After an interruption: machines restart the job (automatic), people do in hours (manual), or the other "
        "data-parallel replicas go on (replica).",
    ),
]
Confidence = Annotated[
    str,
    typer.Option(
        "--confidence", metavar="SHARE", help="Probability of meeting the deadline, and of fitting the memory: 90%."
    ),
]
Top = Annotated[int, typer.Option("--top", "-n", min=0, help="How many alternatives to show.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
CatalogDirs = Annotated[
    list[Path] | None,
    typer.Option(
        "--catalog",
        "-c",
        metavar="DIR",
        help=f"Catalog directory over the shipped one; repeat it, later ones win. Also read from {VARIABLE}.",
    ),
]
