"""What commands that plan ask alike: sequence, batch, precision, software, catalog; written once for all of them.

A command takes one parameter ``question: Question`` and is registered through :func:`asking`, which puts the options
in its place, so that ``--help`` and the errors are those of options written out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.cli.options import (
    CatalogDirs,
    Frameworks,
    GlobalBatch,
    GlobalBatchTokens,
    Goodput,
    Optimizer,
    Precision,
    Seq,
)

if TYPE_CHECKING:
    from catalogs.catalog import Catalog
    from optimizer.job import Job

OPTIONS: dict[str, tuple[Any, Any]] = {
    "seq": (Seq, None),
    "global_batch": (GlobalBatch, None),
    "global_batch_tokens": (GlobalBatchTokens, None),
    "precision": (Precision, None),
    "framework": (Frameworks, None),
    "optimizer": (Optimizer, "adamw"),
    "goodput": (Goodput, None),
    "catalog": (CatalogDirs, None),
}
"""The options of a :class:`Question` by name, with their defaults, in the order of ``--help``."""


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
        }
        return read_job(catalog, model, tokens, **shared | more)


def asking(command: Callable[..., None], *, without: tuple[str, ...] = ()) -> Callable[..., None]:
    """The command with the shared options in the place of its parameter ``question``.

    Args:
        command: takes ``question: Question`` among its own parameters.
        without: options that make no sense for it, or that it has itself.
    """
    own = inspect.signature(command, eval_str=True)
    offered = {name: option for name, option in OPTIONS.items() if name not in without}

    @wraps(command)
    def asked(**given: Any) -> None:
        shared = {name: given.pop(name) if name in offered else default for name, (_, default) in OPTIONS.items()}
        command(question=Question(**shared), **given)

    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        if parameter.name != "question":
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        for name, (kind, default) in offered.items():
            parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind))
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
