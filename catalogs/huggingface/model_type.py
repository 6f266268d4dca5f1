"""What is known about one ``model_type`` of the files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from catalogs.huggingface.config import Config, Fields


@dataclass(frozen=True)
class ModelType:
    """How files of one ``model_type`` are read.

    Attributes:
        read: from a file to the fields of a :class:`catalogs.model.Model`.
        defaults: what a missing field means, as transformers defines it. ``None`` is transformers' own null: as many
            key/value heads as heads, ``hidden_size / num_attention_heads`` per head, no window, an MLP of four times
            the hidden width.
    """

    read: Callable[[Config], Fields]
    defaults: Fields
