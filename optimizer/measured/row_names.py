"""Catalog names of what a row ran on: its framework and its precision."""

from __future__ import annotations

from catalogs.catalog import Catalog
from catalogs.framework import Framework
from catalogs.inheritance import PRECISIONS
from catalogs.profile import Precision
from catalogs.runs import Run
from optimizer.measured.skipped import SkipError

FRAMEWORK_ALIASES: dict[str, str] = {
    "megatron-core": "megatron-lm",
    "megascale": "megatron-lm",
    "custom-megatron-deepspeed": "megatron-deepspeed",
    "ascendspeed": "mindspeed-llm",
}
"""Names under which run files know frameworks of the catalog."""

PRECISION_ALIASES: dict[str, Precision] = {"fp8-blockwise": "fp8"}


def framework_of(catalog: Catalog, run: Run) -> Framework:
    """The catalog's framework of a row.

    Raises:
        SkipError: the catalog does not have it.
    """
    name = FRAMEWORK_ALIASES.get(run.framework, run.framework)
    if name == "megatron-deepspeed" and run.accelerator.startswith("gaudi"):
        name = "optimum-habana"
    if name not in catalog.frameworks:
        raise SkipError(f"framework {run.framework!r} is not in the catalog")
    return catalog.frameworks[name]


def precision_of(run: Run) -> Precision:
    """The precision of a row's matrix products.

    Raises:
        SkipError: it is not stated or not modelled.
    """
    name = PRECISION_ALIASES.get(run.precision, run.precision)
    for known in PRECISIONS:
        if name == known:
            return known
    raise SkipError(f"precision {run.precision!r} is not modelled" if run.precision else "precision is not stated")
