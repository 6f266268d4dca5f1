"""Fine-tuning as part of a job: what is trained, on what examples, beside which reference model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from catalogs.errors import UsageError
from catalogs.framework import Framework
from catalogs.model import Model
from costmodels.adapters import MODULES, Adapters, Tuning

Method = Literal["full", "lora", "qlora"]
Reference = Literal["none", "beside", "precomputed"]

MODULE_SETS: dict[str, tuple[str, ...]] = {"all": MODULES, "attention": ("q", "k", "v", "o"), "qv": ("q", "v")}
"""Words for sets of matrices that carry adapters."""


@dataclass(frozen=True)
class FineTuning:
    """How a model is fine-tuned.

    Attributes:
        method: all weights, adapters, or adapters beside four-bit weights.
        rank: of the adapters.
        modules: matrices that carry them; in a mixture of experts the last three stand for those of every expert.
        reference: of pairs of answers (DPO), each seen by a frozen reference model: ``beside`` the training passes, or
            ``precomputed`` before them, once per example. ``none``: examples without a reference.
        example_tokens: of a mean example where several are packed into a sequence; attention stays within each.
            None: a sequence is one example.
    """

    method: Method
    rank: int = 16
    modules: tuple[str, ...] = MODULES
    reference: Reference = "none"
    example_tokens: float | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UsageError(f"--method is full, lora or qlora, not {self.method!r}")
        if self.rank < 1:
            raise UsageError(f"--rank must be at least 1, not {self.rank}")
        if unknown := [name for name in self.modules if name not in MODULES]:
            raise UsageError(f"--modules: {', '.join(unknown)} is none of {', '.join(MODULES)}, all, attention, qv")
        if not self.modules:
            raise UsageError("--modules names no matrix")
        if self.reference not in get_args(Reference):
            raise UsageError(f"the reference is one of {', '.join(get_args(Reference))}, not {self.reference!r}")

    @property
    def pairs(self) -> bool:
        """Whether every example is a pair of answers; both are in one micro-batch, for the loss compares them."""
        return self.reference != "none"

    @property
    def adapted(self) -> bool:
        """Whether only adapters are trained."""
        return self.method != "full"

    def check(self, model: Model) -> None:
        """Refuse models on which adapters are not modelled.

        Raises:
            UsageError: the model has latent attention.
        """
        if self.adapted and model.mla is not None:
            raise UsageError(
                f"{model.name} has latent attention, whose low-rank projections are no query, key and value matrices: "
                "adapters on them are not modelled; use --method full"
            )

    def columns(self, framework: Framework) -> Tuning:
        """As columns; adapters are switched off for the reference, so that it needs no weights of its own then."""
        beside = float(self.reference == "beside")
        on = {name: float(self.adapted and name in self.modules) for name in MODULES}
        adapters = Adapters.from_values(rank=self.rank if self.adapted else 0, joint=framework.joint_adapters, **on)
        return Tuning.of(
            adapters,
            frozen=self.adapted,
            quantised=self.method == "qlora",
            reference=beside,
            copied=beside * (not self.adapted),
        )
