"""Every ``model_type`` that can be read."""

from __future__ import annotations

from catalogs.huggingface import (
    baichuan,
    bloom,
    cohere,
    dbrx,
    deepseek,
    falcon,
    gemma,
    glm,
    gpt,
    llama,
    mistral,
    mpt,
    olmo,
    opt,
    phi,
    qwen,
    stablelm,
    starcoder,
)
from catalogs.huggingface.model_type import ModelType

_FAMILIES = (
    baichuan,
    bloom,
    cohere,
    dbrx,
    deepseek,
    falcon,
    gemma,
    glm,
    gpt,
    llama,
    mistral,
    mpt,
    olmo,
    opt,
    phi,
    qwen,
    stablelm,
    starcoder,
)

TYPES: dict[str, ModelType] = {name: one for family in _FAMILIES for name, one in family.TYPES.items()}
"""``model_type`` to how its files are read."""

WRAPPERS = {"gemma3": "gemma3_text", "llama4": "llama4_text", "mistral3": "mistral"}
"""Multimodal types whose ``text_config`` is read, to the type of that part."""

MODEL_TYPES = (*sorted(TYPES), *WRAPPERS)
"""Every ``model_type`` that :func:`catalogs.huggingface.read.read_hf_config` understands."""
