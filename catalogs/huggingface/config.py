"""The fields of one ``config.json``: what it says, what its type leaves to a default, or a complaint that helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catalogs.errors import DataFileError

Fields = dict[str, Any]

LARGEST = 2**40
"""No count or width of a model is above this."""


class Config:
    """The fields of one file, each with a complaint that names file and field."""

    def __init__(self, path: Path, fields: Fields, model_type: str, defaults: Fields, inside: str = "") -> None:
        self.path, self.fields, self.model_type, self.defaults, self.inside = path, fields, model_type, defaults, inside

    def value(self, *keys: str) -> Any:
        """The first of ``keys`` that the file has, or transformers' default."""
        for source in (self.fields, self.defaults):
            for key in keys:
                if key in source:
                    return source[key]
        names = " or ".join(repr(self.inside + key) for key in keys)
        raise DataFileError(
            f"{self.path}: model_type {self.model_type!r} needs the field {names}; "
            "add it with its value from the model's published config.json"
        )

    def optional(self, *keys: str) -> int | None:
        """A whole number from 0, or null."""
        value = self.value(*keys)
        if value is None:
            return None
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or not 0 <= value <= LARGEST:
            raise DataFileError(
                f"{self.path}: field {self.inside + keys[0]!r} is {value!r}; it must be a whole number from 0 to 2**40"
            )
        return int(value)

    def number(self, *keys: str) -> int:
        """A whole number from 0."""
        value = self.optional(*keys)
        if value is None:
            raise DataFileError(f"{self.path}: field {self.inside + keys[0]!r} is null; it must be a whole number")
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.value(key)
        if not isinstance(value, bool):
            raise DataFileError(f"{self.path}: field {self.inside + key!r} is {value!r}; it must be true or false")
        return value

    def rate(self, key: str) -> float:
        """A number from 0 to 1."""
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise DataFileError(f"{self.path}: field {self.inside + key!r} is {value!r}; it must be from 0 to 1")
        return float(value)

    def items(self, key: str) -> list[Any] | None:
        """A list, or null."""
        value = self.value(key)
        if value is not None and not isinstance(value, list):
            raise DataFileError(f"{self.path}: field {self.inside + key!r} is {value!r}; it must be a list")
        return value

    def part(self, key: str) -> Config:
        """A nested mapping, read under the same type."""
        value = self.value(key)
        if not isinstance(value, dict):
            raise DataFileError(f"{self.path}: field {self.inside + key!r} is {value!r}; it must be a mapping")
        return Config(self.path, value, self.model_type, self.defaults, f"{self.inside}{key}.")

    def unsupported(self, key: str, why: str) -> DataFileError:
        """The complaint about a setting whose shape cannot be described."""
        return DataFileError(
            f"{self.path}: field {self.inside + key!r} is {self.fields.get(key)!r}: {why}; "
            "describe the model as a custom architecture in YAML instead"
        )
