"""What commands that plan ask alike: sequence, batch, precision, software, catalog; written once for all of them.

A command takes one parameter ``question: Question``, or ``demand: Demand`` with the limits of a plan besides, and is
registered through :func:`asking`, which puts the options in its place, so that ``--help`` and the errors are those of
options written out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.cli.money import Money
from optimizer.cli.options import (
    Budget,
    CatalogDirs,
    Confidence,
    Deadline,
    Frameworks,
    GlobalBatch,
    GlobalBatchTokens,
    Goodput,
    Hardware,
    MaxAccelerators,
    Model,
    Offers,
    Optimizer,
    Precision,
    Recovery,
    Seq,
    Tokens,
    parse_share,
)

if TYPE_CHECKING:
    from catalogs.catalog import Catalog
    from optimizer.job import Job

REQUIRED = inspect.Parameter.empty

QUESTION: dict[str, tuple[Any, Any]] = {
    "seq": (Seq, None),
    "global_batch": (GlobalBatch, None),
    "global_batch_tokens": (GlobalBatchTokens, None),
    "precision": (Precision, None),
    "framework": (Frameworks, None),
    "optimizer": (Optimizer, "adamw"),
    "goodput": (Goodput, None),
    "recovery": (Recovery, "automatic"),
    "catalog": (CatalogDirs, None),
}
"""The options of a :class:`Question` by name, with their defaults, in the order of ``--help``."""

DEMAND: dict[str, tuple[Any, Any]] = {
    "model": (Model, REQUIRED),
    "tokens": (Tokens, REQUIRED),
    "deadline": (Deadline, None),
    "hardware": (Hardware, None),
    "budget": (Budget, None),
    "max_accelerators": (MaxAccelerators, None),
    **QUESTION,
    "offers": (Offers, None),
    "confidence": (Confidence, "50%"),
}
"""The options of a :class:`Demand`, likewise."""


@dataclass(frozen=True)
class Question:
    """What was given of the options that commands share."""

    seq: int | None
    global_batch: int | None
    global_batch_tokens: int | None
    precision: Any
    framework: list[str] | None
    optimizer: str
    goodput: float | None
    recovery: str
    catalog: list[Path] | None

    def open(self) -> Catalog:
        """The catalog with the directories that were named."""
        from optimizer.cli.layers import open_catalog

        return open_catalog(self.catalog)

    def job(self, catalog: Catalog, model: str, tokens: float, **more: Any) -> Job:
        """The job that the command's own options (``more``) and the shared ones mean, as :func:`read_job` reads it."""
        from optimizer.request import read_job

        shared: dict[str, Any] = {
            "seq": self.seq,
            "global_batch": self.global_batch,
            "global_batch_tokens": self.global_batch_tokens,
            "precision": self.precision,
            "frameworks": self.framework or (),
            "optimizer": self.optimizer,
            "goodput": self.goodput,
            "recovery": self.recovery,
        }
        return read_job(catalog, model, tokens, **shared | more)

    def job_on(self, catalog: Catalog, model: str, tokens: float, hardware: list[str] | None, accelerators: int) -> Job:
        """The job on at most so many accelerators of the one kind that was named.

        Raises:
            UsageError: no accelerator was named, or several.
        """
        return self.job(catalog, model, tokens, hardware=only_hardware(hardware), max_accelerators=accelerators)


@dataclass(frozen=True)
class Demand(Question):
    """A question with what is to be trained and the limits that a plan must keep."""

    model: str
    tokens: float
    deadline: float | None
    hardware: list[str] | None
    budget: Money | None
    max_accelerators: int | None
    offers: list[str] | None
    confidence: str

    def demanded(self, catalog: Catalog, **more: Any) -> Job:
        """The job that the options mean, and what the command says itself (``more``)."""
        rates = {name: currency.usd for name, currency in catalog.currencies.items()}
        limits: dict[str, Any] = {
            "deadline_s": self.deadline,
            "hardware": self.hardware or (),
            "budget_usd": None if self.budget is None else self.budget.usd(rates),
            "max_accelerators": self.max_accelerators,
            "offers": self.offers or (),
            "confidence": parse_share(self.confidence, "--confidence"),
        }
        return self.job(catalog, self.model, self.tokens, **limits | more)


KINDS: dict[str, tuple[type[Question], dict[str, tuple[Any, Any]]]] = {
    "question": (Question, QUESTION),
    "demand": (Demand, DEMAND),
}
"""Bundles of options by the name of the parameter that takes them."""


def asking(command: Callable[..., None], *, without: tuple[str, ...] = ()) -> Callable[..., None]:
    """The command with the shared options in the place of its parameter ``question`` or ``demand``.

    Args:
        command: takes a bundle of :data:`KINDS` among its own parameters.
        without: options that make no sense for it, or that it has itself; they keep their default.
    """
    own = inspect.signature(command, eval_str=True)
    (name,) = (name for name in KINDS if name in own.parameters)
    kind, options = KINDS[name]
    offered = {option: how for option, how in options.items() if option not in without}

    @wraps(command)
    def asked(**given: Any) -> None:
        shared = {key: given.pop(key) if key in offered else default for key, (_, default) in options.items()}
        command(**{name: kind(**shared)}, **given)

    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        if parameter.name != name:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        for option, (annotation, default) in offered.items():
            parameters.append(
                inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            )
    asked.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    asked.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    return asked


def only_hardware(hardware: list[str] | None) -> list[str]:
    """The one accelerator that was named.

    Raises:
        UsageError: none was, or several.
    """
    from catalogs.errors import UsageError

    if len(hardware or ()) != 1:
        raise UsageError("name exactly one accelerator with --hardware")
    return list(hardware or ())
