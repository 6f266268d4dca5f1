"""From a ``config.json`` on disk to a model."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from catalogs.errors import DataFileError
from catalogs.huggingface.config import Config, Fields
from catalogs.huggingface.known_types import MODEL_TYPES, TYPES, WRAPPERS
from catalogs.loading import read_text
from catalogs.model import Model
from catalogs.naming import file_date, slug


def read_hf_config(path: Path | str) -> Model:
    """The architecture that a Hugging Face ``config.json`` describes.

    The name is that of the file, or of its folder when the file is called ``config.json``; the date is that of the
    file. Of multimodal models the text part is read.

    Raises:
        DataFileError: the file is missing, not JSON, of an unknown ``model_type``, or lacks a field; the message
            names the file, the field and what to do.
    """
    path = Path(path)
    content = _read_json(path)
    model_type = content.get("model_type")
    config = content
    if isinstance(model_type, str) and model_type in WRAPPERS:
        inner = content.get("text_config")
        if not isinstance(inner, dict):
            raise DataFileError(f"{path}: model_type {model_type!r} needs the field 'text_config' (a mapping)")
        config = inner
        if model_type == "gemma3" and "tie_word_embeddings" in content:
            config = {"tie_word_embeddings": content["tie_word_embeddings"]} | config
        model_type = config.get("model_type", WRAPPERS[model_type])
    if model_type is None:
        raise DataFileError(f"{path}: no field 'model_type'; add it, one of {', '.join(sorted(MODEL_TYPES))}")
    if not isinstance(model_type, str) or model_type not in TYPES:
        raise DataFileError(
            f"{path}: model_type {model_type!r} is not known; known are {', '.join(sorted(MODEL_TYPES))}; "
            "describe other models as a custom architecture in YAML"
        )
    known = TYPES[model_type]
    fields = known.read(Config(path, config, model_type, known.defaults, "text_config." * (config is not content)))
    title = path.parent.resolve().name if path.stem == "config" else path.stem
    record = fields | {
        "name": slug(title),
        "title": title,
        "family": model_type,
        "sources": {"*": str(path)},
        "date": file_date(path),
    }
    try:
        return Model.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataFileError(
            f"{path}: {field + ': ' if field else ''}{first['msg'].removeprefix('Value error, ')} "
            f"(as read from this {model_type!r} config); correct the file"
        ) from None


def _read_json(path: Path) -> Fields:
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataFileError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:
        raise DataFileError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise DataFileError(f"{path}: expected a JSON object, as in a Hugging Face config.json")
    return content
