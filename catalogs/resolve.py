"""What a user writes for a model: a catalog name, a file, or a bare size."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from catalogs.catalog import Catalog
from catalogs.errors import DataFileError, UnknownNameError
from catalogs.huggingface import read_hf_config
from catalogs.loading import read_yaml, yaml_line
from catalogs.model import Model
from catalogs.naming import file_date, slug, unknown_name
from catalogs.shapes import is_size, model_from_size

YAML_SUFFIXES = (".yaml", ".yml")


def resolve_model(catalog: Catalog, text: str) -> tuple[Model, list[str]]:
    """The model that a text means, and the assumptions to print with it (none for exact architectures).

    Args:
        catalog: whose models are known by name.
        text: in this order: a name of the catalog; a path to a Hugging Face ``config.json``, to a folder with one, or
            to a YAML file with one record of the catalog's schema; a bare size such as ``70B``.

    Raises:
        UnknownNameError: the text is none of these; the message has the nearest names.
        DataFileError: the file is missing or broken.
    """
    if text in catalog.models:
        return catalog.models[text], []
    path = Path(text)
    if path.suffix == ".json":
        return read_hf_config(path), []
    if path.suffix in YAML_SUFFIXES:
        return read_model(path), []
    if is_size(text):
        return model_from_size(text)
    if (path / "config.json").is_file():
        return read_hf_config(path / "config.json"), []
    raise UnknownNameError(
        f"{unknown_name('model', text.rpartition('/')[2], catalog.models)} "
        "A path to a config.json or a .yaml file, or a size such as 70B, is a model too."
    )


def read_model(path: Path | str) -> Model:
    """The one architecture in a YAML file: a record of the catalog's schema, alone or as the only item of a list.

    ``name``, ``family``, ``sources`` and ``date`` may be left out; they then say which file it was.

    Raises:
        DataFileError: the file is unreadable, has not exactly one record, or the record is wrong; the message has
            file, line and field.
    """
    path = Path(path)
    content = read_yaml(path)
    listed = isinstance(content, list)
    records = content if listed else [content]
    if len(records) != 1:
        raise DataFileError(f"{path}: has {len(records)} records; a model file has one, a catalog folder can have more")
    if not isinstance(records[0], dict):
        raise DataFileError(f"{path}:1: expected the fields of one model (layers, hidden, heads, …) as a mapping")
    own = {"name": slug(path.stem), "family": "custom", "sources": {"*": str(path)}, "date": file_date(path)}
    try:
        return Model.model_validate(own | records[0])
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        line = yaml_line(path, (0, *first["loc"]) if listed else first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        message = first["msg"].removeprefix("Value error, ")
        raise DataFileError(f"{path}:{line}: model{': field ' + field if field else ''}: {message}{more}") from None
