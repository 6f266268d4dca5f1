"""What a row's number formats, fused kernels and overlaps are: as it says, else as its framework and release do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from catalogs.framework import Framework
from catalogs.inheritance import framework_family
from catalogs.profile import Precision
from catalogs.runs import Run
from costmodels.recipe import Recipe
from optimizer.measured.launch_flags import launch_flag

FLASH_IS_OPT_IN = frozenset({"megatron-deepspeed"})
"""Frameworks whose default attention writes its scores to memory; a row's flag turns fused attention on."""

OVERLAP_IS_OPT_IN = frozenset({"megatron-lm", "mindspeed-llm"})
"""Frameworks that overlap data-parallel traffic only where told to; a row's flag says that it was."""

MERGING_DISPATCHERS = frozenset({"deepep", "hybridep"})
"""Dispatchers of tokens to experts that send a token once to a server and copy it there
(https://github.com/deepseek-ai/DeepEP)."""

SECOND_FLASH = "2023-07"
"""Month of FlashAttention 2; rows of earlier months ran kernels of the first generation."""

DTYPE_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp32": 4.0, "fp8": 1.0}

BEFORE_FUSED_LOSS = ("mosaicml-examples-", "composer-0.12.")
"""Releases beside which llm-foundry's models took torch's cross entropy: the fused one is the default since March 2023
(https://github.com/mosaicml/llm-foundry, history of mosaic_gpt.py)."""


class Recipes:
    """Recipes of rows, those of the frameworks built once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Precision, str], Recipe] = {}

    def of(self, run: Run, framework: Framework, precision: Precision) -> Recipe:
        """The recipe of a row."""
        key = (framework.name, precision, run.optimizer)
        if key not in self._known:
            optimizer = "muon" if run.optimizer == "muon" and "muon" in framework.optimizers else "adamw"
            self._known[key] = Recipe.of(framework, precision, optimizer)
        stated = _stated(run, framework, precision)
        return replace(self._known[key], **{name: np.asarray(value) for name, value in stated.items()})


def _stated(run: Run, framework: Framework, precision: Precision) -> dict[str, float]:
    """What a row and its release say otherwise than its framework's recipe."""
    changed: dict[str, float] = {}
    if run.grad_dtype in DTYPE_BYTES:
        changed["reduce_bytes"] = DTYPE_BYTES[run.grad_dtype]
    elif precision == "fp16" and framework_family(framework.name) != "fsdp":
        changed["reduce_bytes"] = 2.0  # Megatron and DeepSpeed reduce fp16 gradients as they are
    if "fp32_param_gather" in run.features:
        changed["gather_bytes"] = 4.0
    elif "fp8_param_gather" in run.features:
        changed["gather_bytes"] = 1.0
    changed["flash"] = float(fused_attention(run, framework))
    changed["first_flash"] = float(bool(run.year) and run.year < SECOND_FLASH)
    if framework.name in OVERLAP_IS_OPT_IN and "dp_overlap" not in run.features:
        changed["overlaps_data"] = 0.0
    changed["overlaps_experts"] = float("ep_overlap" in run.features)
    changed["merges_copies"] = float(not MERGING_DISPATCHERS.isdisjoint(run.features))
    if "ce_fusion" in run.features:
        changed["fused_loss"] = 1.0
    if run.software.startswith(BEFORE_FUSED_LOSS) and "mp_pure" not in run.features:
        changed["fused_loss"] = 0.0
    return changed


def fused_attention(run: Run, framework: Framework) -> bool:
    """Whether attention scores never reach memory: as the row says, else as the framework does by default."""
    if "no_flash_attention" in run.features:
        return False
    if run.features & {"flash_attention", "triton_attention", "flex_attention"}:
        return True
    if framework.name == "mindspeed-llm" and (told := launch_flag(run, "use-flash-attn")) is not None:
        return told
    return framework.flash_attention and framework.name not in FLASH_IS_OPT_IN
