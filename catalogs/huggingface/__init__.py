"""Hugging Face ``config.json`` to :class:`~catalogs.model.Model`, one module per family of models.

A field that the file lacks takes the default that transformers itself has for that ``model_type``
(:class:`~catalogs.huggingface.model_type.ModelType`, checked against the library in the tests) or is reported as
missing; nothing else is assumed.
"""

from catalogs.huggingface.known_types import MODEL_TYPES
from catalogs.huggingface.read import read_hf_config

__all__ = ["MODEL_TYPES", "read_hf_config"]
