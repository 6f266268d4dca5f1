"""What a row trains: everything, or adapters beside frozen weights."""

from __future__ import annotations

from catalogs.framework import Framework
from catalogs.model import Model
from catalogs.runs import Run
from costmodels.adapters import MODULES, Adapters, Tuning
from optimizer.measured.skipped import SkipError


def tuning_of(run: Run, framework: Framework, model: Model) -> Tuning:
    """What a row trains; its adapters are those of its framework's benchmarks.

    Raises:
        SkipError: its adapters are not known or not modelled.
    """
    if run.task != "lora" and "lora" not in run.features:
        return Tuning.whole()
    if framework.adapter_rank is None or not framework.adapter_modules:
        raise SkipError(f"LoRA: rank and matrices of the adapters are neither stated nor known of {framework.name}")
    if model.mla is not None:
        raise SkipError("LoRA: adapters on latent attention are not modelled")
    on = {name: float(name in framework.adapter_modules) for name in MODULES}
    return Tuning.of(Adapters.from_values(rank=framework.adapter_rank, joint=framework.joint_adapters, **on))
